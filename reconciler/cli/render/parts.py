"""What text, Markdown and HTML share: words for kinds, reasons and counts, and the grouping of a plan."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from reconciler.cli.render.plain import clean, count_text, seconds_text, sentence, value_text
from reconciler.core.model.action import KINDS, AcceptedDrift, Action, Change, Hold, Kind, WhoActs
from reconciler.core.model.frozen import frozen
from reconciler.core.model.reasons import next_step_of, reason_of
from reconciler.core.model.values import tag_changes
from reconciler.core.plan.plan import Forecast, StorePlan, Summary
from reconciler.core.plan.series import M, kept
from reconciler.core.report.irreversible import (
    count_irreversible,
    irreversible_text,
    is_irreversible,
    is_undo,
    is_withheld_by_guard,
)
from reconciler.core.report.same_change import ChangeValues, of_each, same_change_key

TENTH_S = 0.1
USERS_OF_A_CHANGE = 5  # users listed with a change that many share
DISTINCT = 1000  # different changes of one reason that are kept; further ones are only counted


@frozen
class KindWords:
    """A kind of action: its mark and style in a terminal, and its description in the singular and plural."""

    mark: str
    style: str
    one: str
    many: str

    def says(self, count: int) -> str:
        return count_text(count, self.one, self.many)


KIND_WORDS: dict[Kind, KindWords] = {
    "create": KindWords("+", "green", "new customer", "new customers"),
    "adopt": KindWords("&", "cyan", "existing customer to link to a user", "existing customers to link to a user"),
    "update": KindWords("~", "yellow", "customer with changed fields", "customers with changed fields"),
    "relink": KindWords(">", "magenta", "user to link to another customer", "users to link to another customer"),
    "merge": KindWords(
        "*", "bright_red", "pair of customers to merge irreversibly", "pairs of customers to merge irreversibly"
    ),
    "release": KindWords("-", "red", "customer to release", "customers to release"),
}
WHO_WORDS: dict[WhoActs, str] = {
    "operator": "the operator must act",
    "profile": "the profile must change",
    "shop": "staff must act in Shopify",
    "time": "resolves by itself",
}


@frozen
class KindGroup:
    """The actions of one kind in one store: their number, the first ones (or all), and the reason that all share.

    `erasing`: the number of those that delete or erase the customer, by `on_leave`.
    """

    kind: Kind
    count: int
    actions: Collection[Action]
    why: str
    erasing: Counter[str]

    @property
    def text(self) -> str:
        """The number and what it is; for releases also what can't be reverted. (The words of a merge say it.)"""
        never = irreversible_text(self.erasing)
        return KIND_WORDS[self.kind].says(self.count) + (f" ({never})" if never else "")


@dataclass(slots=True)
class SameChange:
    """Withheld actions with the same changes: the first action, their number, and the first users."""

    action: Action
    count: int
    users: list[str]


@frozen
class HeldGroup:
    """The holds of one reason in one store: their number, the first ones (or all), and the message that all share.

    `next_step`: what to do about them, in a sentence; empty for an unknown reason.
    `changes` groups the withheld actions, the most frequent first; `uncounted` further ones are in no group.
    """

    reason: str
    who_acts: WhoActs
    next_step: str
    count: int
    holds: Collection[Hold]
    message: str | None
    changes: Sequence[SameChange] = ()
    uncounted: int = 0

    @property
    def meaning(self) -> str:
        """What the reason means, in a sentence; empty for an unknown one, such as a newer version's."""
        known = reason_of(self.reason)
        return known.meaning if known else ""


def actions_by_kind(store: StorePlan, first: int | None) -> list[KindGroup]:
    """The actions in groups, in the order of KINDS. Each group holds the `first` actions, or all if that is None."""
    counts: Counter[Kind] = Counter()
    erasing: Counter[str] = Counter()
    whys: defaultdict[Kind, set[str]] = defaultdict(set)
    some: defaultdict[Kind, list[Action]] = defaultdict(list)
    for action in store.actions:
        counts[action.kind] += 1
        if action.kind == "release":
            erasing += count_irreversible([action])
        whys[action.kind].update(change.why for change in action.changes)
        if first is not None and counts[action.kind] <= first:
            some[action.kind].append(action)
    return [
        KindGroup(
            kind,
            counts[kind],
            some[kind] if first is not None else _all(store.actions, "kind", kind),
            _only(whys[kind]),
            erasing if kind == "release" else Counter(),
        )
        for kind in KINDS
        if counts[kind]
    ]


