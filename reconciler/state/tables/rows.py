"""Conversions between rows and values of the core. Plain rows: a SQLModel object costs five times as much (2026-11)."""

from __future__ import annotations

from collections.abc import Mapping as MappingOf
from dataclasses import asdict
from datetime import datetime
from typing import Any

from pydantic import ConfigDict, TypeAdapter

from reconciler.core.fields import normalise
from reconciler.core.fields.people import search_key
from reconciler.core.model.act import Acceptance, Actor
from reconciler.core.model.action import Change
from reconciler.core.model.event import Event
from reconciler.core.model.ids import UNIQUE, ClerkUserId, CustomerId, ShopDomain, StoreName
from reconciler.core.model.json import json_of
from reconciler.core.model.mapping import PARK, AgreedTags, Applied, Intent, Mapping, RefusedValue
from reconciler.ports import StoreFacts
from reconciler.state.tables.mappings import index_key

_PLAIN = (
    "store",
    "email",
    "status",
    "reason",
    "message",
    "first_seen_at",
    "last_seen_at",
    "left_at",
    "generation",
    "waits_for_email",
    "waits_for_phone",
    "waits_at_email",
    "waits_at_phone",
    "profile_digest",
    "wanted_digest",
    "wanted_row_at",
    "absent_since",
    "left_row_at",
    "config_digest",
    "profile_fp",
    "observed_fp",
    "reason_since",
    "profile_name",
    "profile_email",
    "profile_phone",
)

_WHEN_USED = ConfigDict(defer_build=True)  # many commands read no whole mapping
_APPLIED = TypeAdapter(MappingOf[str, Applied], config=_WHEN_USED)
_REFUSED = TypeAdapter(MappingOf[str, RefusedValue], config=_WHEN_USED)


def number_of(digest: str) -> int:
    """Return a digest as a 64-bit number for an index: eight bytes instead of sixteen."""
    return int.from_bytes(bytes.fromhex(digest), "little", signed=True)


def mapping_row(mapping: Mapping) -> dict[str, Any]:
    """Return the row of a mapping."""
    row = {name: getattr(mapping, name) for name in _PLAIN}
    return row | {
        "shopify_shop": mapping.shop,
        "clerk_user_id": mapping.clerk_user_id,
        "shopify_customer_id": mapping.customer_id,
        "email_key": index_key(normalise.email_key(mapping.email)),
        "search_key": search_key(mapping.profile_name, mapping.profile_email, mapping.profile_phone),
        "applied": {field: _applied_row(value) for field, value in mapping.applied.items()},
        "refused": {field: asdict(value) for field, value in mapping.refused.items()},
        "config_fp": None if mapping.profile_fp is None else number_of(mapping.config_digest),
        "intent": None if mapping.intent is None else _intent_row(mapping.intent),
    }


def _applied_row(applied: Applied) -> dict[str, Any]:
    """Written out, because pydantic takes longer (2026-11), and there are several for each user."""
    value = applied.value
    return {
        "value": _tags_row(value) if isinstance(value, AgreedTags) else value,
        "ours": applied.ours,
        "config": applied.config,
        "respelt": applied.respelt,
        "shown": applied.shown,
        "heals": [json_of(heal) for heal in applied.heals],
    }


def _tags_row(tags: AgreedTags) -> dict[str, Any]:
    row: dict[str, Any] = {"owned": list(tags.owned), "agreed": list(tags.agreed)}
    return row | ({"respelt": dict(tags.respelt)} if tags.respelt else {})


def _intent_row(intent: Intent) -> dict[str, Any]:
    row: dict[str, Any] = {"kind": intent.kind}
    if intent.changes is not None:
        changes = [{"field": c.field, "before": c.before, "after": c.after} for c in intent.changes]
        row |= {"from": intent.from_customer_id, "to": intent.to, "changes": changes}
    elif intent.to is not None:
        row |= {"to": intent.to}
    return row | ({"parked": dict(intent.parked)} if intent.parked else {})


