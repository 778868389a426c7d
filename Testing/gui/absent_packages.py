"""Packages that this Python has, made to look as if they were not installed."""

from __future__ import annotations

import importlib.metadata
import sys

IMPORT_NAMES = {"scikit-learn": "sklearn", "scikit-image": "skimage"}


class AbsentPackages:
    """Hides packages from imports and from the list of what is installed, until they are "installed" again."""

    def __init__(self, monkeypatch, names) -> None:
        self._hidden, self._kept = set(names), {}
        version = importlib.metadata.version

        def versionOf(name: str) -> str:
            if name in self._hidden:
                raise importlib.metadata.PackageNotFoundError(name)
            return version(name)

        monkeypatch.setattr(importlib.metadata, "version", versionOf)
        for name in names:
            top = IMPORT_NAMES.get(name, name)
            loaded = [module for module in sys.modules if module == top or module.startswith(f"{top}.")]
            self._kept[name] = {module: sys.modules[module] for module in loaded}
            for module in {top, *loaded}:
                sys.modules[module] = None  # an import of it ends in ModuleNotFoundError

    def install(self, *names: str) -> None:
        """Let packages be found again."""
        for name in names:
            top = IMPORT_NAMES.get(name, name)
            for module in [m for m in sys.modules if m == top or m.startswith(f"{top}.")]:
                del sys.modules[module]
            sys.modules.update(self._kept.pop(name))
            self._hidden.discard(name)

    def close(self) -> None:
        """Let all be found again."""
        self.install(*self._kept)
