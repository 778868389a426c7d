"""What the page shows, as JSON: the presenters' states word for word, and the panel's own labels."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from TwinTrackSegLib.present.Reading import ReadingState
from TwinTrackSegLib.present.Translation import tr as _
from TwinTrackSegLib.present.VesselRows import heads
from TwinTrackSegLib.present.ViewChoices import ViewState

__all__ = ["curveOf", "exports", "labels", "readingOf"]


def labels() -> dict[str, tuple[str, str]]:
    """Return text and tooltip of what does not change, by the names of the panel's widgets."""
    return {
        "researchLabel": (_("Research use only, not for diagnosis or treatment."), _("Not a medical device")),
        "inputSelectorLabel": (_("CT:"), ""),
        "resultComboBoxLabel": (_("Result:"), ""),
        "readerComboBoxLabel": (_("Shown:"), ""),
        "readerComboBox": (
            "",
            _(
                "The result of all readers, or how one of them would draw: overlay, outline, volume and vessels "
                "follow; an export always holds the result of all readers"
            ),
        ),
        "disagreementCheckBox": (
            _("Disagreement"),
            _("Lay over the CT how far the readers' maps lie apart, in place of a map"),
        ),
        "sampleSliderLabel": (_("Sample:"), ""),
        "sampleSlider": (
            "",
            _(
                "One plausible outline of those that the model drew, not a reader and not the result: outline and "
                "volume follow, nothing is computed again; an export always holds the result"
            ),
        ),
        "readersLabel": ("", _("What readers are expected to say; the threshold does not change it")),
        "thresholdSliderLabel": (_("Threshold:"), ""),
        "thresholdSlider": (
            "",
            _(
                "This outline: voxels that at least this fraction of readers mark. Overlay, outline, its volume and "
                "its contact with the vessels follow; what readers are expected to say does not. Ctrl+Left and "
                "Ctrl+Right move it"
            ),
        ),
        "readerTicksLabel": (_("Marked by:"), ""),
        "volumeLabel": (
            "",
            _("Volume inside this outline, which moves with the threshold; no statement about readers"),
        ),
        "lesionComboBoxLabel": (_("Lesions:"), ""),
        "overlayCheckBox": (_("Overlay"), _("Lay the map's colours over the CT, or take them away")),
        "opacitySlider": ("", _("How much the overlay covers the CT")),
        "caseCollapsibleButton": (
            _("Own vessels and region"),
            _("Vessels that you have segmented yourself, and where to look, for this CT alone"),
        ),
        "vesselSelectorLabel": (_("Vessels:"), ""),
        "vesselSelector": (
            "",
            _("Vessel segmentation to measure contact with, instead of the vessels that the model finds"),
        ),
        "vesselPortaComboBoxLabel": (_("    Portal vein:"), ""),
        "vesselSmvComboBoxLabel": (_("    Superior mesenteric vein:"), ""),
        "vesselAortaComboBoxLabel": (_("    Aorta:"), ""),
        "vesselCeliacComboBoxLabel": (_("    Celiac trunk:"), ""),
        "vesselSmaComboBoxLabel": (_("    Superior mesenteric artery:"), ""),
        "roiSelectorLabel": (_("Region:"), ""),
        "roiSelector": (
            "",
            _("Region of interest to look in, instead of the one that the model finds around the pancreas"),
        ),
        "readersCollapsibleButton": (
            _("Your own readers"),
            _("Segmentations of your own readers: their map, comparison with the prediction, a calibrator of your own"),
        ),
        "readersFilter": (
            "",
            _("Lists every segment and label map with this in its name; empty lists those that may be a reader's"),
        ),
        "makeMhrButton": (
            _("Make readers' map"),
            _("Make the map of the fraction of the ticked readers who marked each voxel (mean human response, MHR)"),
        ),
        "evaluateButton": (
            _("Evaluate"),
            _("Compare the predicted map with the ticked readers: difference map, reliability and metrics"),
        ),
        "addCaseButton": (
            _("Add case"),
            _("Add the predicted score and the ticked readers to the cases of the site's own calibrator"),
        ),
        "fitButton": (
            _("Fit calibrator..."),
            _("Fit a calibrator on the added cases and choose it for the next runs"),
        ),
        "casesLabel": ("", _("Cases that were added for a calibrator of your own")),
        "setupCollapsibleButton": (_("Set-up"), ""),
        "rulesComboBoxLabel": (_("Vessel rules:"), ""),
        "rulesComboBox": (
            "",
            _(
                "Rule set that names the contact pattern of all vessels together; angles and lengths do not depend on "
                "it"
            ),
        ),
        "calibratorPathEditLabel": (_("Calibrator:"), ""),
        "calibratorPathEdit": (
            "",
            _("A calibrator.json fitted on your own readers, instead of the bundle's; empty for the bundle's own"),
        ),
        "keepScoreCheckBox": (
            _("Keep the score (to fit a calibrator)"),
            _("Keep the networks' own score with the result, to fit a calibrator on your own readers"),
        ),
        "editButton": (_("Edit outline"), ""),
        "recomputeButton": (
            _("Measure"),
            _("Measure the segment as it is now; an edited outline is marked in report and export"),
        ),
        "restoreButton": (
            _("Undo edits"),
            _("Go back to the map's outline at the threshold; an edited outline is kept as a segmentation of its own"),
        ),
        "jumpButton": (_("To tumour"), _("Centre all views on the tumour, in their usual orientations")),
    }


def exports() -> list[dict[str, str]]:
    """Return the buttons that write the result: what the page asks for, text and tooltip."""
    titles = {
        "dicom": (_("DICOM..."), _("Write segmentation, map and report as DICOM objects that refer to the CT series")),
        "volumes": (_("Volumes..."), _("Save map and segments as NIfTI or NRRD files")),
        "report": (_("Report..."), _("Write the report as HTML or PDF, with pictures")),
    }
    return [{"name": name, "text": text, "tip": tip} for name, (text, tip) in titles.items()]


def readingOf(state: ReadingState, views: ViewState) -> dict[str, Any]:
    """Return a result as it is read."""
    return {**asdict(state), "about": state.notes.about, "heads": heads(), "views": asdict(views)}


def curveOf(chart: Any) -> dict[str, Any] | None:
    """Return a chart, each series with its points, for the page to draw; None without one."""
    if chart is None:
        return None
    series = [chart.GetNthPlotSeriesNode(n) for n in range(chart.GetNumberOfPlotSeriesNodes())]
    return {
        "title": chart.GetTitle(),
        "x": (chart.GetXAxisTitle(), *chart.GetXAxisRange()),
        "y": (chart.GetYAxisTitle(), *chart.GetYAxisRange()),
        "series": [_series(node) for node in series if node is not None],
    }


def _series(node: Any) -> dict[str, Any]:
    table = node.GetTableNode().GetTable()
    columns = (table.GetColumnByName(node.GetXColumnName()), table.GetColumnByName(node.GetYColumnName()))
    dashes = {node.LineStyleDash: "6 4", node.LineStyleDashDot: "6 3 1 3", node.LineStyleDot: "2 3"}
    return {
        "name": node.GetName(),
        "color": [round(255 * channel) for channel in node.GetColor()],
        "dashes": dashes.get(node.GetLineStyle(), ""),
        "marks": node.GetMarkerStyle() != node.MarkerStyleNone,
        "points": [[column.GetValue(row) for column in columns] for row in range(table.GetNumberOfRows())],
    }
