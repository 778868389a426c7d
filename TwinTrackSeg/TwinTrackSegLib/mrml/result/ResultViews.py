"""A result is seen with its own CT alone: every view shows what belongs to the CT behind it, whoever changes that.

Outlines, contours and legend are confined to the slice views that show their CT; overlay, 3D views, tables and plots
follow. Two patients in one scene can then not be mixed up.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple

import slicer
from TwinTrackSegLib.mrml.display.Views import OVERLAY_OPACITY
from TwinTrackSegLib.mrml.result.ResultNodes import ROLE_INPUT, ResultNodes, isMadeOfCt, resultMaps

__all__ = [
    "ResultViews",
    "arrangeResults",
    "clearTables",
    "ctOf",
    "currentMap",
    "isInViews",
    "markCurrent",
    "replaceOverlay",
    "showCt",
    "shownCt",
    "watchViews",
]

ATTRIBUTE_CURRENT = "TwinTrackSeg.current"
"""Of the map that stands for its CT where that has several results."""

ATTRIBUTE_HIDDEN = "TwinTrackSeg.hiddenWithCt"
"""Of a node that is hidden because no view shows its CT; what the user hides is left hidden."""


class _SliceView(NamedTuple):
    """A slice view: its node (None where only its layers are there), its layers, the CT behind."""

    node: Any
    layers: Any
    ct: Any


def ctOf(volumeNode: Any) -> Any:
    """Return the CT that a volume belongs to: that of a map, of a score or of a difference; else itself.

    None where the CT of such a volume is no longer in the scene.
    """
    if volumeNode is None or not isMadeOfCt(volumeNode):
        return volumeNode
    return volumeNode.GetNodeReference(ROLE_INPUT)


def shownCt() -> Any:
    """Return the CT behind the first slice view of the layout; None where no view shows a volume."""
    views = [view for view in _sliceViews() if view.ct is not None]
    return next((view.ct for view in _laidOut(views) or views), None)


def isInViews(volumeNode: Any) -> bool:
    """Whether a slice view of the layout shows the CT; where the layout has none, any view does."""
    views = _sliceViews()
    return any(view.ct is volumeNode for view in _laidOut(views) or views)


def showCt(volumeNode: Any) -> bool:
    """Put a CT behind all slice views, in their middle; return whether there is any view."""
    views = _sliceViews()
    for view in views:
        view.layers.SetBackgroundVolumeID(volumeNode.GetID())
    bounds = [0.0] * 6
    volumeNode.GetRASBounds(bounds)
    for view in views:
        if view.node is not None and bounds[0] <= bounds[1]:
            view.node.JumpSliceByCentering(*((bounds[n] + bounds[n + 1]) / 2 for n in (0, 2, 4)))
    return bool(views)


def markCurrent(mhrNode: Any) -> None:
    """Let a result stand for its CT, in place of the CT's others."""
    for other in _mapsOf(ctOf(mhrNode)):
        other.SetAttribute(ATTRIBUTE_CURRENT, None)
    mhrNode.SetAttribute(ATTRIBUTE_CURRENT, "1")


def currentMap(volumeNode: Any) -> Any:
    """Return the map of the result that stands for a CT: the one shown last, else the newest; None without any."""
    maps = _mapsOf(volumeNode)
    marked = [mhr for mhr in maps if mhr.GetAttribute(ATTRIBUTE_CURRENT)]
    return next(reversed(marked or maps), None)


def arrangeResults(changed: Collection[str] = ()) -> None:
    """Confine every result to the views of its CT.

    Parameters
    ----------
    changed : collection of str
        IDs of the layers (vtkMRMLSliceCompositeNode) that show another volume than before: they get the overlay of its
        result. Elsewhere one that the user took away stays away.
    """
    views, leading = _sliceViews(), shownCt()
    for view in views:
        _arrangeOverlay(view, view.layers.GetID() in changed)
    if not views:
        return
    for mhr in resultMaps():
        nodes = ResultNodes(mhr)
        allowed, current = _viewIDs(views, nodes.ct, leading), currentMap(nodes.ct) is mhr
        outlines = (nodes.raterOutline, nodes.sampleOutline)
        for node in (nodes.segmentation, nodes.editedOutlines, *nodes.contours, *outlines):
            if node is not None:
                if not current:  # it gave way to another result of the CT meanwhile
                    node.SetAttribute(ATTRIBUTE_HIDDEN, None)
                _confine(node, allowed)
    _arrangeTables(leading)


