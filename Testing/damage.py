"""Damaged and foreign content for readers: JSON values bent in one place, files with bytes changed or cut."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import strategies as st

ODD = [
    *(None, True, False, 0, 1, -1, 2**63, 10**400, 1e308, -1e308, 0.5, float("nan"), float("inf")),
    *("", " ", "x", "0", "..", "../../etc/passwd", "/etc/passwd", "a\0b", "\ud800", "名", "x" * 5000, "%s{0}$(id)"),
    *([], [[]], [None], [1, 2], ["a", "a"], {}, {"": None}, {"a": {"b": []}}),
]
"""Values that no reader expects."""

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@st.composite
def bent(draw: st.DrawFn, content: Any) -> Any:
    """Return a JSON value like `content` with one to three places removed, doubled or filled with something odd."""
    content = copy.deepcopy(content)
    for _ in range(draw(st.integers(1, 3))):
        spot, key = content, None
        holder = None
        while isinstance(spot, dict | list) and spot and (holder is None or draw(st.booleans())):
            keys = sorted(spot) if isinstance(spot, dict) else list(range(len(spot)))
            holder, key = spot, draw(st.sampled_from(keys))
            spot = holder[key]
        if holder is None or key is None:
            return copy.deepcopy(draw(json_values))
        action = draw(st.sampled_from(["odd", "any", "remove", "more"]))
        if action == "remove":
            del holder[key]
        elif action == "more" and isinstance(holder, list):
            holder.append(copy.deepcopy(draw(st.sampled_from(ODD))))
        elif action == "more":
            holder[draw(st.text(max_size=6))] = copy.deepcopy(draw(st.sampled_from(ODD)))
        else:
            holder[key] = copy.deepcopy(draw(st.sampled_from(ODD) if action == "odd" else json_values))
    return content


@st.composite
def broken(draw: st.DrawFn, content: bytes) -> bytes:
    """Return `content` cut, or with bytes overwritten, taken out or put in; most often near the beginning."""
    broken_bytes = bytearray(content)
    for _ in range(draw(st.integers(1, 3))):
        near = draw(st.sampled_from([64, 400, len(broken_bytes)]))
        start = draw(st.integers(0, max(0, min(near, len(broken_bytes)) - 1)))
        action = draw(st.sampled_from(["overwrite", "insert", "delete", "cut"]))
        patch = draw(st.binary(min_size=1, max_size=8))
        if action == "overwrite":
            broken_bytes[start : start + len(patch)] = patch
        elif action == "insert":
            broken_bytes[start:start] = patch
        elif action == "delete":
            del broken_bytes[start : start + len(patch)]
        else:
            del broken_bytes[start:]
    return bytes(broken_bytes)
