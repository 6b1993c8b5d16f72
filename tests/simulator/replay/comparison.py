"""Compares a simulated reply with the recorded one: values exactly, times, cursors, digests and URLs by their form."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from tests.simulator.replay.ids import GID, Ids

_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
_MARKS: Final = re.compile(r"(cursor|Cursor|compareDigest)$")
_BY_FORM: Final = re.compile(r"([uU]rl|requestId|legacyResourceId)$")
_TIMES: Final = re.compile(r"(At|Date)$")
_UPLOAD: Final = re.compile(r"\d{8}T\d{6}Z")
"""A value of an upload's form that is another each time."""
_KEYS: Final = re.compile(r"tmp/\d+/.+")


@dataclass(frozen=True, slots=True)
class Difference:
    """One place where two replies differ."""

    path: str
    recorded: Any
    simulated: Any


def differences(recorded: Any, simulated: Any, ids: Ids, path: str = "") -> Iterator[Difference]:
    """What differs; ids that were not bound yet are bound on the way."""
    if isinstance(recorded, dict) and isinstance(simulated, dict):
        for key in sorted({*recorded, *simulated}):
            below = f"{path}.{key}" if path else key
            if key not in recorded or key not in simulated:
                yield Difference(below, recorded.get(key, "(absent)"), simulated.get(key, "(absent)"))
            else:
                yield from differences(recorded[key], simulated[key], ids, below)
    elif isinstance(recorded, list) and isinstance(simulated, list):
        if len(recorded) != len(simulated):
            yield Difference(f"{path}[]", recorded, simulated)
            return
        for index, (theirs, ours) in enumerate(zip(recorded, simulated, strict=True)):
            yield from differences(theirs, ours, ids, f"{path}[{index}]")
    elif not _are_equal(recorded, simulated, ids, path.rpartition(".")[2]):
        yield Difference(path, recorded, simulated)


def _are_equal(recorded: Any, simulated: Any, ids: Ids, name: str) -> bool:
    if isinstance(recorded, str) and isinstance(simulated, str):
        if _MARKS.search(name):
            ids.bind_mark(recorded, simulated)
            return True
        if _KEYS.fullmatch(recorded) and _KEYS.fullmatch(simulated):
            ids.bind_mark(recorded, simulated)
            return True
        if _is_alike(recorded, simulated, name):
            return True
        theirs, ours = GID.match(recorded), GID.match(simulated)
        if theirs and ours and theirs[1] == ours[1]:
            return ids.bind(theirs[0], ours[0])
        return bool(ids.translate(recorded) == simulated)
    return type(recorded) is type(simulated) and bool(recorded == simulated)


def _is_alike(recorded: str, simulated: str, name: str) -> bool:
    if _BY_FORM.search(name):
        return True
    if name == "value" and (_UPLOAD.fullmatch(recorded) or recorded == "…"):
        return True
    return bool(_TIMES.search(name) and _TIME.fullmatch(recorded) and _TIME.fullmatch(simulated))