def replaceOverlay(nodes: ResultNodes) -> None:
    """Let the overlay of a result that is shown now take the place of the one before, where a view has any."""
    volumes = {node.GetID() for node in (nodes.mhr, nodes.disagreement, *nodes.raterMaps.values()) if node is not None}
    for view in _sliceViews():
        if view.layers.GetForegroundVolumeID() in volumes:
            view.layers.SetForegroundVolumeID(nodes.overlay.GetID())


def clearTables(keep: Any = None) -> None:
    """Take tables and charts of all results out of the views, but those of the map `keep`."""
    _replaceTables([ResultNodes(mhr) for mhr in resultMaps() if mhr is not keep], None)


class ResultViews:
    """Watches the slice views of the scene and arranges the results whenever one of them shows another volume.

    Attributes
    ----------
    listeners : list of callable
        Called without arguments after that, and after a result left the scene.
    """

    def __init__(self) -> None:
        self.listeners: list[Callable[[], None]] = []
        self._scene = slicer.mrmlScene
        self._viewTags: dict[str, tuple[Any, int]] = {}
        self._backgrounds: dict[str, str | None] = {}
        self._laidOut: dict[str, bool] = {}
        self._maps: list[str] = []
        self._busy = False
        scene = self._scene
        self._tags = [
            scene.AddObserver(event, handler)
            for event, handler in (
                (scene.NodeAddedEvent, self._onNodes),
                (scene.NodeRemovedEvent, self._onNodes),
                (scene.EndCloseEvent, self._onNodes),
                (scene.EndBatchProcessEvent, self._onNodes),
                (scene.EndImportEvent, self._onImport),
            )
        ]
        self._onImport()

    def stop(self) -> None:
        """Watch no more."""
        for tag in self._tags:
            self._scene.RemoveObserver(tag)
        for node, tag in self._viewTags.values():
            node.RemoveObserver(tag)
        self._tags, self._viewTags = [], {}
        self.listeners.clear()

    def _onImport(self, _caller: Any = None, _event: str = "") -> None:
        """Arrange what a scene brought; an overlay that was saved as taken away stays so."""
        self._watchNodes()
        self._backgrounds = self._backgroundsNow()
        self._arrange(())

    def _onNodes(self, _caller: Any = None, _event: str = "") -> None:
        if self._scene.IsBatchProcessing() or self._scene.IsClosing():
            return
        self._watchNodes()
        left = set(self._maps) - {mhr.GetID() for mhr in resultMaps()}
        self._onLayers()
        if left:
            self._arrange(())

    def _onLayers(self, _caller: Any = None, _event: str = "") -> None:
        """Look whether a view shows another volume; everything else that changes there is the user's."""
        if self._busy or self._scene.IsBatchProcessing():
            return
        before, self._backgrounds = self._backgrounds, self._backgroundsNow()
        changed = [key for key, volume in self._backgrounds.items() if before.get(key) != volume]
        if changed or any(map(_isForeign, _sliceViews())):
            self._arrange(changed)

    def _onView(self, view: Any, _event: str = "") -> None:
        """Look whether a slice view came into the layout or left it; scrolling in it changes nothing."""
        laidOut = bool(view.IsMappedInLayout())
        if self._laidOut.get(view.GetID()) != laidOut:
            self._laidOut[view.GetID()] = laidOut
            if not self._scene.IsBatchProcessing():
                self._arrange(())

    def _arrange(self, changed: Sequence[str]) -> None:
        self._busy = True
        try:
            arrangeResults(changed)
        finally:
            self._busy = False
        self._maps = [mhr.GetID() for mhr in resultMaps()]
        for listener in list(self.listeners):
            listener()

    def _backgroundsNow(self) -> dict[str, str | None]:
        return {view.layers.GetID(): view.layers.GetBackgroundVolumeID() for view in _sliceViews()}

    def _watchNodes(self) -> None:
        """Observe every slice view that there is, and its layers."""
        handlers = {"vtkMRMLSliceCompositeNode": self._onLayers, "vtkMRMLSliceNode": self._onView}
        there = {node.GetID(): node for kind in handlers for node in slicer.util.getNodesByClass(kind)}
        for key in [key for key, (node, _tag) in self._viewTags.items() if there.get(key) is not node]:
            node, tag = self._viewTags.pop(key)
            node.RemoveObserver(tag)
        for key, node in there.items():
            if key not in self._viewTags:
                self._viewTags[key] = (node, node.AddObserver("ModifiedEvent", handlers[node.GetClassName()]))


_watching: list[ResultViews] = []
"""The one that watches the application's scene; observers alone keep nothing alive."""


def watchViews() -> ResultViews:
    """Return what watches the views of the application's scene, begun on first use."""
    if not _watching:
        _watching.append(ResultViews())
    return _watching[0]