def _intent_of(row: Any) -> Intent | None:
    if row is None:
        return None
    changes = row.get("changes")
    beside = row if row["kind"] == PARK else {}  # where an earlier version wrote them
    parked = row.get("parked", beside)
    return Intent(
        kind=row["kind"],
        from_customer_id=row.get("from"),
        to=row.get("to"),
        changes=None if changes is None else tuple(Change(**each, why="profile changed") for each in changes),
        parked={field: parked[field] for field in UNIQUE if parked.get(field) is not None},
    )


def acceptance_row(acceptance: Acceptance | None) -> dict[str, Any]:
    """Return the columns of an acceptance. `mapping_row` leaves them out: a reconcile never writes them."""
    if acceptance is None:
        return {"accepted": None, "accepted_until": None}
    said = {
        "fields": list(acceptance.fields),
        "actor": acceptance.actor.name,
        "via": acceptance.actor.via,
        "since": acceptance.since.isoformat(),
    }
    return {"accepted": said, "accepted_until": acceptance.until}


def _acceptance_of(said: Any, until: datetime | None) -> Acceptance | None:
    if said is None or until is None:
        return None
    actor = Actor(said["actor"], said["via"])
    return Acceptance(tuple(said["fields"]), until, actor, datetime.fromisoformat(said["since"]))


def mapping_of(row: Any) -> Mapping:
    """Return the mapping of a row."""
    values: MappingOf[str, Any] = row._mapping  # noqa: SLF001  SQLAlchemy's documented name
    return Mapping(
        clerk_user_id=ClerkUserId(values["clerk_user_id"]),
        shop=ShopDomain(values["shopify_shop"]),
        customer_id=values["shopify_customer_id"],
        applied=_APPLIED.validate_python(values["applied"]),
        refused=_REFUSED.validate_python(values["refused"]),
        intent=_intent_of(values["intent"]),
        accepted=_acceptance_of(values["accepted"], values["accepted_until"]),
        **{name: values[name] for name in _PLAIN},
    )


def event_row(event: Event) -> dict[str, Any]:
    """Return the row of an event."""
    return {
        "at": event.at,
        "store": event.store,
        "shopify_shop": event.shop,
        "clerk_user_id": event.clerk_user_id,
        "shopify_customer_id": event.customer_id,
        "kind": event.kind,
        "changes": [_change_row(change) for change in event.changes],
        "plan_digest": event.plan_digest,
        "message": event.message,
        "run_id": event.run_id,
    }


def _change_row(change: Change) -> dict[str, Any]:
    """Written out: `asdict` copies each value, which takes six times as long (2026-11)."""
    return {"field": change.field, "before": change.before, "after": change.after, "why": change.why}


def event_of(row: Any) -> Event:
    """Return the event of a row."""
    return Event(
        at=row.at,
        store=StoreName(row.store),
        shop=ShopDomain(row.shopify_shop),
        clerk_user_id=ClerkUserId(row.clerk_user_id),
        customer_id=CustomerId(row.shopify_customer_id) if row.shopify_customer_id else None,
        kind=row.kind,
        changes=tuple(Change(**change) for change in row.changes),
        plan_digest=row.plan_digest,
        message=row.message,
        run_id=row.run_id,
    )


def facts_row(facts: StoreFacts) -> dict[str, Any]:
    """Return the row of a store's facts."""
    return {
        "shopify_shop": facts.shop,
        "store": facts.store,
        "profiles": facts.profiles,
        "last_sweep_at": facts.last_sweep_at,
        "suspended_at": facts.suspended_at,
        "suspended_reason": facts.suspended_reason,
        "failing_what": facts.failing_what,
        "failing_reason": facts.failing_reason,
        "failing_since": facts.failing_since,
    }


def facts_of(row: Any) -> StoreFacts:
    """Return the store's facts of a row."""
    return StoreFacts(
        store=StoreName(row.store),
        shop=ShopDomain(row.shopify_shop),
        profiles=row.profiles,
        last_sweep_at=row.last_sweep_at,
        suspended_at=row.suspended_at,
        suspended_reason=row.suspended_reason,
        failing_what=row.failing_what,
        failing_reason=row.failing_reason,
        failing_since=row.failing_since,
    )
