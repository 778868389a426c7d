"""Export: DICOM objects to a folder or the database, volumes, report; what is asked, done and said."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twintrack.errors import OutputError
from twintrack.results.which_ct import WhichCt
from TwinTrackSegLib.mrml.export.ResultFiles import ENDINGS, REPORT_NEEDS, safeName
from TwinTrackSegLib.mrml.result.Correction import noticingNeeds
from TwinTrackSegLib.mrml.result.SceneResult import SceneResult
from TwinTrackSegLib.present.Host import Host
from TwinTrackSegLib.present.Reading import ReadingPresenter
from TwinTrackSegLib.present.Translation import tr as _
from TwinTrackSegLib.present.WhichResult import exportQuestion

__all__ = [
    "ExportPresenter",
    "SaveQuestion",
    "calibratorQuestion",
    "dicomPurpose",
    "dicomQuestion",
    "fileNameOf",
    "inDatabase",
    "incompleteDatabase",
    "pluginTip",
    "pluginTitle",
    "reportNeeds",
    "reportQuestion",
    "resultGone",
    "volumesEnding",
    "volumesQuestion",
]


@dataclass(frozen=True)
class SaveQuestion:
    """What a dialog asks: its title, the name that it begins with, and the kinds of files as Qt has them."""

    title: str
    name: str
    kinds: str


class ExportPresenter:
    """Writes the shown result, after asking what must be asked, and says what was written.

    Parameters
    ----------
    host : Host
        The application.
    reading : ReadingPresenter
        Knows what is shown.
    """

    def __init__(self, host: Host, reading: ReadingPresenter) -> None:
        self._host, self._reading = host, reading

    def isMeant(self, inputVolume: Any) -> bool:
        """Ask whether the result of another CT than the input volume is meant."""
        result = self._reading.result
        question = exportQuestion(result, inputVolume) if result is not None else ""
        return result is not None and (not question or self._host.confirm(question))

    def write(self, write: Callable[[SceneResult], str], needs: Sequence[str] = ()) -> None:
        """Bring the scene up to date, see to the packages that are needed, write, and say what was written.

        Parameters
        ----------
        write : callable
            Writes the result; returns the name of what it wrote.
        needs : sequence of str
            Packages.
        """
        reading, result = self._reading, self._reading.result
        if result is None:
            return
        reading.settle()
        with self._host.guarded(self._notExported):
            self._host.ensure(_("The export"), *dict.fromkeys((*needs, *noticingNeeds(result))))
            with self._host.busy():
                written = write(result)
            reading.refresh()  # writing notices an outline that was edited by hand
            text = _("Exported {name}.").format(name=written)
            if reading.reader:  # one reader's map is never exported
                text += " " + _("It holds the result of all readers.")
            self._host.say(text)

    def _notExported(self, reason: str) -> None:
        self._host.say(_("Not exported: {reason}").format(reason=reason), loud=True)


def dicomQuestion(result: SceneResult) -> SaveQuestion:
    """Ask where DICOM objects go."""
    return SaveQuestion(_("Export DICOM"), _named(result, "segmentation.dcm"), _("DICOM files") + " (*.dcm)")


def reportQuestion(result: SceneResult) -> SaveQuestion:
    """Ask for the report's file; its ending chooses the form."""
    return SaveQuestion(_("Save report"), _named(result, "report.html"), _("Report") + " (*.html *.pdf)")


def volumesQuestion(result: SceneResult) -> SaveQuestion:
    """Ask for the map's file; its folder and ending are taken for all volumes."""
    name = f"{safeName(result.nodes.mhr.GetName())}{ENDINGS[0]}"  # the map's own: what the dialog asks of is written
    return SaveQuestion(_("Save volumes"), name, _("Volumes") + " (*.nii.gz *.nrrd)")


def calibratorQuestion() -> SaveQuestion:
    """Ask where the site's calibrator goes."""
    return SaveQuestion(_("Save calibrator"), "calibrator.json", _("Calibrators") + " (*.json)")


def volumesEnding(path: str) -> str:
    """Return the file format of all volumes where the map goes to `path`."""
    return ENDINGS[1] if path.endswith(ENDINGS[1]) else ENDINGS[0]


def reportNeeds(path: str) -> tuple[str, ...]:
    """Return the packages that a report at `path` takes."""
    return REPORT_NEEDS.get(Path(path).suffix.lower(), ())


def fileNameOf(case: str, what: str) -> str:
    """Return a file name that tells the case: ``CT 17 report.html``; `what` alone where the case has no name."""
    return f"{safeName(case)} {what}" if case.strip() else what


def inDatabase(number: int) -> str:
    """Name what was written into the DICOM database."""
    return _("{number} objects to the DICOM database").format(number=number)


def incompleteDatabase(missing: int, number: int) -> OutputError:
    """Return the error of objects that did not get into the DICOM database."""
    return OutputError(
        _(
            "{missing} of {number} objects did not get into the DICOM database; open Slicer's DICOM module, check "
            "the database's folder and the free space there, and export again"
        ).format(missing=missing, number=number),
        code="database-incomplete",
    )


def pluginTitle() -> str:
    """Name a result in Slicer's own dialog for DICOM export."""
    return _("TwinTrackSeg result")


def pluginTip() -> str:
    """Say what that dialog would write."""
    return _("Segmentation with nested levels, parametric map and structured report")


def resultGone() -> str:
    """Say that there is nothing to export any more."""
    return _("the result is no longer in the scene")


def dicomPurpose() -> str:
    """Return what needs packages, as the beginning of a sentence."""
    return _("The DICOM export")


def _named(result: SceneResult, what: str) -> str:
    case = WhichCt.of(result.record.result).case or (result.nodes.ct.GetName() if result.nodes.ct else "")
    return fileNameOf(case, what)