def _sliceViews() -> list[_SliceView]:
    """Return the slice views in the order of the scene: the red one first, as Slicer makes it first."""
    nodes = {node.GetLayoutName(): node for node in slicer.util.getNodesByClass("vtkMRMLSliceNode")}
    return [
        _SliceView(nodes.get(layers.GetLayoutName()), layers, ctOf(_volume(layers.GetBackgroundVolumeID())))
        for layers in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    ]


def _laidOut(views: Sequence[_SliceView]) -> list[_SliceView]:
    return [view for view in views if view.node is not None and view.node.IsMappedInLayout()]


def _volume(nodeID: str | None) -> Any:
    return slicer.mrmlScene.GetNodeByID(nodeID) if nodeID else None


def _mapsOf(volumeNode: Any) -> list[Any]:
    return [] if volumeNode is None else [mhr for mhr in resultMaps() if ctOf(mhr) is volumeNode]


def _viewIDs(views: Sequence[_SliceView], ct: Any, leading: Any) -> list[str] | None:
    """Return in which views a CT's outlines may be drawn; None if there is no other one to keep them from."""
    own = [view for view in views if ct is not None and view.ct is ct]
    if len(own) == len(views):
        return None
    inSpace = slicer.util.getNodesByClass("vtkMRMLViewNode") if own and leading is ct else []
    return [node.GetID() for node in (*(view.node for view in own), *inSpace) if node is not None]


def _confine(node: Any, viewIDs: Sequence[str] | None) -> None:
    """Draw a node in these views alone, or in all; where there is none, hide it until there is."""
    nowhere = viewIDs is not None and not viewIDs
    if nowhere and node.GetDisplayVisibility():
        node.SetDisplayVisibility(False)
        node.SetAttribute(ATTRIBUTE_HIDDEN, "1")
    elif not nowhere and node.GetAttribute(ATTRIBUTE_HIDDEN):
        node.SetDisplayVisibility(True)
        node.SetAttribute(ATTRIBUTE_HIDDEN, None)
    for display in (node.GetNthDisplayNode(n) for n in range(node.GetNumberOfDisplayNodes())):
        if display is not None and set(display.GetViewNodeIDs()) != set(viewIDs or ()):
            display.SetViewNodeIDs(list(viewIDs or ()))


def _isForeign(view: _SliceView) -> bool:
    """Whether the volume in front belongs to another CT than the one behind it."""
    front = _volume(view.layers.GetForegroundVolumeID())
    return front is not None and isMadeOfCt(front) and (view.ct is None or ctOf(front) is not view.ct)


def _arrangeOverlay(view: _SliceView, changed: bool) -> None:
    """Take the overlay of another CT away; a CT that has just come behind gets its own."""
    if _isForeign(view):
        view.layers.SetForegroundVolumeID(None)
    mhr = currentMap(view.ct) if changed and view.layers.GetForegroundVolumeID() is None else None
    if mhr is not None and view.layers.GetBackgroundVolumeID() != mhr.GetID():
        view.layers.SetForegroundVolumeID(ResultNodes(mhr).overlay.GetID())
        view.layers.SetForegroundOpacity(OVERLAY_OPACITY)
        ResultNodes(mhr).showLegend(True)


def _arrangeTables(leading: Any) -> None:
    """Let tables and charts of a result in the layout give way to those of the CT in the first slice view."""
    mhr = currentMap(leading)
    others = [nodes for nodes in map(ResultNodes, resultMaps()) if leading is None or nodes.ct is not leading]
    _replaceTables(others, ResultNodes(mhr) if mhr is not None else None)


def _replaceTables(others: Sequence[ResultNodes], own: ResultNodes | None) -> None:
    """Put tables and charts of `own` in the place of those of `others` in the views, or nothing."""
    for view in slicer.util.getNodesByClass("vtkMRMLTableViewNode"):
        for role, ownRole in (("vesselTable", "shownTable"), ("raterTable", "shownTable"), ("lesionTable",) * 2):
            if view.GetTableNodeID() and view.GetTableNode() in [getattr(nodes, role) for nodes in others]:
                node = getattr(own, ownRole, None)
                view.SetTableNodeID(node.GetID() if node is not None else None)
    for view in slicer.util.getNodesByClass("vtkMRMLPlotViewNode"):
        if view.GetPlotChartNodeID() and any(view.GetPlotChartNode() in nodes.charts for nodes in others):
            node = next(iter(own.charts), None) if own is not None else None
            view.SetPlotChartNodeID(node.GetID() if node is not None else None)
