"""Saved plans: sealed, so that only what was reviewed is applied, byte for byte. Written and read a line at a time."""

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

from reconciler.cli.files.json_document import Document
from reconciler.controller.spool import Spool
from reconciler.core.model.action import Action, Hold
from reconciler.core.plan.pile import Pile, canonical_parts, dumped_around
from reconciler.core.plan.plan import Plan, in_parts
from reconciler.errors import PermanentError, PlanRefused

FORMAT = "customer-parity plan 1"


class SavedPlan(BaseModel):
    """What lies in the file: the plan, what the guards withheld per store, and whether it looked at everybody."""

    model_config = ConfigDict(frozen=True)

    format: str = FORMAT
    program: str
    narrowed: bool
    plan: Plan
    withheld: dict[str, Pile[Action]] = {}


def save(saved: SavedPlan, path: Path, *, key: str | None) -> None:
    """Write the file in one go, readable only by its owner; with `key` the seal is an HMAC that nobody else can make.

    The file is written anew beside its place, under a name that did not exist, and put there when it is whole: nothing is
    written through a link, and what stood there before stays until then. PermanentError where that can't be done.
    """
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise PermanentError(f"{path} is no plain file", hint="name a plain file by --out; links are not followed")
    plan = dumped_around(saved.plan, {"stores": [in_parts(store) for store in saved.plan.stores]})
    body = dumped_around(saved, {"plan": plan, "withheld": saved.withheld})
    opening = f'{{"seal":{json.dumps(seal(body, key))},\n'
    part: Path | None = None
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        part = Path(name)
        with open(descriptor, "w", encoding="utf-8") as file:  # noqa: PTH123  a descriptor, made for its owner alone
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


def load(path: Path, *, key: str | None, program: str) -> tuple[SavedPlan, str]:
    """The saved plan and its seal; PlanRefused: no plan, changed since, sealed by another key or program.

    What is long in it is copied on the way, so that a file that is changed later changes nothing.
    """
    piles: list[Spool[Any]] = []
    try:
        with path.open(encoding="utf-8") as file:
            body = _read(Document(file), piles)
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
        raise PlanRefused(f"{path} is refused whole: {why}", hint="plan again")
    try:
        for pile in piles:
            deque(pile, maxlen=0)  # each of its values is one
        saved = SavedPlan.model_validate(body)
    except ValidationError as error:
        raise PlanRefused(f"{path} is refused whole: it is of another version", hint="plan again") from error
    if saved.program != program:
        raise PlanRefused(f"{path} was made by version {saved.program}, this is {program}", hint="plan again")
    return saved, found


def seal(body: dict[str, Any], key: str | None) -> str:
    """`sha256:…` over the content, or `hmac-sha256:…` where RECONCILER_PLAN_KEY is set."""
    name, made = ("hmac-sha256", hmac.new(key.encode(), None, hashlib.sha256)) if key else ("sha256", hashlib.sha256())
    for text in canonical_parts(body):
        made.update(text.encode())
    return f"{name}:{made.hexdigest()}"


# --- reading ---------------------------------------------------------------------------------------------------------


def _read(document: Document, piles: list[Spool[Any]]) -> dict[str, Any]:
    body: dict[str, Any] = {}
    for name in document.members():
        if name == "plan":
            body[name] = _plan(document, piles)
        elif name == "withheld":
            body[name] = {store: _pile(document, Action, piles) for store in document.members()}
        else:
            body[name] = document.value()
    document.end()
    return body


def _plan(document: Document, piles: list[Spool[Any]]) -> dict[str, Any]:
    body: dict[str, Any] = {}
    for name in document.members():
        if name == "stores":
            body[name] = [_store(document, piles) for _ in document.items()]
        else:
            body[name] = document.value()
    return body


def _store(document: Document, piles: list[Spool[Any]]) -> dict[str, Any]:
    body: dict[str, Any] = {}
    for name in document.members():
        if name in {"actions", "holds"}:
            body[name] = _pile(document, Action if name == "actions" else Hold, piles)
        else:
            body[name] = document.value()
    return body


def _pile(document: Document, model: type[Any], piles: list[Spool[Any]]) -> Collection[Any]:
    """Values as they stand there, in the order in which they do; whether they are any is seen later."""
    pile = Spool(model)
    for _ in document.items():
        pile.put("".join(canonical_parts(document.value())))
    piles.append(pile)
    return pile
