"""Slicer's light and dark theme, as far as they decide what can be read: the colours of its palettes."""

from __future__ import annotations

import qt

__all__ = ["THEMES", "useTheme"]

ROLES = (
    "Window",
    "WindowText",
    "Base",
    "AlternateBase",
    "Text",
    "Button",
    "ButtonText",
    "Highlight",
    "HighlightedText",
    "ToolTipBase",
    "ToolTipText",
)

WHITE, BLACK, DARK = "#ffffff", "#000000", "#323232"
THEMES = {
    "light": (WHITE, BLACK, WHITE, "#e4e4fe", BLACK, "#fcfcfc", BLACK, "#308cc6", WHITE, "#ffffdc", BLACK),
    "dark": (DARK, WHITE, "#1e1e1e", DARK, WHITE, DARK, WHITE, "#3ca4ff", WHITE, WHITE, DARK),
}
"""Colours in the order of `ROLES`, as Slicer 5.12 and 5.13 set them."""

DISABLED_TEXT = {"light": "#bebebe", "dark": "#6d6d6d"}
PLACEHOLDER = {"light": "#808080", "dark": "#c0c0c0"}
BEVELS = {
    "light": {"Light": "#c8c8c8", "Midlight": "#e6e6e6", "Mid": "#c8c8c8", "Dark": "#aaaaaa", "Shadow": "#5a5a5a"},
    "dark": {"Light": "#828284", "Midlight": "#5a5a5b", "Mid": "#2b2b2b", "Dark": "#232323", "Shadow": "#141414"},
}


def paletteOf(theme: str):
    """Return the palette of ``"light"`` or ``"dark"``."""
    palette = qt.QPalette()
    for role, color in (*zip(ROLES, THEMES[theme], strict=True), *BEVELS[theme].items()):
        palette.setColor(getattr(qt.QPalette, role), qt.QColor(color))
    palette.setColor(qt.QPalette.PlaceholderText, qt.QColor(PLACEHOLDER[theme]))
    for role in ("WindowText", "Text", "ButtonText"):
        palette.setColor(qt.QPalette.Disabled, getattr(qt.QPalette, role), qt.QColor(DISABLED_TEXT[theme]))
    return palette


def useTheme(theme: str) -> None:
    """Make all widgets wear the theme."""
    qt.QApplication.setStyle("Fusion")
    qt.QApplication.setPalette(paletteOf(theme))
