"""Renders plans, results, status and mappings as JSON, in the shapes of docs/http.md."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import is_dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from reconciler.cli.render.plain import clean
from reconciler.core.model.json import json_of, time_z
from reconciler.core.plan.plan import Plan, json_parts
from reconciler.core.plan.series import dump_around

if TYPE_CHECKING:
    from reconciler.core.model.mapping import Mapping
    from reconciler.core.report.rollout import RolloutReport
    from reconciler.core.report.status import ApplyResult, Replica, StatusRow

_NOT_ASCII = re.compile(r"[^\x20-\x7e\n]")


def dumps(value: Any, *, indent: int | None = 2) -> str:
    r"""JSON with readable letters; control characters are written `\uXXXX`, so that no terminal interprets them."""
    return _NOT_ASCII.sub(_escaped, json.dumps(value, indent=indent, ensure_ascii=False))


def plan_json(plan: Plan) -> Iterator[str]:
    """The plan as JSON, in parts."""
    body = dump_around(plan, {"stores": [json_parts(store) for store in plan.stores]})
    return _parts({**body, "created_at": time_z(plan.created_at)})


def results_json(results: Sequence[ApplyResult], digest: str, rollout: RolloutReport | None = None) -> Iterator[str]:
    """The results of each store as JSON, in parts; with the rollout that is under way, if there is one."""
    from reconciler.core.report.documents import rollout_summary

    stores = [dump_around(result, {"failed": result.failed, "holds": result.holds}) for result in results]
    under_way = {"rollout": rollout_summary(rollout)} if rollout is not None else {}
    return _parts({"version": 1, "digest": digest, "stores": stores, **under_way})


def _parts(value: Any, margin: str = "") -> Iterator[str]:
    """The text of `dumps` in parts. Collections of models are read one by one and never held in memory whole."""
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
        body = json_of(value) if is_dataclass(value) else value
        yield dumps([] if body == () else body).replace("\n", "\n" + margin)


def status_json(rows: Sequence[StatusRow], at: datetime, replicas: Sequence[Replica] = ()) -> str:
    """The status of each store and of the live replicas of `run`, as JSON."""
    from reconciler.core.report.documents import status_document

    return dumps(status_document(rows, at, replicas))


def mappings_json(rows: Iterable[Mapping]) -> Iterator[str]:
    """The mappings as one JSON list in parts, one row a line."""
    from reconciler.core.report.documents import mapping_document

    opening = "["
    for row in rows:
        yield opening + "\n " + dumps(mapping_document(row), indent=None)
        opening = ","
    yield "[]\n" if opening == "[" else "\n]\n"


def _escaped(match: re.Match[str]) -> str:
    character = match.group()
    return character if clean(character) == character else json.dumps(character)[1:-1].replace("\x7f", "\\u007f")
