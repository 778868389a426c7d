"""Where a bundle lies, asked without opening it: a server's process asks, which loads none of what a bundle needs.

One resolver for the command line, Python and the panel: a path, ``demo``, or the name of an installed model.
"""

from __future__ import annotations

import os
import re
from importlib import resources
from pathlib import Path

from twintrack.errors import BundleError
from twintrack.system.paths import is_there

__all__ = [
    "BUNDLE",
    "DEMO",
    "FOLDER_VARIABLE",
    "MODEL_NAME",
    "bundle_path",
    "demo_bundle_path",
    "installed_models",
    "models_folder",
]

DEMO = "demo"
"""What the shipped demo bundle is called where a bundle is asked for."""

FOLDER_VARIABLE = "TWINTRACK_MODELS"
"""Environment variable with the folder of installed models."""

BUNDLE = "bundle"
"""Folder of an installed model's bundle, in the model's own folder; what is known of the model lies beside it."""

MODEL_NAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?")
"""Names of installed models: they are folders on any system, and never the start of a path."""


def bundle_path(name: str | Path) -> Path:
    """Return the place of a bundle: a path, ``demo`` for the shipped one, or an installed model by its name.

    What lies at the path `name` goes before a name.

    Raises
    ------
    BundleError
        If a name is given, and no model of that name is installed; or if this installation has no demo bundle.
    """
    path = Path(name)
    if not str(name).strip() or is_there(path.expanduser()):
        return path
    if str(name) == DEMO:
        return demo_bundle_path()
    if path.name != str(name) or path.suffix.lower() == ".zip" or str(name).startswith("~"):
        return path  # meant as a path: whoever opens it says what is wrong with it
    installed = installed_models()
    if str(name) in installed:
        return installed[str(name)]
    raise BundleError(
        "no such bundle; give a bundle folder, a zip file of one, or an installed model "
        f"({', '.join([DEMO, *installed])}); twintrack model list says what can be got",
        code="bundle-missing",
        path=path,
    )


def demo_bundle_path() -> Path:
    """Return the folder of the demo bundle that ships with the package.

    Raises
    ------
    BundleError
        If this installation has none.
    """
    path = Path(str(resources.files("twintrack") / "data" / "demo_bundle"))
    if not (path / "bundle.json").is_file():
        raise BundleError(
            "this installation has no demo bundle; install the package again, or name another bundle",
            code="no-demo-bundle",
        )
    return path


def models_folder() -> Path:
    """Return the folder of installed models, one for every program and every Slicer of this user; it need not exist."""
    given = os.environ.get(FOLDER_VARIABLE)
    if given:
        return Path(given).expanduser().absolute()
    from platformdirs import user_data_path

    return user_data_path("twintrack", appauthor=False) / "models"


def installed_models() -> dict[str, Path]:
    """Return the bundles of installed models by name, in the order of their names."""
    try:
        folders = sorted(models_folder().iterdir())
    except OSError:  # there is none, or it cannot be looked at
        return {}
    return {
        folder.name: folder / BUNDLE
        for folder in folders
        if MODEL_NAME.fullmatch(folder.name) and (folder / BUNDLE / "bundle.json").is_file()
    }
