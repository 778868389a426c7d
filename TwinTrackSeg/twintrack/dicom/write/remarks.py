"""What the reader of every object must know, in the short texts that viewers show and in whole sentences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["NO_REMARKS", "RESEARCH_NOTE", "TEXT_LIMIT", "Remarks"]

RESEARCH_NOTE = "For research use only, not for diagnosis or treatment."
DEMO_NOTE = "Demo model: it knows synthetic phantoms only; on a patient's CT its result means nothing."
UNLIKE_NOTE = "The CT is unlike those that the model was made with, and the result may be wrong without looking so"

TEXT_LIMIT = 64
"""Longest text, in characters, that the value representation LO takes."""

SENTENCES_LIMIT = 1024
"""The same for ST."""

CONTENT = {
    (False, False): "For research use only: made by an algorithm",
    (True, False): "Research use only. Demo model: means nothing on a patient's CT",
    (False, True): "Research use only. CT unlike the training's: result doubtful",
    (True, True): "Research use only. Demo model. CT unlike training: doubtful",
}
"""ContentDescription by whether the model is a demo and the CT unlike the training's."""


@dataclass(frozen=True)
class Remarks:
    """What speaks against believing a result.

    Attributes
    ----------
    demo : bool
        Whether the bundle is one for trying the software.
    unlike : tuple of str
        In words, what is unlike the CTs that the bundle was made with.
    """

    demo: bool = False
    unlike: tuple[str, ...] = ()

    @classmethod
    def of(cls, result: Mapping[str, Any]) -> Remarks:
        """Return those of a ``result.json``."""
        found = result.get("suitability") or {}
        unlike = tuple(str(words) for words in found.get("outside") or ())
        if (found.get("contrast") or {}).get("phase_estimate") == "unenhanced":
            unlike = (*unlike, "vessels are not brighter than without contrast medium")
        return cls(bool(result["bundle"].get("demo")) if "bundle" in result else False, unlike)

    def series_description(self, text: str) -> str:
        """Return `text` for lists of series behind the remarks, without its last clause where room is short."""
        words = ["DEMO"] * self.demo + ["UNUSUAL CT"] * bool(self.unlike)
        if not words:
            return text
        marked = f"{', '.join(words)}: {text}"
        return marked if len(marked) <= TEXT_LIMIT else marked.rpartition(", ")[0]

    @property
    def content_description(self) -> str:
        """One line for ContentDescription."""
        return CONTENT[self.demo, bool(self.unlike)]

    def sentences(self, text: str) -> str:
        """Return `text` with the note on research use and the remarks behind it, for elements of the kind ST."""
        parts = [text, RESEARCH_NOTE] + [DEMO_NOTE] * self.demo
        if self.unlike:
            parts.append(f"{UNLIKE_NOTE}: {'; '.join(self.unlike)}.")
        return " ".join(parts).strip()[:SENTENCES_LIMIT]


NO_REMARKS = Remarks()
"""Nothing but that it is for research use."""
