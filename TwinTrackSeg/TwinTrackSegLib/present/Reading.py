"""Reading a result: what is shown of it, what may be moved, and what happens when somebody moves it.

A front end shows `ReadingPresenter.state` and calls what the reader does; it holds no sentence and no decision.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from twintrack.results.report.wording import share
from TwinTrackSegLib.mrml.display.MhrDisplay import raterLevels
from TwinTrackSegLib.mrml.result.Correction import measuringNeeds, outlineStep, restoreOutline, takeOutline
from TwinTrackSegLib.mrml.result.RaterView import readerReadouts, readerStep, showDisagreement, showReader, takeReader
from TwinTrackSegLib.mrml.result.ResultTitle import resultTitle
from TwinTrackSegLib.mrml.result.ResultViews import clearTables
from TwinTrackSegLib.mrml.result.SampleView import showSample
from TwinTrackSegLib.mrml.result.SceneResult import SceneResult
from TwinTrackSegLib.mrml.vessels.VesselFocus import focusVessel, jumpToVessel, leaveVessel
from TwinTrackSegLib.mrml.vessels.VesselPlot import moveThresholdMark, plotVessel
from TwinTrackSegLib.mrml.vessels.VesselTable import VesselReadout
from TwinTrackSegLib.present.Host import Host
from TwinTrackSegLib.present.ResultNotes import Notes, notesOf, outlineWords, volumeText
from TwinTrackSegLib.present.Translation import tr as _
from TwinTrackSegLib.present.VesselRows import Row, rowsOf

__all__ = ["A_SAMPLE", "SETTLE_MSEC", "ReadingPresenter", "ReadingState", "Tick"]

SAME_THRESHOLD = 1e-6
"""Thresholds this close are the same."""

SAME_LEVEL = 1e-3
"""Levels nearer than this are the same on the slider."""

THRESHOLD_STEP = 0.05
LEAST_THRESHOLD, MOST_THRESHOLD = 0.01, 0.99

SETTLE_MSEC = 200
"""This long after the slider's last move the drag is over, and the segment's voxels follow."""


A_SAMPLE = "*"
"""Stands among the readers for the samples that the model drew; no reader can have such a name."""


@dataclass(frozen=True)
class Tick:
    """A level that the slider can be put to: voxels that at least 20 %, 40 % ... of readers mark."""

    level: float
    text: str
    tip: str
    pressed: bool


@dataclass(frozen=True)
class ReadingState:
    """What a front end shows.

    Attributes
    ----------
    present : bool
        Whether there is a result.
    title : str
        Which CT it is of.
    threshold : float
        Of the outline.
    movable, editable, restorable : bool
        Whether the threshold can be moved, the outline edited and measured, and edits given up.
    notes : Notes
        The sentences around the numbers.
    unfolded : bool
        Whether all warnings are shown at full length.
    volume : str
        This outline in words.
    ticks : tuple of Tick
        Levels below the slider.
    rows : tuple of Row
        The vessels.
    chosen : str
        Name of the vessel that is in the views; empty for none.
    readers : tuple of (str, str)
        Whose maps can be shown, pseudonym and text, and the samples; empty where the result has neither.
    reader : str
        Who is shown; empty for all readers, `A_SAMPLE` for a sample.
    samples : int
        How many samples can be gone through; 0 while none is shown.
    sample : int
        Number, from 1, of the sample that is shown.
    spread, disagreement : bool
        Whether the spread over the readers came with the result, and whether it lies over the CT.
    """

    present: bool = False
    title: str = ""
    threshold: float = 0.5
    movable: bool = True
    editable: bool = True
    restorable: bool = False
    notes: Notes = field(default_factory=Notes)
    unfolded: bool = False
    volume: str = ""
    ticks: tuple[Tick, ...] = ()
    rows: tuple[Row, ...] = ()
    chosen: str = ""
    readers: tuple[tuple[str, str], ...] = ()
    reader: str = ""
    samples: int = 0
    sample: int = 0
    spread: bool = False
    disagreement: bool = False


class ReadingPresenter:
    """Shows a result and moves its threshold.

    Parameters
    ----------
    host : Host
        The application.
    changed : callable
        Called without arguments whenever `state` is another.
    openEditor : callable
        Opens the application's editor of segments on a `SceneResult`.
    """

    def __init__(self, host: Host, changed: Callable[[], None], openEditor: Callable[[SceneResult], None]) -> None:
        self._host, self._changed, self._openEditor = host, changed, openEditor
        self._callOff: Callable[[], None] | None = None
        self.result: SceneResult | None = None
        self._chosen = ""
        self._unfolded = self._measuring = False
        self._sample = 1

    @property
    def state(self) -> ReadingState:
        """What is to be shown now."""
        result = self.result
        if result is None:
            return ReadingState()
        apart, edited = self.apart, result.record.edited is not None
        readouts = self._readouts()
        names = [readout.name for readout in readouts]
        return ReadingState(
            present=True,
            title=resultTitle(result),
            threshold=result.outline.threshold,
            movable=not edited and not apart,
            editable=not apart,  # it is about the outline of all readers, which is not shown
            restorable=not apart,
            notes=notesOf(result, unfolded=self._unfolded),
            unfolded=self._unfolded,
            volume=volumeText(result),
            ticks=self._ticks(),
            rows=tuple(rowsOf(readouts)),
            chosen=self._chosen if self._chosen in names else "",
            readers=self._readers(),
            reader=A_SAMPLE if self.sample else self.reader,
            samples=result.nodes.sampleCount if self.sample else 0,
            sample=self.sample,
            spread=result.nodes.disagreement is not None,
            disagreement=result.nodes.showsDisagreement,
        )

    @property
    def reader(self) -> str:
        """The reader whose map is shown in place of that of all readers; empty for none."""
        return self.result.nodes.shownRater if self.result is not None and self._isLive() else ""

    @property
    def sample(self) -> int:
        """The number of the sample that is shown in the result's place; 0 for none."""
        return self.result.nodes.shownSample if self.result is not None and self._isLive() else 0

    @property
    def apart(self) -> bool:
        """Whether one reader or one sample is shown in the result's place."""
        return bool(self.reader or self.sample)

    def show(self, result: SceneResult | None) -> None:
        """Show `result`, or nothing."""
        if self._callOff is not None:  # the result that was shown until now: its voxels follow its last drag
            self.settle()
        self.result, self._chosen, self._unfolded, self._sample = result, "", False, 1
        if result is not None:
            result.outline.settle()  # a scene that was saved in the middle of a drag
            if result.nodes.shownTable is not None:
                self._host.showTable(result.nodes.shownTable)
        self._plotWorst()
        self._changed()

    def refresh(self) -> None:
        """Say that something else may have changed the result."""
        self._changed()

    def foldWarnings(self) -> None:
        """Show all warnings at full length, or a line of each kind again."""
        self._unfolded = not self._unfolded
        self._changed()

    def moveThreshold(self, threshold: float) -> None:
        """Move the working outline; called while the slider is dragged."""
        result = self.result
        if result is None or not self._isLive() or result.record.edited or self.apart:
            return
        outline = result.outline
        if abs(threshold - outline.threshold) < SAME_THRESHOLD:
            return
        if outline.changed(quick=True):
            self.takeUpEdit()
            return
        with self._host.guarded():
            outline.setThreshold(threshold, settled=False)
            moveThresholdMark(result.nodes.mhr, outline.threshold)
            self._changed()
            if self._callOff is not None:
                self._callOff()
            self._callOff = self._host.later(SETTLE_MSEC, self.settle)

    def stepThreshold(self, steps: int) -> None:
        """Move the threshold by so many steps, up or down."""
        if self.result is not None:
            to = round(self.result.outline.threshold + steps * THRESHOLD_STEP, 2)
            self.moveThreshold(min(max(to, LEAST_THRESHOLD), MOST_THRESHOLD))

    @property
    def keys(self) -> dict[str, Callable[[], None]]:
        """What keys do while a result is read, by the name of the key."""
        return {
            "Ctrl+Down": lambda: self.stepVessel(1),
            "Ctrl+Up": lambda: self.stepVessel(-1),
            "Ctrl+Right": lambda: self.stepThreshold(1),
            "Ctrl+Left": lambda: self.stepThreshold(-1),
        }

    def settle(self) -> None:
        """Bring everything to the threshold that the drag left behind: its end, an export, a save."""
        if self._callOff is not None:
            self._callOff()
            self._callOff = None
        if self.result is not None and self._isLive():
            moved = not self.result.outline.settled
            with self._host.guarded():
                self.result.outline.settle()
            if moved:  # the list of lesions has followed
                self._changed()

    def chooseVessel(self, name: str) -> None:
        """Show a vessel in the views: its worst section and its curve."""
        result = self.result
        if result is None or not self._isLive():
            return
        self._chosen = name
        with self._host.guarded():
            if self.reader:
                jumpToVessel(result.nodes.mhr, result.record.raterInvasion(self.reader) or {}, name)
                return
            focusVessel(result.nodes.mhr, result.record.invasion, name, result.outline.threshold)

    def stepVessel(self, steps: int) -> None:
        """Show the next vessel of the table, or the one before; the first of all where none is chosen."""
        names = [readout.name for readout in self._readouts() if readout.present]
        if names:
            at = names.index(self._chosen) + steps if self._chosen in names else (0 if steps > 0 else -1)
            self.chooseVessel(names[at % len(names)])
            self._changed()

    def backToTumor(self) -> None:
        """Go back to the tumour and its map, in the usual orientations."""
        if self.result is not None and self._isLive():
            leaveVessel()
            self.result.show()
            self._chosen = ""
            self._changed()

    def showReader(self, reader: str) -> None:
        """Show how a reader would draw, `A_SAMPLE`, or the result of all readers again for an empty name."""
        if reader == A_SAMPLE:
            self.showSample(self.sample or self._sample)
            return
        result = self.result
        if result is None or not self._isLive():
            return
        self.settle()

        def show() -> None:
            with self._host.busy():
                showReader(result, reader)
            if self.result is result:
                self._plotWorst()

        def measured(found: dict[str, Any]) -> None:
            if result.isInScene:
                takeReader(result, reader, found)
                show()
            self._changed()

        with self._host.guarded():
            step = None
            if reader:
                self._host.ensure(_("Measuring a reader's map"), *measuringNeeds(result))
                step = readerStep(result, reader)
            if step is None:
                show()
            else:
                self._host.aside(step, measured)
        self._changed()

    def showSample(self, number: int) -> None:
        """Show the outline of one sample, from 1, in place of the result's; called while its slider is dragged."""
        result = self.result
        if result is None or not self._isLive() or number == self.sample:
            return
        self.settle()
        with self._host.guarded():
            showSample(result, number)
            self._sample, self._chosen = number, ""
        self._changed()

    def showDisagreement(self, shown: bool) -> None:
        """Lay the readers' disagreement over the CT, or the map again."""
        if self.result is not None and self._isLive():
            with self._host.guarded():
                showDisagreement(self.result, shown)

    def takeUpEdit(self) -> None:
        """Measure and mark an outline that was edited since it was drawn; the slider goes back to where it was.

        Called when the panel is entered, and before the slider would overwrite what was drawn.
        """
        result = self.result
        if result is None or not self._isLive() or not result.outline.changed(quick=True):
            return
        missing = self._host.missing(*measuringNeeds(result))
        if missing:  # nobody asked for anything yet: no question either
            text = _(
                "The outline was edited by hand and is not measured yet: that needs a package which is not installed, "
                "{names}. Measure asks before it is installed."
            )
            self._host.say(text.format(names=", ".join(missing)), loud=True)
            self._changed()
            return

        def noticed() -> None:
            if result.record.edited is not None:
                self._host.say(
                    _(
                        "The outline was edited by hand and has been measured. The threshold moves again after Undo "
                        "edits, which keeps the edited outline as a segmentation of its own."
                    )
                )

        self._measure(noticed)
        self._changed()

    def whenMeasured(self, then: Callable[[], None], told: Callable[[str], None] | None = None) -> None:
        """Do it as soon as the outline that is shown is measured and marked, if it was edited since.

        Called before anything leaves the scene, so that no edit goes out under the model's name and numbers.
        """
        result = self.result
        if result is not None and result.nodes.ct is not None and result.outline.changed():
            self._measure(then, told)
        else:
            then()

    def edit(self) -> None:
        """Open the tumour segment in the application's editor."""
        if self.result is not None:
            with self._host.guarded():
                self.settle()
                self._openEditor(self.result)

    def measure(self) -> None:
        """Measure the segment as it is now."""
        result = self.result
        if result is not None and self._isLive():
            with self._host.guarded():
                self._host.ensure(_("Measuring the outline"), *measuringNeeds(result))
                self._measure(lambda: None)

    def restore(self) -> None:
        """Go back to the map's outline."""
        if self.result is not None and self._isLive():
            with self._host.guarded():
                restoreOutline(self.result)
                self._changed()

    def _measure(self, then: Callable[[], None], told: Callable[[str], None] | None = None) -> None:
        """Measure and mark the segment as it is now; one that is measured already is not measured twice at once."""
        result = self.result
        if result is None or self._measuring:
            return

        def measured(edited: dict[str, Any] | None) -> None:
            self._measuring = False
            if result.isInScene:
                takeOutline(result, edited)
            self._changed()
            then()

        def failed(sentence: str) -> None:
            self._measuring = False
            if told is not None:
                told(sentence)

        with self._host.guarded(failed):
            with self._host.busy():
                step = outlineStep(result)
            self._measuring = True
            self._host.aside(step, measured, failed)

    def _isLive(self) -> bool:
        return self.result is not None and self.result.isInScene

    def _readouts(self) -> list[VesselReadout]:
        """Return the rows of the table: of the outline of all readers, or as measured in one reader's map.

        In a sample nothing is measured, and what is said of readers does not stand beside it.
        """
        if self.result is None or self.sample:
            return []
        return readerReadouts(self.result, self.reader) if self.reader else self.result.outline.readouts

    def _plotWorst(self) -> None:
        """Draw the curve of the most severe vessel until one is chosen; no curve of another result stays.

        The curve is that of all readers: beside one reader's map or one sample there is none.
        """
        result: Any = self.result
        if result is not None and self.apart:
            return
        measured = [readout for readout in result.outline.readouts if readout.category] if result is not None else []
        if measured:
            plotVessel(result.nodes.mhr, result.record.invasion, measured[0].name, result.outline.threshold)
        else:
            clearTables(result.nodes.mhr if result is not None else None)

    def _readers(self) -> tuple[tuple[str, str], ...]:
        """Return whose maps came with the result, and the samples; nothing where there are none."""
        nodes: Any = self.result.nodes if self.result is not None else None
        maps, count = (nodes.raterMaps, nodes.sampleCount) if nodes is not None else ({}, 0)
        others = [(name, _("reader {reader}").format(reader=name)) for name in maps]
        if count:
            others.append((A_SAMPLE, _("one of {count} samples").format(count=count)))
        return (("", _("all readers")), *others) if others else ()

    def _ticks(self) -> tuple[Tick, ...]:
        result: Any = self.result
        pressable = not result.record.edited and not self.apart
        return tuple(
            Tick(
                level=level,
                text=f"≥ {share(level)}" if result.record.isMhr else f"≥ {level:.1f}",
                tip=_("This outline: {voxels}").format(voxels=outlineWords(result.record, level)),
                pressed=pressable and abs(level - result.outline.threshold) < SAME_LEVEL,
            )
            for level in raterLevels(result.record.raters)
        )
