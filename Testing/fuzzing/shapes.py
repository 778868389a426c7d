"""Changes of JSON values in their structure: nesting, counts, types, numbers, names, encodings."""

from __future__ import annotations

import codecs
import copy
import json
from random import Random
from typing import Any

NUMBERS: list[Any] = [
    *(
        0,
        -1,
        1,
        2,
        3,
        7,
        99,
        255,
        256,
        1023,
        1024,
        65536,
        10**5,
        10**7,
        2**31 - 1,
        2**31,
        2**32,
        2**63,
        10**9,
        -(10**9),
    ),
    *(0.0, -0.0, 0.5, 1e-9, 1e-300, 0.01, 1.5, 1e9, 1e30, 1e308, float("nan"), float("inf"), float("-inf"), 10**400),
]
"""Numbers that a careless writer or a hostile one puts in the place of a sound one."""

TEXTS = [
    *("", " ", "x", "0", "..", "../../etc/passwd", "/etc/passwd", "/dev/zero", "a\0b", "\ud800", "膵臓", "x" * 5000),
    *("%s%n{0}$(id)", "\x1b[2J\x1b]0;t\x07", "line\nbreak", "\u202edcm", "None", "NaN", "torch.nn.Conv3d", "os.system"),
]
"""Texts that no reader expects."""

OTHERS: list[Any] = [None, True, False, [], {}, [[]], [None], {"": None}, {"a": {"b": []}}, [1, 2], ["a", "a"]]


def odd(rng: Random) -> Any:
    """Return a value that does not belong there."""
    chosen = rng.choice((NUMBERS, NUMBERS, TEXTS, OTHERS))
    return copy.deepcopy(rng.choice(chosen))


def nested(rng: Random, core: Any, depth: int) -> Any:
    """Wrap `core` in `depth` lists or objects."""
    for _ in range(depth):
        core = [core] if rng.random() < 0.5 else {rng.choice(("a", "vessels", "inherits_from")): core}
    return core


def spots(content: Any) -> list[tuple[Any, Any]]:
    """Return every place in a JSON value, as its holder and key."""
    found, todo = [], [content]
    while todo:
        holder = todo.pop()
        keys = list(holder) if isinstance(holder, dict) else range(len(holder)) if isinstance(holder, list) else ()
        for key in keys:
            found.append((holder, key))
            if isinstance(holder[key], dict | list):
                todo.append(holder[key])
    return found


def bent(rng: Random, content: Any, *, times: int | None = None) -> Any:
    """Return a JSON value like `content` with one to four places changed in kind, count, depth or size."""
    content = copy.deepcopy(content)
    for _ in range(times or rng.choice((1, 1, 1, 2, 3, 4))):
        places = spots(content)
        if not places:
            return odd(rng)
        holder, key = rng.choice(places)
        _change(rng, holder, key, places)
    return content


def _change(rng: Random, holder: Any, key: Any, places: list[tuple[Any, Any]]) -> None:
    value = holder[key]
    action = rng.choice(
        ("odd", "number", "number", "remove", "more", "count", "nest", "swap", "kind", "rename", "wide")
    )
    if action == "number" and not isinstance(value, int | float):
        numeric = [(h, k) for h, k in places if k in _keys(h) and type(h[k]) in (int, float)]
        holder, key = rng.choice(numeric) if numeric else (holder, key)
    if action == "odd":
        holder[key] = odd(rng)
    elif action == "number":
        holder[key] = copy.deepcopy(rng.choice(NUMBERS))
    elif action == "remove":
        del holder[key]
    elif action == "more" and isinstance(holder, list):
        holder.insert(rng.randint(0, len(holder)), odd(rng))
    elif action == "more":
        holder[rng.choice(("x", "stride", "device", "eps2", "", "__class__", "ignore", "background", *TEXTS))] = odd(
            rng
        )
    elif action == "count" and isinstance(value, list):
        holder[key] = (value or [0]) * rng.choice((0, 2, 3, 100, 10_000))
    elif action == "nest":
        holder[key] = nested(rng, value, rng.choice((1, 2, 5, 50, 120)))
    elif action == "swap":
        other, name = rng.choice(places)
        if name in _keys(other):
            holder[key] = copy.deepcopy(other[name])
    elif action == "kind":
        holder[key] = _other_kind(value)
    elif action == "rename" and isinstance(holder, dict):
        holder[rng.choice((f"{key} ", str(key).upper(), f"{key}s", rng.choice(TEXTS)))] = holder.pop(key)
    elif action == "wide":
        count = rng.choice((10, 1000, 20_000))
        holder[key] = {f"k{n}": value for n in range(count)} if rng.random() < 0.5 else [value] * min(count, 2000)
    else:
        holder[key] = odd(rng)


def _keys(holder: Any) -> Any:
    return holder if isinstance(holder, dict) else range(len(holder))


def _other_kind(value: Any) -> Any:
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, str):
        return [value]
    if isinstance(value, list):
        return dict(enumerate(map(str, value)))
    return list(value) if isinstance(value, dict) else "null"


def as_bytes(rng: Random, content: Any) -> bytes:
    """Return the text of a JSON value, now and then in another encoding or as something that is almost JSON."""
    text = json.dumps(content, ensure_ascii=rng.random() < 0.7)
    way = rng.choice(("plain",) * 14 + ("bom", "utf-16", "latin", "cut", "twice", "deep", "digits", "tail", "invalid"))
    if way == "bom":
        return codecs.BOM_UTF8 + text.encode("utf-8", "surrogatepass")
    if way == "utf-16":
        return text.encode("utf-16", "surrogatepass")
    if way == "latin":
        return text.encode("latin-1", "replace")
    if way == "cut":
        text = text[: rng.randint(0, len(text))]
    elif way == "twice":
        text = text[:-1] + "," + text[1:] if text[:1] == "{" else text + text
    elif way == "deep":
        text = text[:-1] + ',"deep":' + "[" * rng.choice((900, 5000, 100_000)) + "]" * rng.choice((0, 900)) + "}"
    elif way == "digits":
        text = text[:-1] + ',"digits":' + "9" * rng.choice((4000, 5000, 100_000)) + "}"
    elif way == "tail":
        text += rng.choice(("{}", "\0", ",", "]", "\n" * 1000, " " * 100_000))
    content_bytes = text.encode("utf-8", "surrogatepass")
    if way == "invalid":
        at = rng.randint(0, len(content_bytes))
        return content_bytes[:at] + b"\xff\xfe\x80" + content_bytes[at:]
    return content_bytes
