"""Writes and reads saved plans as JSON Lines. A seal ensures that exactly the reviewed plan is applied.

The first line has all but the long lists, and how many lines each of these has. Then come their values, one a line: for each
store its actions, its holds, and the actions that its guards withhold. The last line is the seal of all lines before it.
"""

from __future__ import annotations

import hashlib
import hmac
import tempfile
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import field, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import NonNegativeInt, ValidationError

from reconciler.controller.scan.spool import IN_MEMORY, Spool
from reconciler.core.model.action import Action, Hold
from reconciler.core.model.frozen import frozen
from reconciler.core.model.ids import StoreName
from reconciler.core.model.json import adapter_of
from reconciler.core.plan.plan import Plan
from reconciler.core.plan.series import Series, canonical, lines_of
from reconciler.errors import PermanentError, PlanRefused

M = TypeVar("M")

OLD = b'{"seal":'  # the first bytes of a saved plan before JSON Lines
MAKE_ONE = "make one with `reconciler plan --out FILE`"


@frozen(kw_only=True)
class SavedPlan:
    """The content of the file: the plan, the withheld actions of each store, and whether it was limited to some users."""

    program: str
    narrowed: bool
    plan: Plan
    withheld: Mapping[str, Series[Action]] = field(default_factory=dict)


@frozen(kw_only=True)
class _Lengths:
    """How many lines the lists of one store have."""

    actions: NonNegativeInt = 0
    holds: NonNegativeInt = 0
    withheld: NonNegativeInt = 0


@frozen(kw_only=True)
class _Head:
    """The first line. The stores of its plan have no actions and holds."""

    format: Literal["customer-parity plan 2"] = "customer-parity plan 2"
    program: str
    narrowed: bool
    plan: Plan
    lengths: Mapping[StoreName, _Lengths]


class _Seal:
    """`sha256:…` over all lines, or `hmac-sha256:…` if there is a key."""

    def __init__(self, key: str | None) -> None:
        self._name = "hmac-sha256" if key else "sha256"
        self._made = hmac.new(key.encode(), None, hashlib.sha256) if key else hashlib.sha256()

    def over(self, lines: Iterator[bytes]) -> Iterator[bytes]:
        """The same lines, each added to the seal as it passes."""
        for line in lines:
            self._made.update(line)
            yield line

    def text(self) -> str:
        return f"{self._name}:{self._made.hexdigest()}"

    def line(self) -> bytes:
        """The last line of the file."""
        return f'{{"seal":"{self.text()}"}}\n'.encode()


def save(saved: SavedPlan, path: Path, *, key: str | None) -> None:
    """Write the file, readable only by its owner. With `key`, the seal is an HMAC.

    A temporary file beside `path` replaces it when it is complete, so an error leaves the old file in place. Links are not
    followed. PermanentError if the file can't be written.
    """
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise PermanentError(
            f"{path} is not a regular file", hint="name a regular file by --out; links are not followed"
        )
    part: Path | None = None
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        part = Path(name)
        with open(descriptor, "wb") as file:  # noqa: PTH123  a descriptor, with access for the owner only
            seal = _Seal(key)
            file.writelines(seal.over(f"{line}\n".encode() for line in _lines(saved)))
            file.write(seal.line())
        part.replace(path)
        part = None
    except OSError as error:
        raise PermanentError(f"{path} can't be written: {error.strerror}", hint="name another file by --out") from error
    finally:
        if part is not None:
            part.unlink(missing_ok=True)


def load(path: Path, *, key: str | None, program: str, in_memory_bytes: int = IN_MEMORY) -> tuple[SavedPlan, str]:
    """Read a saved plan and its seal. PlanRefused if it is not a plan, was changed, or has another key or version.

    Long lists are copied while they are read, so later changes of the file have no effect.
    """
    seal, spools = _Seal(key), list[Spool[Any]]()

    def new_spool(model: type[M]) -> Spool[M]:
        spools.append(Spool(model, in_memory_bytes=in_memory_bytes))
        return spools[-1]

    try:
        with path.open("rb") as file:
            head = _head(path, b"".join(seal.over(islice(file, 1))))
            saved = _read_saved(head, seal.over(file), new_spool)
            is_sealed = hmac.compare_digest(seal.line(), file.read(len(seal.line()) + 1))
    except OSError as error:
        raise PlanRefused(f"{path} can't be read: {error.strerror}", hint=MAKE_ONE) from error
    if not is_sealed:
        why = "it was changed, or sealed with another key"
        raise PlanRefused(f"{path} is refused: {why}", hint="plan again")
    if saved.program != program:
        raise PlanRefused(f"{path} was made by version {saved.program}, this is {program}", hint="plan again")
    try:
        for spool in spools:
            deque(spool, maxlen=0)  # validates each value
    except ValidationError as error:
        raise PlanRefused(f"{path} is refused: it has another version", hint="plan again") from error
    return saved, seal.text()


# --- writing ---------------------------------------------------------------------------------------------------------


def _lines(saved: SavedPlan) -> Iterator[str]:
    lists = {s.store: (s.actions, s.holds, saved.withheld.get(s.store, ())) for s in saved.plan.stores}
    lengths = {
        name: _Lengths(actions=len(actions), holds=len(holds), withheld=len(withheld))
        for name, (actions, holds, withheld) in lists.items()
    }
    stores = tuple(replace(store, actions=(), holds=()) for store in saved.plan.stores)
    plan = replace(saved.plan, stores=stores)
    yield canonical(_Head(program=saved.program, narrowed=saved.narrowed, plan=plan, lengths=lengths))
    for values in chain.from_iterable(lists.values()):
        yield from lines_of(values)


# --- reading ---------------------------------------------------------------------------------------------------------


def _head(path: Path, line: bytes) -> _Head:
    if line.startswith(OLD):
        raise PlanRefused(
            f"{path} was saved by an older version, in another format", hint="plan again: reconciler plan --out FILE"
        )
    try:
        return adapter_of(_Head).validate_json(line)
    except ValidationError as error:
        raise PlanRefused(f"{path} is not a saved plan of this version", hint=MAKE_ONE) from error


def _read_saved(head: _Head, lines: Iterator[bytes], new_spool: Callable[[type[Any]], Spool[Any]]) -> SavedPlan:
    """Read the lists into spools, and return the plan with them; they are validated when they are read again."""

    def take(model: type[M], count: int) -> Collection[M]:
        spool = new_spool(model)
        for line in islice(lines, count):
            spool.put(line.removesuffix(b"\n"))
        return spool

    stores, withheld = [], dict[str, Collection[Action]]()
    for store in head.plan.stores:
        lengths = head.lengths.get(store.store, _Lengths())
        actions, holds = take(Action, lengths.actions), take(Hold, lengths.holds)
        stores.append(replace(store, actions=actions, holds=holds))
        if lengths.withheld:
            withheld[store.store] = take(Action, lengths.withheld)
    plan = replace(head.plan, stores=tuple(stores))
    return SavedPlan(program=head.program, narrowed=head.narrowed, plan=plan, withheld=withheld)
