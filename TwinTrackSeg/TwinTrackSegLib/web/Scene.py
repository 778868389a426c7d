"""A scene with four views and no application, made by trame-slicer; pictures are drawn when they are asked for."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import vtk
from trame_slicer.core import SlicerApp
from trame_slicer.views import (
    AbstractView,
    IViewFactory,
    ScheduledRenderStrategy,
    SliceView,
    ThreeDView,
    ViewLayoutDefinition,
    ViewType,
)

import slicer

__all__ = ["SPACE", "VIEWS", "OpenedSeries", "ViewerScene"]

SPACE = "1"
"""Singleton tag of the 3D view, as in Slicer's layouts."""

VIEWS = ("Red", SPACE, "Green", "Yellow")
"""The views by their singleton tags, row by row."""

COLORS_3D = ("#1f2020", "#3c3c3c")

logger = logging.getLogger(__name__)


def _logOfVtk() -> None:
    """Let what VTK says go to the log, not to the terminal: it warns of things that a user cannot change."""
    vtk.vtkLogger.SetStderrVerbosity(vtk.vtkLogger.VERBOSITY_OFF)
    window = vtk.vtkOutputWindow.GetInstance()
    window.SetDisplayModeToNever()

    @vtk.calldata_type(vtk.VTK_STRING)
    def tell(_window: Any, _event: str, text: str) -> None:
        logger.info("VTK: %s", text.strip())

    for event in ("ErrorEvent", "WarningEvent"):
        window.AddObserver(event, tell)


class _WhenAsked(ScheduledRenderStrategy):
    """Passes on that a view is to be drawn anew; draws nothing."""

    def __init__(self, asked: Callable[[], None]) -> None:
        super().__init__()
        self._asked = asked

    def schedule_render(self) -> None:
        self._asked()


class _Views(IViewFactory):
    """Makes views that tell when they are to be drawn anew.

    Parameters
    ----------
    asked : callable
        Called with a view's singleton tag.
    """

    def __init__(self, asked: Callable[[str], None]) -> None:
        super().__init__()
        self._asked = asked

    def can_create_view(self, view: ViewLayoutDefinition) -> bool:
        return view.view_type in (ViewType.SLICE_VIEW, ViewType.THREE_D_VIEW)

    def _create_view(self, view: ViewLayoutDefinition, scene: Any, app_logic: Any) -> AbstractView:
        kind = SliceView if view.view_type is ViewType.SLICE_VIEW else ThreeDView
        tag = view.singleton_tag
        made = kind(scene, app_logic, tag, scheduled_render_strategy=_WhenAsked(lambda: self._asked(tag)))
        made.set_view_properties(view.properties)
        # With several samples a pixel, translucent surfaces of depth peeling do not appear on Mesa.
        made.render_window().SetMultiSamples(0)
        made.interactor().EnableRenderOff()  # an event asks for a picture; it draws none
        return made

    def _get_slicer_view(self, view: AbstractView) -> AbstractView:
        return view


class OpenedSeries:
    """The DICOM files that were opened, asked for as Slicer's database is; there is no other database here."""

    def __init__(self) -> None:
        self._files: dict[str, Path] = {}

    def add(self, uids: Sequence[str], files: Sequence[Path]) -> None:
        """Remember the file of each instance."""
        self._files.update(zip(uids, files, strict=True))

    def fileForInstance(self, uid: str) -> str:
        """Return the file of an instance; empty for one that was not opened."""
        return str(self._files.get(uid, ""))


class ViewerScene:
    """The scene as ``slicer.mrmlScene``, with the module's four views, a plot and a table.

    Parameters
    ----------
    asked : callable
        Called with a view's singleton tag whenever it is to be drawn anew.

    Attributes
    ----------
    views : dict of str to AbstractView
        The views by their singleton tags.
    opened : OpenedSeries
        Stands in for Slicer's DICOM database.
    """

    def __init__(self, asked: Callable[[str], None]) -> None:
        if sys.platform == "linux" and not os.environ.get("DISPLAY"):
            os.environ.setdefault("VTK_DEFAULT_OPENGL_WINDOW", "vtkEGLRenderWindow")  # or it looks for a screen
        self._app = SlicerApp()
        _logOfVtk()
        scene = self._app.scene
        slicer.mrmlScene = scene
        self.opened = OpenedSeries()
        slicer.dicomDatabase = self.opened
        # trame-slicer's own colour logic knows no legends: this one registers their nodes, too.
        self._legends = slicer.vtkSlicerColorLogic()
        self._legends.SetMRMLApplicationLogic(self._app.app_logic)
        self._legends.SetMRMLScene(scene)
        self._app.view_manager.register_factory(_Views(asked))
        for view in (
            ViewLayoutDefinition.axial_view(),
            ViewLayoutDefinition.threed_view(name=SPACE, background_color=COLORS_3D),
            ViewLayoutDefinition.coronal_view(),
            ViewLayoutDefinition.sagittal_view(),
        ):
            self._app.view_manager.create_view(view)
        self._app.view_manager.set_current_view_ids(list(VIEWS))
        self.views: dict[str, AbstractView] = {tag: self._app.view_manager.get_view(tag) for tag in VIEWS}
        for kind in ("vtkMRMLPlotViewNode", "vtkMRMLTableViewNode"):
            scene.AddNewNodeByClass(kind)

    @property
    def chart(self) -> Any:
        """The chart that is shown, or None."""
        return slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLPlotViewNode").GetPlotChartNode()

    def fit(self) -> None:
        """Bring all that is there into each view."""
        for view in self.views.values():
            view.fit_view_to_content()

    def fitSpace(self) -> None:
        """Bring all that is there into the 3D view."""
        self.views[SPACE].fit_view_to_content()

    def close(self) -> None:
        """Give the windows back, and the scene's memory."""
        for view in self.views.values():
            view.set_render_blocked(True)
            view.finalize()
        slicer.mrmlScene.Clear(True)
