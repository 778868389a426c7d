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
)

THEMES = {
    "light": ("#efefef", "#000000", "#ffffff", "#f5f5f5", "#000000", "#efefef", "#000000", "#308cc6", "#ffffff"),
    "dark": ("#323232", "#ffffff", "#1e1e1e", "#323232", "#ffffff", "#323232", "#ffffff", "#3ca4ff", "#ffffff"),
}
"""Colours in the order of `ROLES`."""

DISABLED_TEXT = {"light": "#8c8c8c", "dark": "#6d6d6d"}
BEVELS = {
    "light": {"Light": "#ffffff", "Midlight": "#dcdcdc", "Mid": "#b8b8b8", "Dark": "#9f9f9f", "Shadow": "#767676"},
    "dark": {"Light": "#828284", "Midlight": "#5a5a5b", "Mid": "#2b2b2b", "Dark": "#232323", "Shadow": "#141414"},
}


def paletteOf(theme: str):
    """Return the palette of ``"light"`` or ``"dark"``."""
    palette = qt.QPalette()
    for role, color in (*zip(ROLES, THEMES[theme], strict=True), *BEVELS[theme].items()):
        palette.setColor(getattr(qt.QPalette, role), qt.QColor(color))
    palette.setColor(qt.QPalette.PlaceholderText, qt.QColor(DISABLED_TEXT[theme]))
    for role in ("WindowText", "Text", "ButtonText"):
        palette.setColor(qt.QPalette.Disabled, getattr(qt.QPalette, role), qt.QColor(DISABLED_TEXT[theme]))
    return palette


def useTheme(theme: str) -> None:
    """Make all widgets wear the theme."""
    qt.QApplication.setStyle("Fusion")
    qt.QApplication.setPalette(paletteOf(theme))
