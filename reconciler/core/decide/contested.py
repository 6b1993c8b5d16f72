"""Contested fields: another system repeatedly changes them back (docs/rules.md, rule 7). The mapping counts the heals.

Without this, two installations with different profiles, or an identity provider that imports claims at every sign-in,
would overwrite each other forever. A field that was changed after our write three times within a day is held until the
profile or the policy changes, or an operator applies to this user.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Mapping as MappingOf
from dataclasses import replace
from datetime import datetime, timedelta

from reconciler.core.model.action import Change
from reconciler.core.model.mapping import Applied, Heal, Mapping

TIMES = 3  # changes back within WITHIN that make a field contested
WITHIN = timedelta(hours=24)
Contest = tuple[str, tuple[Heal, ...]]  # a contested field, and the changes that others made


def contesting_heals(mapping: Mapping | None, change: Change, now: datetime) -> tuple[Heal, ...]:
    """The changes by others of a contested field, this one included; empty where it is not contested."""
    base = mapping.applied.get(change.field) if mapping is not None else None
    if base is None or change.why != "drift":
        return ()
    if len(base.heals) >= TIMES:
        return base.heals
    found = (*_recent(base.heals, now), _heal(change, now))
    return found if len(found) >= TIMES else ()


def with_heals(
    applied: MappingOf[str, Applied], before: Mapping | None, written: Iterable[Change], now: datetime
) -> dict[str, Applied]:
    """The last-applied fields with the drift that was just healed. Writing a contested field restarts its count."""
    found = dict(applied)
    for change in written:
        base = found.get(change.field)
        if base is None or change.why != "drift":
            continue
        known = before.applied.get(change.field) if before is not None else None
        heals = () if known is None or len(known.heals) >= TIMES else _recent(known.heals, now)
        found[change.field] = replace(base, heals=(*heals, _heal(change, now)))
    return found


def with_contest(applied: MappingOf[str, Applied], contests: Iterable[Contest]) -> dict[str, Applied]:
    """The last-applied fields with the heals of these contested fields, so that they stay contested."""
    found = dict(applied)
    for field, heals in contests:
        if (base := found.get(field)) is not None:
            found[field] = replace(base, heals=heals)
    return found


def kept_heals(found: Applied, before: Applied | None) -> Applied:
    """The new last-applied value with the earlier heals, if value and rule are the same."""
    if before is None or not before.heals or before.config != found.config or before.value != found.value:
        return found
    return replace(found, heals=before.heals)


def contested_message(change: Change, heals: tuple[Heal, ...]) -> str:
    """The message of the hold: the field, the values and times. What to do is the next step of the reason."""
    changes = ", ".join(f"'{heal.value}' at {heal.at:%Y-%m-%d %H:%M} UTC" for heal in heals)
    return f"{change.field} was changed after our write {len(heals)} times within 24 h: {changes}"


def _recent(heals: tuple[Heal, ...], now: datetime) -> tuple[Heal, ...]:
    return tuple(heal for heal in heals if now - heal.at <= WITHIN)


def _heal(change: Change, now: datetime) -> Heal:
    value = change.before
    return Heal(at=now, value=", ".join(value) if isinstance(value, list) else value or "")
