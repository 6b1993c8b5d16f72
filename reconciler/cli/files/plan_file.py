"""Writes and reads saved plans line by line. A seal ensures that exactly the reviewed plan is applied."""

from __future__ import annotations

import hashlib
import hmac
import json
import tempfile
from collections import deque
from collections.abc import Collection
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from reconciler.cli.files.json_document import BLOCK, JsonReader
from reconciler.controller.scan.spool import IN_MEMORY, Spool
from reconciler.core.model.action import Action, Hold
from reconciler.core.plan.plan import Plan, json_parts
from reconciler.core.plan.series import Series, canonical_parts, dumped_around
from reconciler.errors import PermanentError, PlanRefused

FORMAT = "customer-parity plan 1"


class SavedPlan(BaseModel):
    """The content of the file: the plan, the withheld actions of each store, and whether it was limited to some users."""

    model_config = ConfigDict(frozen=True)

    format: str = FORMAT
    program: str
    narrowed: bool
    plan: Plan
    withheld: dict[str, Series[Action]] = {}


def save(saved: SavedPlan, path: Path, *, key: str | None) -> None:
    """Write the file, readable only by its owner. With `key`, the seal is an HMAC.

    A temporary file beside `path` replaces it when it is complete, so an error leaves the old file in place. Links are not
    followed. PermanentError if the file can't be written.
    """
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise PermanentError(
            f"{path} is not a regular file", hint="name a regular file by --out; links are not followed"
        )
    plan = dumped_around(saved.plan, {"stores": [json_parts(store) for store in saved.plan.stores]})
    body = dumped_around(saved, {"plan": plan, "withheld": saved.withheld})
    opening = f'{{"seal":{json.dumps(seal(body, key))},\n'
    part: Path | None = None
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        part = Path(name)
        with open(descriptor, "w", encoding="utf-8") as file:  # noqa: PTH123  a descriptor, with access for the owner only
            parts = canonical_parts(body, between=",\n")
            file.write(opening + next(parts).removeprefix("{"))
            file.writelines(parts)
            file.write("\n")
        part.replace(path)
        part = None
    except OSError as error:
        raise PermanentError(f"{path} can't be written: {error.strerror}", hint="name another file by --out") from error
    finally:
        if part is not None:
            part.unlink(missing_ok=True)


def load(
    path: Path, *, key: str | None, program: str, in_memory_bytes: int = IN_MEMORY, block: int = BLOCK
) -> tuple[SavedPlan, str]:
    """Read a saved plan and its seal. PlanRefused if it is not a plan, was changed, or has another key or version.

    Long lists are copied while they are read, so later changes of the file have no effect. A list longer than
    `in_memory_bytes` is copied to a temporary file; `block` characters of the plan are read at a time.
    """
    spools = _Spools(in_memory_bytes)
    try:
        with path.open(encoding="utf-8") as file:
            body = _read(JsonReader(file, block=block), spools)
    except OSError as error:
        raise PlanRefused(
            f"{path} can't be read: {error.strerror}", hint="make one with `reconciler plan --out FILE`"
        ) from error
    except (ValueError, RecursionError) as error:
        raise PlanRefused(f"{path} is not a saved plan", hint="make one with `reconciler plan --out FILE`") from error
    if body.get("format") != FORMAT:
        raise PlanRefused(f"{path} is not a saved plan", hint="make one with `reconciler plan --out FILE`")
    found = str(body.pop("seal", ""))
    if not hmac.compare_digest(found.encode(), seal(body, key).encode()):
        why = "it was changed, or sealed with another key"
        raise PlanRefused(f"{path} is refused: {why}", hint="plan again")
    try:
        for spool in spools.filled:
            deque(spool, maxlen=0)  # validates each value
        saved = SavedPlan.model_validate(body)
    except ValidationError as error:
        raise PlanRefused(f"{path} is refused: it has another version", hint="plan again") from error
    if saved.program != program:
        raise PlanRefused(f"{path} was made by version {saved.program}, this is {program}", hint="plan again")
    return saved, found


def seal(body: dict[str, Any], key: str | None) -> str:
    """`sha256:…` over the content, or `hmac-sha256:…` if there is a key."""
    name, made = ("hmac-sha256", hmac.new(key.encode(), None, hashlib.sha256)) if key else ("sha256", hashlib.sha256())
    for text in canonical_parts(body):
        made.update(text.encode())
    return f"{name}:{made.hexdigest()}"


# --- reading ---------------------------------------------------------------------------------------------------------


class _Spools:
    """The long lists of one document, copied."""

    def __init__(self, in_memory_bytes: int) -> None:
        self.filled: list[Spool[Any]] = []
        self._in_memory_bytes = in_memory_bytes

    def copy(self, reader: JsonReader, model: type[Any]) -> Collection[Any]:
        """Copy the values of a list in their order; they are validated when the spool is read."""
        spool = Spool(model, in_memory_bytes=self._in_memory_bytes)
        for _ in reader.items():
            spool.put("".join(canonical_parts(reader.value())))
        self.filled.append(spool)
        return spool


def _read(reader: JsonReader, spools: _Spools) -> dict[str, Any]:
    body: dict[str, Any] = {}
    for name in reader.members():
        if name == "plan":
            body[name] = _plan(reader, spools)
        elif name == "withheld":
            body[name] = {store: spools.copy(reader, Action) for store in reader.members()}
        else:
            body[name] = reader.value()
    reader.end()
    return body


def _plan(reader: JsonReader, spools: _Spools) -> dict[str, Any]:
    body: dict[str, Any] = {}
    for name in reader.members():
        if name == "stores":
            body[name] = [_store(reader, spools) for _ in reader.items()]
        else:
            body[name] = reader.value()
    return body


def _store(reader: JsonReader, spools: _Spools) -> dict[str, Any]:
    body: dict[str, Any] = {}
    for name in reader.members():
        if name in {"actions", "holds"}:
            body[name] = spools.copy(reader, Action if name == "actions" else Hold)
        else:
            body[name] = reader.value()
    return body
