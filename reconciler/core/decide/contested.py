"""Fields that another system changes back repeatedly (docs/rules.md, rule 7). The mapping holds what was healed before.

Two installations with different profiles, or an identity provider that imports claims at every sign-in, would else write
by turns for ever. A field that was changed after our write three times within a day is held until the profile, the
policy, or a person who applies to this user moves it.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Mapping as MappingOf
from datetime import datetime, timedelta

from reconciler.core.model.action import Change
from reconciler.core.model.mapping import Applied, Heal, Mapping

TIMES = 3  # changes back within WITHIN that make a field contested
WITHIN = timedelta(hours=24)
Contest = tuple[str, tuple[Heal, ...]]  # a contested field, and when it was changed back


def contested_by(mapping: Mapping | None, change: Change, now: datetime) -> tuple[Heal, ...]:
    """When the field was changed after our write, this time included, and to what; empty where it is not contested."""
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
    """What was agreed on, with the drift that has just been written over. A contested field that was written starts anew."""
    found = dict(applied)
    for change in written:
        base = found.get(change.field)
        if base is None or change.why != "drift":
            continue
        known = before.applied.get(change.field) if before is not None else None
        heals = () if known is None or len(known.heals) >= TIMES else _recent(known.heals, now)
        found[change.field] = base.model_copy(update={"heals": (*heals, _heal(change, now))})
    return found


def with_contest(applied: MappingOf[str, Applied], contests: Iterable[Contest]) -> dict[str, Applied]:
    """What was agreed on, with the changes back for which these fields are held: they stay contested."""
    found = dict(applied)
    for field, heals in contests:
        if (base := found.get(field)) is not None:
            found[field] = base.model_copy(update={"heals": heals})
    return found


def kept_heals(found: Applied, before: Applied | None) -> Applied:
    """The same agreement as before keeps what was healed; another value or rule begins without."""
    if before is None or not before.heals or before.config != found.config or before.value != found.value:
        return found
    return found.model_copy(update={"heals": before.heals})


def message_of(change: Change, heals: tuple[Heal, ...]) -> str:
    """What happened to which field, with values and times, and what ends it."""
    told = ", ".join(f"'{heal.value}' at {heal.at:%Y-%m-%d %H:%M} UTC" for heal in heals)
    return (
        f"{change.field} was changed after our write {len(heals)} times within 24 h: {told}. Another app, an identity "
        "provider or a second installation writes it too: end one of the two, or set another policy for the field"
    )


def _recent(heals: tuple[Heal, ...], now: datetime) -> tuple[Heal, ...]:
    return tuple(heal for heal in heals if now - heal.at <= WITHIN)


def _heal(change: Change, now: datetime) -> Heal:
    value = change.before
    text = ", ".join(value) if isinstance(value, list | tuple) else value
    return Heal(at=now, value=str(text) if text is not None else "")
