"""JSON documents, as commands print them with `--output json` and the HTTP API answers them (docs/http.md)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import datetime
from itertools import chain, islice

from reconciler.core.model.act import Act
from reconciler.core.model.action import AcceptedDrift
from reconciler.core.model.event import Event
from reconciler.core.model.json import json_of, time_z
from reconciler.core.model.mapping import Mapping
from reconciler.core.model.run import Run
from reconciler.core.plan.plan import Plan, StorePlan
from reconciler.core.report.answer import Former
from reconciler.core.report.explain import Explained
from reconciler.core.report.irreversible import count_irreversible, withheld_by_guards
from reconciler.core.report.parity import ParitySample
from reconciler.core.report.rollout import RolloutReport
from reconciler.core.report.status import Replica, StatusRow

Document = dict[str, object]


def _with_text_time(value: object) -> object:
    """The same value with all times as `time_z` writes them, and tuples as lists."""
    if isinstance(value, dict):
        return _with_text_times(value)
    if isinstance(value, tuple | list):
        return [_with_text_time(member) for member in value]
    return time_z(value) if isinstance(value, datetime) else value


def _with_text_times(document: Document) -> Document:
    return {name: _with_text_time(member) for name, member in document.items()}


def status_document(rows: Iterable[StatusRow], at: datetime, replicas: Iterable[Replica] = ()) -> Document:
    """The status of each store and of the live replicas of `run`."""
    stores = [_with_text_times(asdict(row)) for row in rows]
    return {"at": time_z(at), "stores": stores, "replicas": [_with_text_times(asdict(each)) for each in replicas]}


def mapping_document(row: Mapping) -> Document:
    """One mapping."""
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


def explained_document(found: Explained) -> Document:
    """The explanation of one user."""
    stores: list[Document] = []
    for store in found.stores:
        body = json_of(store, exclude={"events", "last_write_at", "next_try_at", "acceptances"})
        events = [{**asdict(event), "at": time_z(event.at)} for event in store.events]
        times = {"last_write_at": time_z(store.last_write_at), "next_try_at": time_z(store.next_try_at)}
        acceptances = [accepted_document(each) for each in store.acceptances]
        stores.append({**body, "events": events, **times, "acceptances": acceptances})
    former = {"former": [former_document(each) for each in found.former]} if found.former else {}
    named = {"clerk_user_id": found.clerk_user_id, "name": found.name, "answer": found.answer}
    return {**named, **former, "stores": stores}


def former_document(former: Former) -> Document:
    """An email or a customer that a user no longer has."""
    return {**_with_text_times(asdict(former)), "answer": former.words}


def plan_document(plan: Plan, *, rows_max: int) -> Document:
    """The plan, with the first `rows_max` actions and holds of each store; the summaries count all of them.

    `irreversible` is what the actions, and those that an approval lets go, would do that can't be reverted.
    """
    stores = [
        {
            **json_of(store, exclude={"actions", "holds", "accepted"}),
            "actions": [json_of(action) for action in islice(store.actions, rows_max)],
            "holds": [json_of(hold) for hold in islice(store.holds, rows_max)],
            "accepted": [accepted_document(each) for each in islice(store.accepted, rows_max)],
            "irreversible": _irreversible(store),
        }
        for store in plan.stores
    ]
    return {
        **json_of(plan, exclude={"stores", "created_at"}),
        "created_at": time_z(plan.created_at),
        "stores": stores,
        "rows_max": rows_max,
    }


def _irreversible(store: StorePlan) -> dict[str, int]:
    going = store.actions if store.summary.release or store.summary.merge else ()
    return dict(count_irreversible(chain(going, withheld_by_guards(store.holds))))


def accepted_document(each: AcceptedDrift) -> Document:
    """One field with accepted drift."""
    return {**json_of(each), "until": time_z(each.until), "since": time_z(each.since)}


def run_document(run: Run) -> Document:
    """One run."""
    return _with_text_times(asdict(run))


def event_document(event: Event) -> Document:
    """One event."""
    return {**asdict(event), "at": time_z(event.at)}


def rollout_document(report: RolloutReport | None) -> Document:
    """The rollout, its limits and its waves; `rollout` and `waves` are empty where all stores are in one wave."""
    if report is None:
        return {"rollout": None, "limits": None, "waves": []}
    waves = [_with_text_times(asdict(wave)) for wave in report.waves]
    return {"rollout": rollout_summary(report), "limits": report.limits.model_dump(), "waves": waves}


def rollout_summary(report: RolloutReport) -> Document | None:
    """The rollout without its waves; None before the first one."""
    if report.phase is None:
        return None
    names = ("id", "step", "phase", "wave", "began_at", "began_by", "soak_until", "message", "next_step", "is_current")
    return _with_text_times({name: getattr(report, name) for name in names})


def act_document(act: Act) -> Document:
    """One act of an operator."""
    return {**asdict(act), "at": time_z(act.at), "detail": dict(act.detail)}


def parity_document(samples: Sequence[ParitySample]) -> list[Document]:
    """Samples of one store."""
    return [_with_text_times({name: value for name, value in asdict(one).items() if name != "shop"}) for one in samples]
