"""Where a bundle lies, asked without opening it: a server's process asks, which loads none of what a bundle needs."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from twintrack.errors import BundleError
from twintrack.system.paths import is_there

__all__ = ["bundle_path", "demo_bundle_path"]

DEMO = "demo"
"""What the shipped demo bundle is called where a bundle is asked for."""


def bundle_path(name: str | Path) -> Path:
    """Return the place of a bundle: the shipped one for the word ``demo``, unless something there has that name.

    Raises
    ------
    BundleError
        If this installation has no demo bundle.
    """
    return demo_bundle_path() if str(name) == DEMO and not is_there(Path(name)) else Path(name)


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
