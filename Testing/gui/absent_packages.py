"""Packages that this Python has, made to look as if they were not installed."""

from __future__ import annotations

import importlib.metadata
import sys

IMPORT_NAMES = {"scikit-learn": "sklearn", "scikit-image": "skimage"}


class AbsentPackages:
    """Hides packages from imports and from the list of what is installed, until they are "installed" again."""

    def __init__(self, monkeypatch, names) -> None:
        self._hidden = {name: IMPORT_NAMES.get(name, name) for name in names}
        self._kept = {}
        version = importlib.metadata.version

        def versionOf(name: str) -> str:
            if name in self._hidden:
                raise importlib.metadata.PackageNotFoundError(name)
            return version(name)

        monkeypatch.setattr(importlib.metadata, "version", versionOf)
        monkeypatch.setattr(sys, "meta_path", [self, *sys.meta_path])
        for name, top in self._hidden.items():
            loaded = [module for module in sys.modules if module.split(".")[0] == top]
            self._kept[name] = {module: sys.modules.pop(module) for module in loaded}

    def find_spec(self, fullname, _path=None, _target=None) -> None:
        """Refuse what is hidden, as the last finder does what is not there."""
        if fullname.split(".")[0] in self._hidden.values():
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)

    def install(self, *names: str) -> None:
        """Let packages be found again."""
        for name in names:
            del self._hidden[name]
            sys.modules.update(self._kept.pop(name))

    def close(self) -> None:
        """Let all be found again."""
        self.install(*self._kept)
