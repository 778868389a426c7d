"""Export: DICOM objects to a folder or the database, volumes, report; what is asked, done and said."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, TypeVar

from twintrack.errors import OutputError
from twintrack.results.which_ct import WhichCt
from TwinTrackSegLib.mrml.export.DicomExport import DICOM_NEEDS, dicomStep
from TwinTrackSegLib.mrml.export.ResultFiles import ENDINGS, REPORT_NEEDS, reportStep, safeName, volumesStep
from TwinTrackSegLib.mrml.result.Correction import noticingNeeds
from TwinTrackSegLib.mrml.result.SceneResult import SceneResult
from TwinTrackSegLib.mrml.worker.TemporaryFiles import temporaryFolder
from TwinTrackSegLib.present.Host import FileQuestion, Host
from TwinTrackSegLib.present.Reading import ReadingPresenter
from TwinTrackSegLib.present.Translation import tr as _
from TwinTrackSegLib.present.VesselNames import withheldNote
from TwinTrackSegLib.present.WhichResult import exportQuestion

__all__ = [
    "ExportPresenter",
    "dicomPurpose",
    "dicomQuestion",
    "fileNameOf",
    "pluginFile",
    "pluginTip",
    "pluginTitle",
    "reportQuestion",
    "resultGone",
    "volumesEnding",
    "volumesQuestion",
]

DICOM_FILE = "segmentation.dcm"

T = TypeVar("T")


class ExportPresenter:
    """Writes the shown result, after asking what must be asked, and says what was written.

    Parameters
    ----------
    host : Host
        The application.
    reading : ReadingPresenter
        Knows what is shown.
    inputVolume : callable
        Returns the CT that is chosen.
    """

    def __init__(self, host: Host, reading: ReadingPresenter, inputVolume: Callable[[], Any]) -> None:
        self._host, self._reading, self._inputVolume = host, reading, inputVolume

    def dicom(self) -> None:
        """Write DICOM objects where the user says."""
        self._ask(dicomQuestion, self._dicomStep, _fileName, lambda _path: DICOM_NEEDS, withheldNote)

    def volumes(self) -> None:
        """Save map and segments as volume files: the map's is asked for, its folder and ending are taken for all."""
        self._ask(volumesQuestion, _volumesStep, _fileNames, lambda _path: ())

    def report(self) -> None:
        """Save the report where the user says; the file's ending chooses the form."""
        self._ask(reportQuestion, reportStep, _fileName, _reportNeeds, withheldNote)

    def database(self, importFolder: Callable[[Path], Collection[str]]) -> None:
        """Write DICOM objects into the application's database.

        Parameters
        ----------
        importFolder : callable
            Copies the files of a folder into the database; returns the instance UIDs that are inside afterwards.
        """

        def write() -> None:
            temporary = temporaryFolder()
            objects = temporary.path / "dicom"
            objects.mkdir()

            def written(_path: Path) -> str:
                try:
                    number = _intoDatabase(objects, importFolder)
                finally:
                    temporary.close()
                return _("{number} objects to the DICOM database").format(number=number)

            self.write(
                lambda result: self._dicomStep(result, str(objects / DICOM_FILE)), written, DICOM_NEEDS, withheldNote
            )

        self._ifMeant(write)

    def write(
        self,
        stepOf: Callable[[SceneResult], Callable[[], T]],
        written: Callable[[T], str],
        needs: Sequence[str] = (),
        note: Callable[[SceneResult], str] = lambda _result: "",
    ) -> None:
        """Bring the scene up to date, see to the packages that are needed, write, and say what was written.

        Parameters
        ----------
        stepOf : callable
            Takes from the scene what is written; returns what writes it without the scene.
        written : callable
            Called with what that returned; returns the name of what was written.
        needs : sequence of str
            Packages.
        note : callable
            Returns what must be known of what was written; empty for nothing.
        """
        reading, result = self._reading, self._reading.result
        if result is None:
            return
        reading.settle()

        def begin() -> None:
            with self._host.busy():
                step, left = stepOf(result), note(result)
            self._host.aside(step, lambda made: done(made, left), self._notExported)

        def done(made: T, left: str) -> None:
            text = _("Exported {name}.").format(name=written(made))
            if reading.apart:  # one reader's map or one sample is never exported
                text += " " + _("It holds the result of all readers.")
            self._host.say(f"{text} {left}" if left else text, loud=bool(left))

        with self._host.guarded(self._notExported):
            self._host.ensure(_("The export"), *dict.fromkeys((*needs, *noticingNeeds(result))))
            reading.whenMeasured(begin, self._notExported)

    def _ask(
        self,
        question: Callable[[SceneResult], FileQuestion],
        stepOf: Callable[[SceneResult, str], Callable[[], T]],
        written: Callable[[T], str],
        needs: Callable[[str], Sequence[str]],
        note: Callable[[SceneResult], str] = lambda _result: "",
    ) -> None:
        """Ask whether the result is meant and where it goes, and write it there."""

        def meant() -> None:
            result = self._reading.result
            if result is not None:
                self._host.askSave(question(result), result.nodes.ct, chosen)

        def chosen(path: str) -> None:
            self.write(lambda result: stepOf(result, path), written, needs(path), note)

        self._ifMeant(meant)

    def _ifMeant(self, action: Callable[[], None]) -> None:
        """Do it, after asking where the result is of another CT than the chosen one."""
        result = self._reading.result
        if result is None:
            return
        question = exportQuestion(result, self._inputVolume())
        if question:
            self._host.confirm(question, action)
        else:
            action()

    def _dicomStep(self, result: SceneResult, path: str) -> Callable[[], Path]:
        return dicomStep(result, path, self._host.seriesOf(result.nodes.ct))

    def _notExported(self, reason: str) -> None:
        self._host.say(_("Not exported: {reason}").format(reason=reason), loud=True)


