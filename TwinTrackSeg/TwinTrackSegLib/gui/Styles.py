"""Colours that carry a meaning, readable in Slicer's light and dark theme alike, and the labels that wear them."""

__all__ = ["CATEGORY_COLORS", "CHOSEN", "DEMO", "EDITED", "ERROR", "WARNING", "dress", "dressTick", "sayStatus"]

DEMO = ("#ffffff", "#b04a00")
WARNING = ("#000000", "#ffd060")
EDITED = ("#ffffff", "#6a3d9a")
ERROR = ("#ffffff", "#961414")
CHOSEN = ("#ffffff", "#1f5f99")
"""Text and background: both are set, so that no theme can spoil the contrast."""

CATEGORY_COLORS = {"encasement": (228, 60, 100), "abutment": (184, 130, 0), "none": (70, 130, 230), "": (128, 128, 128)}
"""Crimson, amber, blue, grey: far apart for every kind of colour vision, at least 3:1 on white and on dark tables."""


def dress(label, style=None) -> None:
    """Give `label` the colours of `style`, or those of the theme."""
    label.styleSheet = (
        f"QLabel {{ color: {style[0]}; background-color: {style[1]}; padding: 4px; border-radius: 3px; }}"
        if style is not None
        else ""
    )


def dressTick(button, chosen: bool) -> None:
    """Press `button` down, and let it stand out while it is."""
    button.checked = chosen
    button.styleSheet = (
        f"QToolButton {{ color: {CHOSEN[0]}; background-color: {CHOSEN[1]}; font-weight: bold; padding: 2px; }}"
        if chosen
        else ""
    )


def sayStatus(ui, text: str, failed: bool = False) -> None:
    """Say in the panel's status line what was done, or what went wrong."""
    dress(ui.statusLabel, ERROR if failed else None)
    ui.statusLabel.text = text
