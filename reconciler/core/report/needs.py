"""What needs a person in a store, for notifications: reasons and counts, and no personal data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from reconciler.core.model.ids import ShopDomain, StoreName
from reconciler.core.model.reasons import HOLD_REASONS
from reconciler.core.model.rollout import Rollout
from reconciler.core.report.status import StatusRow

ALWAYS_HELD = frozenset({"StorePaused", "DriftHeld", "RollOutHeld"})  # an operator has chosen to hold these


class NeedChange(NamedTuple):
    """What began and what ended to need a person in one store: sentences."""

    store: StoreName
    began: tuple[str, ...]
    ended: tuple[str, ...]


def store_needs(row: StatusRow) -> dict[str, str]:
    """What needs a person now, by a name that stays the same while the numbers change."""
    found: dict[str, str] = {}
    if row.suspended is not None:
        found["suspended"] = f"the shop refuses access: {row.suspended}"
    elif row.failing is not None:
        found["failing"] = f"reconciles fail: {row.failing}"
    for reason, count in sorted(row.held.items()):
        known = HOLD_REASONS.get(reason)
        if count and known is not None and known.who_acts == "operator" and reason not in ALWAYS_HELD:
            found[reason] = f"{count} held by {reason}: {known.next_step}"
    return found


def rollout_needs(rollout: Rollout | None, *, is_held: bool) -> dict[ShopDomain, dict[str, str]]:
    """What a rollout needs a person for, told of the first store of its wave. `is_held`: stores of its wave wait for one."""
    if rollout is None or not rollout.current or not (is_held or rollout.phase in {"waiting", "stopped"}):
        return {}
    said = f"waits {'in' if is_held else 'after'} wave {rollout.wave}"
    if rollout.phase == "stopped":
        said = f"stopped: {rollout.message}"
    return {rollout.current[0]: {"rollout": f"the rollout {said}: reconciler rollout status"}}


def change_of(store: StoreName, before: Mapping[str, str], now: Mapping[str, str]) -> NeedChange | None:
    """What changed since the last notification; None where nothing began or ended."""
    began = tuple(text for name, text in now.items() if name not in before)
    ended = tuple(name for name in before if name not in now)
    return NeedChange(store, began, ended) if began or ended else None


def notification_text(changes: Sequence[NeedChange]) -> str:
    """One message for all stores."""
    lines = []
    for change in changes:
        lines += [f"{change.store} needs a person: {text}" for text in change.began]
        lines += [f"{change.store} no longer needs a person: {name}" for name in change.ended]
    return "\n".join(lines)