def dicomQuestion(result: SceneResult) -> FileQuestion:
    """Ask where DICOM objects go."""
    return FileQuestion(_("Export DICOM"), _("DICOM files"), (".dcm",), _named(result, DICOM_FILE))


def reportQuestion(result: SceneResult) -> FileQuestion:
    """Ask for the report's file; its ending chooses the form."""
    return FileQuestion(_("Save report"), _("Report"), tuple(REPORT_NEEDS), _named(result, "report.html"))


def volumesQuestion(result: SceneResult) -> FileQuestion:
    """Ask for the map's file; its folder and ending are taken for all volumes."""
    name = f"{safeName(result.nodes.mhr.GetName())}{ENDINGS[0]}"  # the map's own: what the dialog asks of is written
    return FileQuestion(_("Save volumes"), _("Volumes"), ENDINGS, name)


def volumesEnding(path: str) -> str:
    """Return the file format of all volumes where the map goes to `path`."""
    return ENDINGS[1] if path.endswith(ENDINGS[1]) else ENDINGS[0]


def fileNameOf(case: str, what: str) -> str:
    """Return a file name that tells the case: ``CT 17 report.html``; `what` alone where the case has no name."""
    return f"{safeName(case)} {what}" if case.strip() else what


def pluginTitle() -> str:
    """Name a result in Slicer's own dialog for DICOM export."""
    return _("TwinTrackSeg result")


def pluginTip() -> str:
    """Say what that dialog would write."""
    return _("Segmentation with nested levels, parametric map and structured report")


def pluginFile(number: int) -> str:
    """Name the segmentation of the result with this number, counted from 0, of those that are written into a folder."""
    return DICOM_FILE if number == 0 else f"segmentation-{number + 1}.dcm"


def resultGone() -> str:
    """Say that there is nothing to export any more."""
    return _("the result is no longer in the scene")


def dicomPurpose() -> str:
    """Return what needs packages, as the beginning of a sentence."""
    return _("The DICOM export")


def _reportNeeds(path: str) -> tuple[str, ...]:
    return REPORT_NEEDS.get(Path(path).suffix.lower(), ())


def _volumesStep(result: SceneResult, path: str) -> Callable[[], list[Path]]:
    return volumesStep(result, Path(path).parent, volumesEnding(path))


def _fileName(path: Path) -> str:
    return path.name


def _fileNames(paths: Sequence[Path]) -> str:
    return ", ".join(path.name for path in paths)


def _intoDatabase(folder: Path, importFolder: Callable[[Path], Collection[str]]) -> int:
    """Import a folder; return how many objects it has.

    Raises
    ------
    OutputError
        If one is not in the database afterwards. It is asked, since Slicer's import returns True as long as nothing
        is raised on the way: a database that is not open, or a full disk, only leaves a line in the log.
    """
    import pydicom

    files = sorted(folder.glob("*.dcm"))
    uids = {str(pydicom.dcmread(file, stop_before_pixels=True).SOPInstanceUID) for file in files}
    missing = len(uids - set(importFolder(folder)))
    if missing:
        raise OutputError(
            _(
                "{missing} of {number} objects did not get into the DICOM database; open Slicer's DICOM module, check "
                "the database's folder and the free space there, and export again"
            ).format(missing=missing, number=len(files)),
            code="database-incomplete",
        )
    return len(files)


def _named(result: SceneResult, what: str) -> str:
    case = WhichCt.of(result.record.result).case or (result.nodes.ct.GetName() if result.nodes.ct else "")
    return fileNameOf(case, what)
