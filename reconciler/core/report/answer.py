"""The answer to "why is this user as they are in this store?": one sentence, and what to do next. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Final, Literal

from reconciler.core.fields.people import full_name
from reconciler.core.model.action import AcceptedDrift, Action, Hold
from reconciler.core.model.frozen import frozen
from reconciler.core.model.ids import ClerkUserId, CustomerId, StoreName
from reconciler.core.model.mapping import Mapping, text_in
from reconciler.core.model.profile import Profile
from reconciler.core.model.reasons import Reason, next_step_of, reason_of

_UNITS: Final = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))
STOPPED: Final = frozenset({"StorePaused", "StoreSuspended"})
_COUNTED: Final = {
    "in_sync": "in sync in",
    "pending": "pending in",
    "held": "held in",
    "released": "released from",
    "erased": "erased from",
    "unwanted": "not wanted by",
    "unknown": "not checked in",
}
_STEPS: Final = {
    "create": "creates the customer",
    "adopt": "adopts the existing customer",
    "relink": "moves the user to another customer",
    "merge": "merges two customers",
}


@frozen
class Candidate:
    """A user that a search may mean."""

    clerk_user_id: ClerkUserId
    name: str | None = None
    email: str | None = None

    @property
    def words(self) -> str:
        """The id, and name and email where they are known."""
        known = ", ".join(part for part in (self.name, self.email) if part)
        return f"{self.clerk_user_id} ({known})" if known else self.clerk_user_id


@frozen(kw_only=True)
class Former:
    """An email or a customer that a user of a store no longer has: what they have `now`, and when we last wrote it."""

    clerk_user_id: ClerkUserId
    store: StoreName
    field: Literal["email", "customer"]
    value: str
    now: str | None = None
    last_written_at: datetime | None = None

    @property
    def words(self) -> str:
        """What the user had, and what they have now, in a sentence."""
        at = f" (last written {_utc(self.last_written_at)})" if self.last_written_at is not None else ""
        if self.field == "email":
            was, now = f"{self.value} was the email", self.now
        else:
            was = f"Customer {_number(self.value)} was the customer"
            now = f"customer {_number(self.now)}" if self.now else None
        return (
            f"{was} of {self.clerk_user_id} in {self.store}{at}; {f'it is {now} now' if now else 'there is none now'}."
        )


@frozen(kw_only=True)
class Unmatched:
    """A line of a store's `where` that does not match: the path, the values that the store wants, the profile's value."""

    path: str
    wanted: tuple[str, ...]
    found: str | None

    @property
    def words(self) -> str:
        """The line as a clause."""
        options = ", ".join(self.wanted) or "null"
        joint = " in" if len(self.wanted) > 1 else ":"
        return f"the store wants {self.path}{joint} {options}, and the profile has {self.found or 'no value'}"


@frozen(kw_only=True)
class Found:
    """What is known of one user in one store.

    `left`: why the store does not want the user, as a clause; None where it does. `since`: since when the state has the
    reason `since_reason`. `stopped`: why the store writes nothing at all (paused, suspended), or None. `failure`: the
    message of the last try, if it failed. `accepted`: drift that is accepted for now. `runs`: whether a controller runs.
    """

    name: str
    user: ClerkUserId
    store: StoreName
    status: str
    customer: CustomerId | None = None
    action: Action | None = None
    holds: tuple[Hold, ...] = ()
    left: str | None = None
    left_at: datetime | None = None
    since: datetime | None = None
    since_reason: str | None = None
    failure: str | None = None
    stopped: str | None = None
    last_write_at: datetime | None = None
    next_try_at: datetime | None = None
    accepted: tuple[AcceptedDrift, ...] = ()
    runs: bool = True


def span_text(seconds: float) -> str:
    """A duration in its largest unit: `3 h`."""
    whole = max(0, int(seconds))
    size, unit = next(((size, unit) for size, unit in _UNITS if whole >= size), (1, "s"))
    return f"{whole // size} {unit}"


def ago_text(at: datetime | None, now: datetime) -> str:
    """How long ago it was; "never" for None."""
    if at is None:
        return "never"
    seconds = (now - at).total_seconds()
    return "just now" if seconds < 1 else f"{span_text(seconds)} ago"


def name_of(user: ClerkUserId, profile: Profile | None, mapping: Mapping | None) -> str:
    """What to call the user: by name, else by email, else by id; from the profile, else from the state."""
    if profile is not None:
        return full_name(profile) or profile.email or user
    if mapping is None or mapping.status == "erased":
        return user
    if mapping.profile_name is not None:
        return mapping.profile_name
    parts = (text_in(mapping.applied.get(field)) for field in ("first_name", "last_name"))
    return " ".join(part for part in parts if part) or mapping.profile_email or mapping.email or user


def answer_of(found: Found, *, now: datetime) -> str:
    """The answer, in a sentence or two."""
    sentences = [_state(found, now), *_accepted(found.accepted), *_next_steps(found.holds), *_next_try(found, now)]
    if found.stopped is not None and not found.holds and (found.left is None or found.action is not None):
        sentences.append(f"Nothing is written there now: {found.stopped}.")
    return " ".join(sentences)


def unreadable_answer(name: str, store: StoreName, error: str, mapping: Mapping | None, *, now: datetime) -> str:
    """The answer where the shop or the profiles could not be read: what failed, and what the state has."""
    said = f"{name} could not be checked in {store}: {error.rstrip('.')}."
    if mapping is None or mapping.status == "in_sync":
        return said
    known = f"{mapping.status} ({mapping.reason})" if mapping.reason else mapping.status
    seen = f", seen {ago_text(mapping.last_seen_at, now)}" if mapping.last_seen_at else ""
    return f"{said} The last known status is {known}{seen}."


def summary_sentence(name: str, answers: Sequence[tuple[str, str]]) -> str:
    """The answer for all stores, from the status and the answer of each."""
    if len(answers) == 1:
        return answers[0][1]
    counts = Counter(status for status, _ in answers)
    parts = [f"{words} {counts[status]}" for status, words in _COUNTED.items() if counts[status]]
    return f"{name} is {_listed(parts)} of {len(answers)} stores."


def _state(found: Found, now: datetime) -> str:
    name, store = found.name, found.store
    if found.status == "erased":
        at = f" {ago_text(found.left_at, now)}" if found.left_at else ""
        return f"{name} was erased from {store} on request{at}, and no customer is created again."
    if found.holds:
        return _held(found, now)
    if found.left is not None:
        return _left(found, now)
    if found.action is not None:
        return _pending(found.action, found)
    if found.status == "in_sync":
        written = f", last written {ago_text(found.last_write_at, now)}" if found.last_write_at else ", not written yet"
        return f"{name} is in sync in {store}{_customer(found.customer, written)}."
    return f"{name} is {found.status.replace('_', ' ')} in {store}{_customer(found.customer)}."


def _held(found: Found, now: datetime) -> str:
    """Each reason once, with the clause of the first hold that has it."""
    firsts: dict[str, Hold] = {}
    for hold in found.holds:
        firsts.setdefault(hold.reason, hold)
    causes = [_cause(hold, found, now) for hold in firsts.values()]
    why = f"because {causes[0]}" if len(causes) == 1 else f"for {len(causes)} reasons: {_listed(causes, ', and ')}"
    if found.status == "released":
        return f"{found.name} stays released from {found.store} {why}."
    if found.customer is None and found.action is not None and found.stopped is None:
        return f"{_pending(found.action, found)} A part of it is held {why}."
    if found.customer is None:
        return f"{found.name} is not in {found.store} {why}."
    waits = "is pending" if found.action is not None else "is held" if found.status == "held" else f"is {found.status}"
    return f"{found.name} {waits.replace('_', ' ')} in {found.store}{_customer(found.customer)} {why}."


def _left(found: Found, now: datetime) -> str:
    kept = f" Customer {_number(found.customer)} stays in the shop." if found.customer is not None else ""
    if found.status == "released":
        at = f" {ago_text(found.left_at, now)}" if found.left_at else ""
        return f"{found.name} was released from {found.store}{at} because {found.left}.{kept}"
    if found.action is not None:
        return f"{found.name} leaves {found.store}{_customer(found.customer)} because {found.left}."
    return f"{found.name} is not in {found.store} because {found.left}."


def _pending(action: Action, found: Found) -> str:
    if found.customer is None or action.kind in {"create", "adopt"}:
        does = _STEPS.get(action.kind, f"is: {action.kind}")
        return f"{found.name} is not in {found.store} yet: the next try {does}."
    causes: dict[str, list[str]] = {}
    for change in action.changes:
        causes.setdefault(change.why, []).append(change.field)
    fields = ", ".join(f"{_listed(fields)} ({why})" for why, fields in causes.items())
    does = _STEPS.get(action.kind) or (f"writes {fields}" if fields else "records the mapping")
    return f"{found.name} is not in sync in {found.store}{_customer(found.customer)}: the next try {does}."


def _accepted(accepted: Sequence[AcceptedDrift]) -> list[str]:
    """The fields that stay as they were edited in Shopify, by the moment until which they do."""
    fields: dict[datetime, list[str]] = {}
    for each in accepted:
        fields.setdefault(each.until, []).append(each.field)
    return [
        f"An edit in Shopify is accepted until {_utc(until)}: {_listed(names)}."
        for until, names in sorted(fields.items())
    ]


def _next_steps(holds: Iterable[Hold]) -> list[str]:
    return [step for step in dict.fromkeys(map(next_step_of, holds)) if step is not None]


def _next_try(found: Found, now: datetime) -> list[str]:
    """When a pending action is tried."""
    if found.action is None or found.stopped is not None:
        return []
    failed = [f"The last try failed: {found.failure.rstrip('.')}."] if found.failure else []
    if not found.runs:
        return [
            *failed,
            f"No controller runs: `reconciler apply --user {found.user}` does it, or start `reconciler run`.",
        ]
    if found.next_try_at is None:
        hint = f"No request is queued: the next resync tries it, or `reconciler nudge {found.user}`."
        return [*failed, hint]
    wait_s = (found.next_try_at - now).total_seconds()
    return [*failed, f"The next try is in {span_text(wait_s)}." if wait_s >= 1 else "The next try is due now."]


def _cause(hold: Hold, found: Found, now: datetime) -> str:
    if found.stopped is not None and hold.reason in STOPPED:
        return found.stopped
    known: Reason | None = reason_of(hold.reason)
    clause = (known.clause if known is not None else "") or hold.message.rstrip(".")
    if found.since is None or found.since_reason != hold.reason:
        return clause
    return f"{clause} (for {span_text((now - found.since).total_seconds())})"


def _customer(customer: CustomerId | None, more: str = "") -> str:
    return f" (customer {_number(customer)}{more})" if customer is not None else ""


def _utc(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def _number(customer: str | None) -> str:
    return (customer or "").rpartition("/")[2]


def _listed(parts: Sequence[str], last: str = " and ") -> str:
    return last.join(part for part in (", ".join(parts[:-1]), parts[-1]) if part)
