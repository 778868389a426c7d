"""The words of the panel in the user's language: Slicer's own translation where there is one, else English as written.

Slicer finds the language's words by the file that calls `tr`, and its tools find the words to translate by the literal
`_("...")`. So every presenter imports this name as ``_`` and calls it itself; a function around it would hide the file.
What the engine writes (a result's sentences, warnings, errors) stays English, as in report and DICOM objects: `tr` is
given it where it is a word of a list, and returns it as it is where no language knows it.
"""

try:
    from slicer.i18n import tr  # noqa: TID251 (a function of texts; no scene and no widget comes with it)
except ImportError:  # outside the application

    def tr(text: str) -> str:
        """Return `text` as it is."""
        return text


__all__ = ["tr"]
