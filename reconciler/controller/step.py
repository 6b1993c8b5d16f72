"""Step: an action that fits the world, with what it was decided on, and how far its writes have come."""

from __future__ import annotations

from collections.abc import Mapping as MappingOf
from dataclasses import dataclass, field
from typing import Any

from reconciler.core.model.action import Action, Change
from reconciler.core.model.ids import CustomerId
from reconciler.core.model.view import Decision, Subject
from reconciler.core.model.write import Write
from reconciler.core.plan.chains import Blocked


@dataclass(frozen=True, slots=True)
class PlannedWrite:
    """One write of an action: the changes that it makes (for the row), and those to record of it (for the event).

    `moves_to` is the customer of the user after it. `may_join`: it sets metafields and nothing follows, so that it may be
    sent together with those of other customers.
    """

    write: Write
    covers: tuple[Change, ...] = ()
    tells: tuple[Change, ...] = ()
    moves_to: CustomerId | None = None
    may_join: bool = False


@dataclass(slots=True)
class Step:
    """`written` grows write by write, and `shown` is what the answers show of it.

    `blocked`: what may be decided where other users have the new e-mail or phone. `at` is the customer that the writes are
    on (None: that of the action); `intent` is kept in the row until the last write is done. `puts_off`: stop before a write
    that may be sent together with those of others, and leave it in `rest`. `live`: decided by what the shop shows
    now, and not by the mirror.
    """

    action: Action
    subject: Subject
    decision: Decision
    blocked: Blocked | None = None
    written: list[Change] = field(default_factory=list)
    shown: dict[str, Any] = field(default_factory=dict)
    at: CustomerId | None = None
    intent: MappingOf[str, Any] | None = None
    puts_off: bool = False
    rest: PlannedWrite | None = None
    live: bool = True
