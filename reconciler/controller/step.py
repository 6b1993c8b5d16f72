"""What passes between the modules of the controller: a step, its writes, and what became of it. Data, and no behaviour."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from reconciler.core.model.action import Action, Change, Hold, Kind
from reconciler.core.model.frozen import frozen
from reconciler.core.model.ids import ClerkUserId, CustomerId
from reconciler.core.model.mapping import Intent
from reconciler.core.model.values import Value
from reconciler.core.model.view import Decision, Subject
from reconciler.core.model.write import Write
from reconciler.core.plan.chains import Blocked
from reconciler.core.plan.circles import NOTHING
from reconciler.errors import AccessError, LeaseLost, ReconcilerError, SourceError, TemporaryError


@frozen
class PlannedWrite:
    """One write of an action: the changes that it makes (for the row), and those to record of it (for the event).

    `moves_to` is the customer of the user after it. `may_join`: it sets metafields and nothing follows, so that it may be
    sent together with those of other customers.
    """

    write: Write
    covers: tuple[Change, ...] = ()
    records: tuple[Change, ...] = ()
    moves_to: CustomerId | None = None
    may_join: bool = False


@dataclass(slots=True)
class Step:
    """An action that fits the world, with what it was decided on, and how far its writes have come.

    `written` grows write by write, and `shown` is what the answers show of it.

    `blocked`: what may be decided where other users have the new email or phone. `at` is the customer that the writes are
    on (None: that of the action); `intent` is kept in the row until the last write is done. `puts_off`: stop before a write
    that may be sent together with those of others, and leave it in `rest`. `live`: decided by what the shop shows
    now, and not by the mirror. `seen_at`: when the reading began; None where no consent is written.
    """

    action: Action
    subject: Subject
    decision: Decision
    blocked: Blocked | None = None
    written: list[Change] = field(default_factory=list)
    shown: dict[str, Value] = field(default_factory=dict)
    at: CustomerId | None = None
    intent: Intent | None = None
    puts_off: bool = False
    rest: PlannedWrite | None = None
    live: bool = True
    seen_at: datetime | None = None


Result = Literal["applied", "done already", "refused", "failed", "not tried"]
Verdict = Literal[
    "in_sync", "applied", "held", "waiting", "early", "nothing",
    "temporary", "permanent", "access", "source", "lost",
]  # fmt: skip


@frozen
class Outcome:
    """What became of one action. `refused`: the world had moved since the plan; `message` says how.

    `done already`: another process has done it since the plan, which was made just now; such an action of a saved plan is
    refused.

    `is_recorded`: nothing is due any more, as where another process was first, and the mapping already says so.
    `holds`: what the plan did not hold yet, such as a value that Shopify refused while the rest was written.
    `freed`: the keys of the values that it gave up, for which other users may wait. `error` is what ended it: Overtaken
    where a release was not due any more, since `successor`, where one is known, adopts the customer.
    """

    action: Action
    result: Result
    message: str = ""
    hint: str = ""
    freed: frozenset[str] = NOTHING
    holds: tuple[Hold, ...] = ()
    error: ReconcilerError | None = None
    successor: ClerkUserId | None = None
    is_recorded: bool = False


def failure(action: Action, error: ReconcilerError) -> Outcome:
    """The action met this error, and whether it was executed is in the mapping."""
    return Outcome(action, "failed", error.message, error.hint, error=error)


def not_tried(action: Action, stopped: AccessError) -> Outcome:
    """The store could not be used any more before the action's turn came."""
    return Outcome(action, "not tried", stopped.message, stopped.hint, error=stopped)


@frozen
class ReconcileResult:
    """What became of one request. `nudge`: users to reconcile now because of it.

    `waiting`: another user's customer still has a new value of this one, and may give it up. `early`: the row is older than
    the event that asked, or not there yet (then nothing was done): reconcile again shortly. `over_budget`: again in the
    next hour. `again_s`: seconds until the next reconcile; None where the request is done. `kind` and `points` are what
    was executed; `reasons` why something was not. `error` is what ended it: it is `lost` where another replica took over.
    """

    result: Verdict
    nudge: tuple[ClerkUserId, ...] = ()
    reasons: tuple[str, ...] = ()
    kind: Kind | None = None
    points: int = 0
    error: ReconcilerError | None = None
    early: bool = False
    over_budget: bool = False
    again_s: float | None = None


def verdict_of(error: ReconcilerError | None) -> Verdict:
    """The result of a request that this error ended. None: Shopify or the row changed meanwhile, as the next one shows."""
    match error:
        case LeaseLost():
            return "lost"
        case SourceError():
            return "source"
        case AccessError():
            return "access"
        case TemporaryError():
            return "temporary"
        case _:
            return "permanent"


@dataclass(slots=True)
class StoreAccess:
    """Whether a store can still be used, shared by all threads that work on it: `refused` says why not."""

    refused: AccessError | None = None
