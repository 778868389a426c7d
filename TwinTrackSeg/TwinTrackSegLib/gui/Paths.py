"""Paths that the user chooses: the lines of the panel, and the dialogs that ask where something is saved."""

from pathlib import Path

import qt
import slicer.util

from TwinTrackSegLib.gui.Parameters import recall, remember

__all__ = ["askOpenName", "askOpenNames", "askSaveName", "followPath"]

SAVED_IN = "saveFolder"


def followPath(edit, slot) -> None:
    """Let `edit`, a ctkPathLineEdit, call `slot` with its path at every change, also when the line is emptied.

    CTK takes an empty line for an invalid one and does not tell of it by `currentPathChanged`: a path that was taken
    away would be remembered, and used, for ever.
    """
    edit.connect("currentPathChanged(QString)", slot)
    edit.connect("validInputChanged(bool)", lambda valid: None if valid else slot(""))


def askSaveName(question, beside=None) -> str:
    """Ask where to save; the dialog starts in the folder where something was saved last.

    Parameters
    ----------
    question : FileQuestion
        What is asked, and the file name to begin with.
    beside : vtkMRMLVolumeNode, optional
        The CT; its folder is taken the first time, where it was loaded from a file.

    Returns
    -------
    str
        The path; empty if the user thinks better of it.
    """
    folder = recall(SAVED_IN, exists=True) or _folderOf(beside) or str(Path.home())
    begin = str(Path(folder) / question.name)
    path = qt.QFileDialog.getSaveFileName(slicer.util.mainWindow(), question.title, begin, _kinds(question))
    if path:
        remember(SAVED_IN, str(Path(path).parent))
    return path


def askOpenName(question, near: str) -> str:
    """Ask for a file that is there, beginning beside the path `near`; empty if the user thinks better of it."""
    begin = str(Path(near).parent)
    return qt.QFileDialog.getOpenFileName(slicer.util.mainWindow(), question.title, begin, _kinds(question))


def askOpenNames(question) -> list[str]:
    """Ask for files that are there, one or more; none if the user thinks better of it."""
    return list(qt.QFileDialog.getOpenFileNames(slicer.util.mainWindow(), question.title, "", _kinds(question)))


def _kinds(question) -> str:
    """Write what a dialog lists as Qt has it."""
    return f"{question.kind} ({' '.join(f'*{ending}' for ending in question.endings)})"


def _folderOf(node) -> str:
    storage = node.GetStorageNode() if node is not None else None
    file = storage.GetFileName() if storage is not None else None
    return str(Path(file).parent) if file and Path(file).parent.is_dir() else ""
