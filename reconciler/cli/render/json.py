"""Plans, results, status and mappings as JSON: the shapes of docs/http.md, alone on stdout."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

from pydantic import BaseModel

from reconciler.cli.render.plain import clean, time_z
from reconciler.core.model.mapping import Mapping
from reconciler.core.plan.pile import dumped_around
from reconciler.core.plan.plan import Plan, in_parts
from reconciler.core.report.status import ApplyResult, Replica, StatusRow

_NOT_ASCII = re.compile(r"[^\x20-\x7e\n]")


def dumps(value: Any, *, indent: int | None = 2) -> str:
    r"""JSON that people can read too: letters stay as they are, what a terminal could obey is written `\uXXXX`."""
    return _NOT_ASCII.sub(_escaped, json.dumps(value, indent=indent, ensure_ascii=False))


def plan_json(plan: Plan) -> Iterator[str]:
    """The whole plan, in parts."""
    body = dumped_around(plan, {"stores": [in_parts(store) for store in plan.stores]})
    return _parts({**body, "created_at": time_z(plan.created_at)})


def results_json(results: Sequence[ApplyResult], digest: str) -> Iterator[str]:
    """What became of a plan, per store, in parts."""
    stores = [dumped_around(result, {"failed": result.failed, "holds": result.holds}) for result in results]
    return _parts({"version": 1, "digest": digest, "stores": stores})


def _parts(value: Any, margin: str = "") -> Iterator[str]:
    """What `dumps` gives of the same, with piles of models in it, which are never held whole."""
    inner = margin + "  "
    if isinstance(value, dict) and value:
        opening = "{\n"
        for name, member in value.items():
            yield f"{opening}{inner}{dumps(name)}: "
            yield from _parts(member, inner)
            opening = ",\n"
        yield f"\n{margin}}}"
    elif isinstance(value, Collection) and value and not isinstance(value, str):
        opening = "[\n"
        for item in value:
            yield opening + inner
            yield from _parts(item, inner)
            opening = ",\n"
        yield f"\n{margin}]"
    else:
        body = value.model_dump(mode="json") if isinstance(value, BaseModel) else value
        yield dumps([] if body == () else body).replace("\n", "\n" + margin)


def status_json(rows: Sequence[StatusRow], at: datetime, replicas: Sequence[Replica] = ()) -> str:
    """What the state knows of each store, and of the replicas of `run` that are there."""
    stores = [_timed(row.model_dump()) for row in rows]
    return dumps({"at": time_z(at), "stores": stores, "replicas": [_timed(each.model_dump()) for each in replicas]})


def _timed(value: Any) -> Any:
    """The same with all times as `time_z` writes them."""
    if isinstance(value, dict):
        return {name: _timed(member) for name, member in value.items()}
    return time_z(value) if isinstance(value, datetime) else value


def mappings_json(rows: Iterable[Mapping]) -> Iterator[str]:
    """The mapping table, a line a row: one JSON list, never held whole."""
    opening = "["
    for row in rows:
        yield opening + "\n " + dumps(_mapping(row), indent=None)
        opening = ","
    yield "[]\n" if opening == "[" else "\n]\n"


def _mapping(row: Mapping) -> dict[str, Any]:
    return {
        "clerk_user_id": row.clerk_user_id,
        "store": row.store,
        "shopify_shop": row.shop,
        "shopify_customer_id": row.customer_id,
        "email": row.email,
        "first_seen_at": time_z(row.first_seen_at),
        "last_seen_at": time_z(row.last_seen_at),
        "status": row.status,
        "reason": row.reason,
        "message": row.message,
    }


def _escaped(match: re.Match[str]) -> str:
    character = match.group()
    return character if clean(character) == character else json.dumps(character)[1:-1].replace("\x7f", "\\u007f")