def holds_by_reason(store: StorePlan, first: int | None) -> list[HeldGroup]:
    """The holds in groups, the most frequent reason first. Each group holds the `first` holds, or all if that is None."""
    counts: Counter[str] = Counter()
    who: dict[str, WhoActs] = {}
    said: defaultdict[str, set[str]] = defaultdict(set)
    steps: defaultdict[str, set[str | None]] = defaultdict(set)
    some: defaultdict[str, list[Hold]] = defaultdict(list)
    withheld: defaultdict[str, _Withheld] = defaultdict(_Withheld)
    for hold in store.holds:
        counts[hold.reason] += 1
        if hold.action is not None:
            withheld[hold.reason].add(hold.action)
        who.setdefault(hold.reason, hold.who_acts)
        steps[hold.reason].add(next_step_of(hold))
        if len(said[hold.reason]) <= 1:
            said[hold.reason].add(hold.message)
        if first is not None and counts[hold.reason] <= first:
            some[hold.reason].append(hold)
    return [
        HeldGroup(
            reason,
            who[reason],
            _step(reason, steps[reason]),
            count,
            some[reason] if first is not None else _all(store.holds, "reason", reason),
            sentence(next(iter(said[reason]))) if len(said[reason]) == 1 else None,
            withheld[reason].largest_first(),
            withheld[reason].uncounted,
        )
        for reason, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    ]


def _step(reason: str, steps: set[str | None]) -> str:
    """What to do about all of them; where that differs, what the reason says."""
    known = reason_of(reason)
    return (next(iter(steps)) if len(steps) == 1 else known.next_step if known is not None else "") or ""


def _of_each(action: Action) -> Action:
    """The action without the ids of its user and of a customer that goes."""
    each = (of_each(action.clerk_user_id, values) for values in _values_of(action))
    changes = (replace(change, before=e.before, after=e.after) for change, e in zip(action.changes, each, strict=True))
    return replace(action, changes=tuple(changes))


def _values_of(action: Action) -> Iterator[ChangeValues]:
    return (ChangeValues(c.field, c.before, c.after, c.why) for c in action.changes)


class _Withheld:
    """Groups withheld actions by what they change, in bounded memory."""

    def __init__(self) -> None:
        self._found: dict[object, SameChange] = {}
        self.uncounted = 0

    def add(self, action: Action) -> None:
        key = same_change_key(action.kind, action.how, action.clerk_user_id, _values_of(action))
        if (same := self._found.get(key)) is not None:
            same.count += 1
            if len(same.users) < USERS_OF_A_CHANGE:
                same.users.append(action.clerk_user_id)
        elif len(self._found) < DISTINCT:
            self._found[key] = SameChange(action, 1, [action.clerk_user_id])
        else:
            self.uncounted += 1

    def largest_first(self) -> list[SameChange]:
        """The groups, largest first, then by user."""
        for same in self._found.values():
            if same.count > 1:
                same.action = _of_each(same.action)
        return sorted(self._found.values(), key=lambda s: (-s.count, s.action.clerk_user_id))


def _all(values: Collection[M], name: str, value: str) -> Collection[M]:
    return kept(values, lambda each: getattr(each, name) == value)


def counts_of(summary: Summary) -> list[tuple[str, int, str]]:
    """Name, number and text of each count, such as `("create", 3, "3 to create")`. Zeros are omitted, except in_sync."""
    found: list[tuple[str, int, str]] = [(k, getattr(summary, k), f"{getattr(summary, k):,} to {k}") for k in KINDS]
    found.append(("hold", summary.hold, f"{summary.hold:,} held"))
    return [part for part in found if part[1]] + [("in_sync", summary.in_sync, f"{summary.in_sync:,} in sync")]


