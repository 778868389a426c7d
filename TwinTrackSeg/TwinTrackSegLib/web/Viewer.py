"""The viewer: a CT and its results in a scene, what the page shows of them, and what it may ask."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from platformdirs import user_data_path

from twintrack.errors import InputError
from twintrack.io.ct import Ct, ct_sha256, load_ct
from TwinTrackSegLib.mrml.display.Views import setWindow
from TwinTrackSegLib.mrml.result.ResultLoader import loadResult
from TwinTrackSegLib.mrml.result.ResultViews import showCt, watchViews
from TwinTrackSegLib.mrml.result.SceneResult import SceneResult
from TwinTrackSegLib.mrml.site.SiteCalibrator import SiteCases
from TwinTrackSegLib.mrml.site.StructureFiles import pathOf
from TwinTrackSegLib.mrml.TwinTrackSegLogic import TwinTrackSegLogic
from TwinTrackSegLib.mrml.VolumeConversion import nodeFromVolume, volumeFromNode
from TwinTrackSegLib.present.CtAndResult import CtAndResult
from TwinTrackSegLib.present.Exporting import ExportPresenter
from TwinTrackSegLib.present.ModelChoice import VESSEL_TITLES, Asked, ruleTitles
from TwinTrackSegLib.present.OwnReaders import OwnReadersPresenter, metricHeads
from TwinTrackSegLib.present.OwnVessels import OwnVessels
from TwinTrackSegLib.present.Reading import ReadingPresenter
from TwinTrackSegLib.present.Running import RunPresenter
from TwinTrackSegLib.present.SetUp import SetUp
from TwinTrackSegLib.present.VesselNames import NamesPresenter
from TwinTrackSegLib.present.VesselNames import heads as nameHeads
from TwinTrackSegLib.present.VesselRows import CATEGORY_COLORS
from TwinTrackSegLib.present.ViewChoices import WINDOWS_HU, ViewChoices
from TwinTrackSegLib.present.Viewing import answers, brush, pageLost, paths, working
from TwinTrackSegLib.web.Drawing import LEAST_MM, MOST_MM, Drawing
from TwinTrackSegLib.web.PageState import curveOf, exports, labels, readingOf
from TwinTrackSegLib.web.Pictures import Pictures
from TwinTrackSegLib.web.Scene import VIEWS
from TwinTrackSegLib.web.WebHost import WebHost

__all__ = ["Viewer"]

RULES, THRESHOLD = "nccn", 0.5
"""What a run is asked for: as the command line does where nothing is said."""

SITE_CASES = "site-cases.npz"
"""In the user's own folder: cases for a calibrator of one's own are added on many days."""

LONG = (
    *("dicom", "volumes", "report", "reader", "readerFile", "evaluate", "addCase", "fit", "vesselFile", "measure"),
    *("name", "namesChecked"),
)
"""What begins a long step: only once another has ended."""


@dataclass
class _Chosen:
    """See the presenters' `Parameters`, `VesselParameters` and `RunParameters`."""

    bundlePath: Path
    inputVolume: Any = None
    resultVolume: Any = None
    vesselSegmentation: Any = None
    vesselMapping: str = ""
    regionOfInterest: Any = None
    threshold: float = THRESHOLD
    rules: str = RULES


