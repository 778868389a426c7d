"""Formulas of docstrings as MathML, which browsers show by themselves (an extension of griffe, see ``mkdocs.yml``)."""

from __future__ import annotations

import re
from typing import Any

import griffe
from latex2mathml.converter import convert

INLINE = re.compile(r":math:`([^`]+)`")
DISPLAYED = re.compile(r"^\.\. math:: (.+)$", re.MULTILINE)


class MathInDocstrings(griffe.Extension):
    """Replaces the two ways in which numpydoc writes a formula."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Change the docstring of an object that was just read."""
        if obj.docstring is not None:
            text = INLINE.sub(lambda match: convert(match.group(1)), obj.docstring.value)
            obj.docstring.value = DISPLAYED.sub(lambda match: convert(match.group(1), display="block"), text)
