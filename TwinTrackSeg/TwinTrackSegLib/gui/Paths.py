"""Paths that the user chooses: the lines of the panel, and the dialogs that ask where something is saved."""

from pathlib import Path

import qt
import slicer.util

from TwinTrackSegLib.gui.Parameters import recall, remember

__all__ = ["askOpenName", "askSaveName", "followPath"]

SAVED_IN = "saveFolder"


def followPath(edit, slot) -> None:
    """Let `edit`, a ctkPathLineEdit, call `slot` with its path at every change, also when the line is emptied.

    CTK takes an empty line for an invalid one and does not tell of it by `currentPathChanged`: a path that was taken
    away would be remembered, and used, for ever.
    """
    edit.connect("currentPathChanged(QString)", slot)
    edit.connect("validInputChanged(bool)", lambda valid: None if valid else slot(""))


def askSaveName(title: str, name: str, kinds: str, beside=None) -> str:
    """Ask where to save; the dialog starts with `name` in the folder where something was saved last.

    Parameters
    ----------
    title : str
        The dialog's title.
    name : str
        File name to begin with, such as `present.Exporting` makes.
    kinds : str
        What the dialog lists, as Qt has it.
    beside : vtkMRMLVolumeNode, optional
        The CT; its folder is taken the first time, where it was loaded from a file.

    Returns
    -------
    str
        The path; empty if the user thinks better of it.
    """
    folder = recall(SAVED_IN, exists=True) or _folderOf(beside) or str(Path.home())
    path = qt.QFileDialog.getSaveFileName(slicer.util.mainWindow(), title, str(Path(folder) / name), kinds)
    if path:
        remember(SAVED_IN, str(Path(path).parent))
    return path


def askOpenName(title: str, kinds: str, near: str) -> str:
    """Ask for a file that is there, beginning beside the path `near`; empty if the user thinks better of it."""
    return qt.QFileDialog.getOpenFileName(slicer.util.mainWindow(), title, str(Path(near).parent), kinds)


def _folderOf(node) -> str:
    storage = node.GetStorageNode() if node is not None else None
    file = storage.GetFileName() if storage is not None else None
    return str(Path(file).parent) if file and Path(file).parent.is_dir() else ""
