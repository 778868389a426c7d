"""What is known of a result beside its voxels: the engine's own account, and what was measured of an edited outline."""

from __future__ import annotations

import json
from typing import Any

from twintrack.results.report.wording import of_result
from TwinTrackSegLib.mrml.result.ResultNodes import ResultNodes
from TwinTrackSegLib.mrml.vessels.VesselTable import VesselReadout, bySeverity, readoutsAt

__all__ = ["ResultRecord"]


class ResultRecord:
    """The content of a result's text node, JSON that is saved with the scene.

    Parameters
    ----------
    nodes : ResultNodes
        Where the text node is found.
    """

    def __init__(self, nodes: ResultNodes) -> None:
        self._nodes = nodes
        self._content: dict[str, Any] | None = None

    @property
    def result(self) -> dict[str, Any]:
        """The engine's ``result.json``."""
        return self._all.get("result") or {}

    @property
    def invasion(self) -> dict[str, Any]:
        """The content of ``invasion.json`` by the names that vessels have now; empty where no vessel was measured."""
        found = self._all.get("corrected") or self.engineInvasion
        if not self.namesChecked:
            return found
        checked = {"name_checked": True}
        vessels = {n: v | checked if v.get("named_by") == "anatomy" else v for n, v in found["vessels"].items()}
        return {**found, "vessels": vessels}

    @property
    def engineInvasion(self) -> dict[str, Any]:
        """The engine's ``invasion.json``, by the names of the run; empty where no vessel was measured."""
        return dict(of_result(self._all.get("invasion") or {}, self.result)) if self._all.get("invasion") else {}

    @property
    def naming(self) -> dict[str, Any]:
        """The engine's ``naming.json``; empty where vessels had their names from the beginning."""
        return self._all.get("naming") or {}

    @property
    def namesByHand(self) -> dict[str, str]:
        """Name of each piece that a reader named otherwise than the engine; empty for none."""
        return dict((self._all.get("names") or {}).get("byHand") or {})

    @property
    def namesChecked(self) -> bool:
        """Whether a reader said that the names by anatomy are right."""
        return bool((self._all.get("names") or {}).get("checked"))

    def setNames(self, byHand: dict[str, str], checked: bool) -> None:
        """Remember what a reader said of the names; what was measured of single readers' maps went by the old ones."""
        others = {key: value for key, value in self._all.items() if key != "raters"}
        self._content = {**others, "names": {"byHand": byHand, "checked": checked}}
        self._nodes.record.SetText(json.dumps(self._content))

    def setCorrected(self, invasion: dict[str, Any] | None) -> None:
        """Remember the ``invasion.json`` of corrected names, or that the engine's holds."""
        others = {key: value for key, value in self._all.items() if key != "corrected"}
        self._content = others if invasion is None else {**others, "corrected": invasion}
        self._nodes.record.SetText(json.dumps(self._content))

    @property
    def edited(self) -> dict[str, Any] | None:
        """What was measured of an outline that was edited by hand; None while the outline is the map's."""
        return self._all.get("edited")

    def setEdited(self, edited: dict[str, Any] | None) -> None:
        """Remember what was measured of an edited outline, or that the outline is the map's again."""
        others = {key: value for key, value in self._all.items() if key != "edited"}
        self._content = others if edited is None else {**others, "edited": edited}
        self._nodes.record.SetText(json.dumps(self._content))

    def raterInvasion(self, rater: str) -> dict[str, Any] | None:
        """Return what was measured of the vessels in one reader's map; None before that."""
        return (self._all.get("raters") or {}).get(rater)

    def setRaterInvasion(self, rater: str, invasion: dict[str, Any]) -> None:
        """Remember what was measured of the vessels in one reader's map."""
        self._content = {**self._all, "raters": {**(self._all.get("raters") or {}), rater: invasion}}
        self._nodes.record.SetText(json.dumps(self._content))

    @property
    def raters(self) -> int | None:
        """How many raters the calibrator stands for, if it says."""
        result = self.result
        number = (result.get("calibrator") or {}).get("raters") or result.get("bundle", {}).get("raters")
        return int(number) if isinstance(number, int) and number > 0 else None

    @property
    def isMhr(self) -> bool:
        """Whether the map was calibrated: it is then no score of the networks."""
        return self.result.get("calibrator", True) is not None

    @property
    def expectedVolumeMl(self) -> float | None:
        """Expected tumour volume over the raters, in mL, as the engine measured it."""
        value = self.result.get("volume_ml", {}).get("expected")
        return None if value is None else float(value)

    @property
    def pattern(self) -> dict[str, Any]:
        """The anatomic contact pattern of all vessels together, as readers are expected to see it; may be empty."""
        return self.invasion.get("resectability") or {}

    @property
    def outlinePattern(self) -> dict[str, Any]:
        """The pattern of an outline that was edited by hand, which nobody else has seen; empty without an edit."""
        return (self.edited or {}).get("invasion", {}).get("resectability") or {}

    def readoutsAt(self, threshold: float) -> list[VesselReadout]:
        """Return the vessel readouts at `threshold` or of the edited outline, the most severe first."""
        edited = self.edited["invasion"] if self.edited else None
        return bySeverity(readoutsAt(self.invasion, threshold, edited))

    @property
    def _all(self) -> dict[str, Any]:
        if self._content is None:
            self._content = json.loads(self._nodes.record.GetText()) if self._nodes.record is not None else {}
        return self._content or {}