def totals_of(summary: Summary, stores: Sequence[StorePlan]) -> str:
    """One line on the whole plan."""
    broken = sum(1 for s in stores if s.error)
    unknown = sum(1 for s in stores if s.wave_error)
    never = irreversible_in(stores)
    actions = count_text(summary.actions, "action") + (f" ({never})" if never else "")
    parts = [actions, count_text(summary.hold, "hold"), f"{summary.in_sync:,} in sync"]
    parts += [accepted] if (accepted := accepted_text(stores)) else []
    if broken:
        parts.append(f"{count_text(broken, 'store')} could not be planned")
    if unknown:
        parts.append(f"{count_text(unknown, 'store')} with a wave that could not be planned")
    return ", ".join(parts)


def irreversible_in(stores: Iterable[StorePlan]) -> str:
    """What the actions of these plans do that can't be reverted, as text; empty without any."""
    found: Counter[str] = Counter()
    for store in stores:
        if store.summary.release or store.summary.merge:
            found += count_irreversible(store.actions)
    return irreversible_text(found)


def accepted_users(accepted: Iterable[AcceptedDrift]) -> int:
    """The number of users with accepted drift."""
    return len({each.clerk_user_id for each in accepted})


def accepted_text(stores: Iterable[StorePlan]) -> str:
    """`2 with accepted drift`, which count as in sync; empty without any."""
    count = sum(accepted_users(store.accepted) for store in stores)
    return f"{count:,} with accepted drift" if count else ""


def forecast_of(forecast: Forecast) -> str:
    """`2,480 points, about 25 s at this shop's restore rate`."""
    time = f"about {seconds_text(forecast.seconds)}" if forecast.seconds >= TENTH_S else "less than 0.1 s"
    return f"{count_text(forecast.points, 'point')}, {time} at the shop's restore rate"


def change_parts(change: Change) -> tuple[str, str]:
    """The values before and after as text; for tags, the removed and the added ones."""
    if change.field != "tags":
        return value_text(change.before), value_text(change.after)
    come, gone = tag_changes(change.before, change.after)
    return value_text(gone), value_text(come)


def taken_words(action: Action) -> list[str]:
    """Why an existing customer is taken, and what it brings: `found by its email`, `with orders`."""
    found = [f"found by its {action.found_by}"] if action.found_by in {"email", "back-link"} else []
    found += ["named by the import"] if action.found_by == "import" else []
    if action.former_user is not None:
        found.append(f"of the released user {clean(action.former_user)}")
    return found + (["with orders"] if action.has_orders else [])


def common_why(action: Action) -> str:
    """The reason that all its changes share, or empty."""
    return _only({change.why for change in action.changes})


def _only(words: Collection[str]) -> str:
    return next(iter(words)) if len(words) == 1 else ""


def field_text(change: Change) -> str:
    return clean(change.field)


def docs_command(reason: str) -> str:
    """The command that prints a reason's page, wherever the program is installed."""
    return f"reconciler docs {clean(reason)}"


def guarded_text(stores: Sequence[StorePlan]) -> str:
    """`3 actions withheld by a guard`, and what of them can't be reverted; empty without any."""
    count = 0
    found: Counter[str] = Counter()
    for hold in (hold for store in stores for hold in store.holds if is_withheld_by_guard(hold)):
        count += 1
        found += count_irreversible([hold.action] if hold.action is not None else [])
    if not count:
        return ""
    never = irreversible_text(found)
    return f"{count_text(count, 'action')} withheld by a guard" + (f" ({never})" if never else "")


def how_text(action: Action) -> str:
    """`on_leave: erase, irreversible`; in the plan of an undo `delete, irreversible`; empty for an action without `how`."""
    if not action.how:
        return ""
    setting = "" if is_undo(change.why for change in action.changes) else "on_leave: "
    return f"{setting}{clean(action.how)}" + (", irreversible" if is_irreversible(action.how) else "")