class Viewer:
    """One CT, its results, and one page.

    Parameters
    ----------
    tell : callable
        Called with the page's state, a JSON object, whenever it is another.
    show : callable
        Called with a view's number (its place in `VIEWS`) and its picture as JPEG.
    bundle : Path, optional
        The model for further runs.

    Attributes
    ----------
    reading : ReadingPresenter
        Knows the result that is shown.
    """

    def __init__(
        self, tell: Callable[[dict[str, Any]], None], show: Callable[[int, bytes], None], bundle: Path | None = None
    ) -> None:
        self._tell = tell
        self._telling: asyncio.Handle | None = None
        self._pictures = Pictures(lambda tag, picture: show(VIEWS.index(tag), picture))
        self._drawing = asyncio.create_task(self._pictures.run())
        self._host = WebHost(self.refresh)
        self._views = ViewChoices()
        self._fitted = False
        self._brush = Drawing(self._pictures.scene.views)
        self.reading = ReadingPresenter(self._host, self.refresh, self._brush.open)
        self._chosen, line = _Chosen(bundle or Path()), str(bundle or "")
        self._vessels = OwnVessels(self._host, self.refresh)
        self._vessels.bind(self._chosen)
        self._ct = CtAndResult(self.reading, self._vessels.letGo, self._resultChanged)
        self._ct.bind(self._chosen)
        self._setUp, self._keepScore = SetUp(self._host, lambda: line, self.refresh), False
        if bundle is not None:
            self._setUp.chooseBundle(bundle)
        self._run = RunPresenter(
            self._host, TwinTrackSegLogic(), self._asked, lambda: self._setUp.device, self._take, self.refresh
        )
        self._readers = OwnReadersPresenter(
            self._host,
            self.reading,
            SiteCases(user_data_path("twintrack", appauthor=False) / SITE_CASES),
            inputVolume=lambda: self._ct.inputVolume,
            bundle=lambda: line,
            calibrated=self._setUp.chooseCalibrator,
            changed=self.refresh,
        )
        self._names = NamesPresenter(
            self._host, lambda: self.reading.result, lambda: self.reading.show(self.reading.result)
        )
        self._export = ExportPresenter(self._host, self.reading, lambda: self._ct.inputVolume)
        watchViews().listeners.append(self._followViews)
        self._does: dict[str, Callable[[Mapping[str, Any]], None]] = {
            "size": self._onSize,
            "shown": lambda asked: self._pictures.shown(_view(asked)),
            "mouse": self._onMouse,
            "answer": lambda asked: self._host.answer(yes=bool(asked.get("yes"))),
            "segment": lambda _asked: self._run.press(),
            "escape": lambda _asked: self._escape(),
            "edit": lambda _asked: self._edit(),
            "brush": self._onBrush,
            "undo": lambda _asked: self._brush.undo(),
            "done": lambda _asked: self._brush.close(self.reading),
            "measure": lambda _asked: self.reading.measure(),
            "restore": lambda _asked: self.reading.restore(),
            "dicom": lambda _asked: self._export.dicom(),
            "volumes": lambda _asked: self._export.volumes(),
            "report": lambda _asked: self._export.report(),
            "threshold": lambda asked: self.reading.moveThreshold(float(asked["value"])),
            "vessel": lambda asked: self.reading.chooseVessel(str(asked["value"])),
            "key": lambda asked: self.reading.keys[str(asked["value"])](),
            "fold": lambda _asked: self.reading.foldWarnings(),
            "result": lambda asked: self._chooseResult(int(asked["value"])),
            "reader": lambda asked: self.reading.showReader(str(asked["value"])),
            "sample": lambda asked: self.reading.showSample(int(asked["value"])),
            "disagreement": lambda asked: self.reading.showDisagreement(bool(asked["value"])),
            "overlay": lambda asked: self._views.showOverlay(self.reading.result, bool(asked["value"])),
            "opacity": lambda asked: self._views.setOpacity(self.reading.result, int(asked["value"])),
            "window": lambda asked: self._setWindow(str(asked["value"])),
            "lesion": lambda asked: self._views.showLesion(self.reading.result, int(asked["value"])),
            "jump": lambda _asked: self.reading.backToTumor(),
            "name": lambda asked: self._chooseName(str(asked["piece"]), str(asked["value"])),
            "namesChecked": lambda asked: self._names.check(bool(asked["value"])),
            "nameJump": lambda asked: self._names.jump(str(asked["piece"])),
            "vesselFile": lambda asked: self._vessels.chooseFile(str(asked["value"]), self._ct.inputVolume),
            "vesselSegment": lambda asked: self._vessels.choose(str(asked["name"]), str(asked["value"])),
            "region": lambda asked: self._vessels.chooseRegion(str(asked["value"])),
            "readerFile": lambda asked: self._readers.addFile(str(asked["value"])),
            "readersFilter": lambda asked: self._readers.update(str(asked["value"])),
            "tick": lambda asked: self._readers.tick(str(asked["name"]), bool(asked["value"])),
            "makeMhr": lambda _asked: self._readers.makeMap(),
            "evaluate": lambda _asked: self._readers.evaluate(),
            "addCase": lambda _asked: self._readers.addCase(),
            "fit": lambda _asked: self._readers.fit(),
            "rules": lambda asked: self._chooseRules(str(asked["value"])),
            "keepScore": lambda asked: self._keep(score=bool(asked["value"])),
            "calibrator": lambda asked: self._chooseCalibrator(str(asked["value"])),
        }

    def open(self, ct: Path, result: Path | None = None) -> None:
        """Read a CT, and a result of it, into the scene.

        Raises
        ------
        InputError
            If one cannot be read, or the result is of another CT.
        """
        node = self._load(load_ct(ct))
        self._chosen.inputVolume = node
        self._ct.bind(self._chosen)
        self._run.setReady(self._ct.ready)
        if result is not None:
            made = loadResult(result, node)
            known = (made.record.result.get("input") or {}).get("sha256")
            if known and known != ct_sha256(volumeFromNode(node)):
                raise InputError("is of another CT; name its own with --ct", code="another-ct", path=result)
            self._take(made)

    @property
    def state(self) -> dict[str, Any]:
        """What the page shows now."""
        choice, ct = self._ct.choice, self._ct.inputVolume
        self._brush.follow(self.reading)
        return {
            "ct": ct.GetName() if ct is not None else "",
            "choice": {
                name: getattr(choice, name) for name in ("titles", "chosen", "tip", "noneText", "inputHint", "mismatch")
            },
            "reading": readingOf(self.reading.state, self._views.stateOf(self.reading.result)),
            "run": asdict(self._run.state),
            "setUp": {
                **asdict(self._setUp.state),
                "rules": self._chosen.rules,
                "keepScore": self._keepScore,
                "calibrator": self._setUp.calibrator,
            },
            "names": asdict(self._names.state),
            "vessels": asdict(self._vessels.state),
            "own": asdict(self._readers.state),
            "brush": asdict(self._brush.state),
            "exports": exports(),
            "curve": curveOf(self._pictures.scene.chart),
            **self._hostState(),
        }

    def refresh(self) -> None:
        """Tell the page, once for all that changes in one go."""
        if self._telling is None:
            self._telling = asyncio.get_running_loop().call_soon(self._tellNow)

    def _tellNow(self) -> None:
        self._telling = None
        self._tell(self.state)

    def welcome(self) -> None:
        """Take in a page that has come."""
        self._pictures.opened()
        fixed = {
            "labels": labels(),
            "keys": list(self.reading.keys),
            "colors": CATEGORY_COLORS,
            "lost": pageLost(),
            "workingText": working(),
            "answers": answers(),
            "paths": paths(),
            "brushTexts": brush(),
            "rules": list(ruleTitles().items()),
            "nameHeads": nameHeads(),
            "metricHeads": metricHeads(),
            "vesselNames": list(VESSEL_TITLES),
        }
        self._tell({**fixed, **self.state})

    def do(self, asked: Mapping[str, Any]) -> None:
        """Do what the page asks; what no page of ours would ask is left out."""
        what = asked.get("do")
        if what not in self._does or (self._host.working and what in LONG):
            return
        with contextlib.suppress(KeyError, ValueError, TypeError, OverflowError), self._host.guarded():
            self._does[what](asked)
        if what not in ("size", "shown", "mouse"):
            self.refresh()

    async def close(self) -> None:
        """End what is going on, and give the scene back."""
        await self._host.close()
        self._drawing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._drawing
        watchViews().stop()
        self.reading.show(None)
        self._run.end()
        if self._telling is not None:
            self._telling.cancel()
        self._pictures.scene.close()

    def _hostState(self) -> dict[str, Any]:
        """Return what the page tells beside the scene."""
        host, (sentence, loud) = self._host, self._host.status
        return {
            "status": {"text": sentence, "loud": loud},
            "error": host.error,
            "question": host.question,
            "working": host.working,
            "saved": host.saved,
        }

    def fileOf(self, name: str) -> Path | None:
        """Return what was exported under a name; None where there is nothing."""
        return self._host.fileOf(name)

    def _load(self, ct: Ct) -> Any:
        """Add a CT to the scene: it is seen in the grey values for the pancreas, and its DICOM files are known."""
        node = nodeFromVolume(ct.volume, ct.name or "CT")
        if ct.series is not None:
            self._pictures.scene.opened.add(ct.series.sop_instance_uids, ct.series.files)
            node.SetAttribute("DICOM.instanceUIDs", " ".join(ct.series.sop_instance_uids))
        setWindow(node, *WINDOWS_HU["pancreas"])
        showCt(node)
        return node

    def _onMouse(self, asked: Mapping[str, Any]) -> None:
        tag, kind = _view(asked), asked.get("kind")
        with self._host.guarded():
            if not self._brush.mouse(tag, asked):
                self._pictures.interact(tag, asked)
        if self._brush.active and kind in ("release", "wheel"):  # a stroke to be taken back, or another scale
            self.refresh()

    def _onBrush(self, asked: Mapping[str, Any]) -> None:
        if "erase" in asked:
            self._brush.erase = bool(asked["erase"])
        if "diameter" in asked:
            self._brush.diameter_mm = min(max(float(asked["diameter"]), LEAST_MM), MOST_MM)

    def _edit(self) -> None:
        if self.reading.state.editable:
            self.reading.edit()

    def _escape(self) -> None:
        if self._run.state.running:
            self._run.cancel()
        else:
            self._brush.close(self.reading)

    def _onSize(self, asked: Mapping[str, Any]) -> None:
        self._pictures.resize(_view(asked), int(asked["width"]), int(asked["height"]))
        if not self._fitted and self._pictures.complete:  # only now is known how large a view is
            self._fitted = True
            self._pictures.scene.fit()
            if self.reading.result is not None:
                self.reading.result.jumpToTumor()

    def _chooseResult(self, number: int) -> None:
        results = self._ct.choice.results
        if 0 <= number < len(results):
            self._take(results[number])

    def _asked(self) -> Asked:
        """Return what a run is asked for: the model of this start, with what was chosen beside it."""
        return self._setUp.asked(self._chosen, keepScore=self._keepScore, vessels=self._vessels.choice)

    def _chooseName(self, piece: str, name: str) -> None:
        if name in dict(self._names.state.choices):
            self._names.choose(piece, name)

    def _chooseRules(self, rules: str) -> None:
        if rules in ruleTitles():
            self._chosen.rules = rules

    def _chooseCalibrator(self, typed: str) -> None:
        self._setUp.chooseCalibrator(str(pathOf(typed)) if typed.strip() else "")

    def _keep(self, *, score: bool) -> None:
        self._keepScore = score

    def _resultChanged(self) -> None:
        self._readers.update()
        self.refresh()

    def _take(self, result: SceneResult) -> None:
        first = self.reading.result is None
        self._ct.choose(result)
        self._ct.follow()
        if first and self._fitted:  # there was nothing to be seen in 3D until now
            self._pictures.scene.fitSpace()

    def _followViews(self) -> None:
        self._ct.followViews()
        self._ct.follow()
        self.refresh()

    def _setWindow(self, name: str) -> None:
        if name in WINDOWS_HU and self._ct.ready:
            setWindow(self._ct.inputVolume, *WINDOWS_HU[name])


def _view(asked: Mapping[str, Any]) -> str:
    return VIEWS[int(asked["view"])]
