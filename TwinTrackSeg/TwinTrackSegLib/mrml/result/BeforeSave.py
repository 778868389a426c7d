"""Something that is done at the latest before a node is written with its scene."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["BeforeSave"]


_waiting: set[BeforeSave] = set()
"""Nobody else need hold them: an observer alone does not keep its object alive."""


class BeforeSave:
    """Calls once, before the node is written with its scene or in any other way.

    Slicer declares an event for the start of a save and never sends it. What it does before it writes a node is to tell
    the node's storage node the file, so that is listened for.

    Parameters
    ----------
    node : vtkMRMLStorableNode
        The node; those that come after it in the scene are written after it.
    call : callable
        What is to be done.
    """

    def __init__(self, node: Any, call: Callable[[], None]) -> None:
        if node.GetStorageNode() is None:
            node.AddDefaultStorageNode()
        self._storage, self._call = node.GetStorageNode(), call
        self._tag = self._storage.AddObserver("ModifiedEvent", self._onFile)
        _waiting.add(self)

    def drop(self) -> None:
        """Call no more."""
        self._storage.RemoveObserver(self._tag)
        _waiting.discard(self)

    def _onFile(self, _caller: Any, _event: str) -> None:
        self.drop()
        self._call()
