"""Saved plans: sealed, so that only what was reviewed is applied, byte for byte."""

from __future__ import annotations

import hashlib
import hmac
import json
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from reconciler.core.plan import Action, Plan
from reconciler.errors import PermanentError, PlanRefused

FORMAT = "customer-parity plan 1"


class SavedPlan(BaseModel):
    """What lies in the file: the plan, what the guards withheld per store, and whether it looked at everybody."""

    model_config = ConfigDict(frozen=True)

    format: str = FORMAT
    program: str
    narrowed: bool
    plan: Plan
    withheld: dict[str, tuple[Action, ...]] = {}


def save(saved: SavedPlan, path: Path, *, key: str | None) -> None:
    """Write the file in one go, readable only by its owner; with `key` the seal is an HMAC that nobody else can make."""
    body = saved.model_dump(mode="json")
    text = json.dumps({"seal": seal(body, key), **body}, indent=1, ensure_ascii=False) + "\n"
    part = path.with_name(path.name + ".part")
    try:
        part.touch(mode=0o600)
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    except OSError as error:
        raise PermanentError(f"{path} can't be written: {error.strerror}", hint="name another file by --out") from error


def load(path: Path, *, key: str | None, program: str) -> tuple[SavedPlan, str]:
    """The saved plan and its seal; PlanRefused: no plan, changed since, sealed by another key or program."""
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise PlanRefused(
            f"{path} can't be read: {error.strerror}", hint="make one with `reconciler plan --out FILE`"
        ) from error
    except (ValueError, RecursionError) as error:
        raise PlanRefused(f"{path} is not a saved plan", hint="make one with `reconciler plan --out FILE`") from error
    if not isinstance(body, dict) or body.get("format") != FORMAT:
        raise PlanRefused(f"{path} is not a saved plan", hint="make one with `reconciler plan --out FILE`")
    found = str(body.pop("seal", ""))
    if not hmac.compare_digest(found, seal(body, key)):
        why = "it was changed, or sealed with another key"
        raise PlanRefused(f"{path} is refused whole: {why}", hint="plan again")
    try:
        saved = SavedPlan.model_validate(body)
    except ValidationError as error:
        raise PlanRefused(f"{path} is refused whole: it is of another version", hint="plan again") from error
    if saved.program != program:
        raise PlanRefused(f"{path} was made by version {saved.program}, this is {program}", hint="plan again")
    return saved, found


def seal(body: dict[str, object], key: str | None) -> str:
    """`sha256:…` over the content, or `hmac-sha256:…` where RECONCILER_PLAN_KEY is set."""
    text = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    if key:
        return "hmac-sha256:" + hmac.new(key.encode(), text, hashlib.sha256).hexdigest()
    return "sha256:" + hashlib.sha256(text).hexdigest()
