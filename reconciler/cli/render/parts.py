"""What text, Markdown and the page say alike: words for kinds, reasons and counts, and how a plan is grouped."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from reconciler.cli.render.plain import clean, counted, seconds_text, sentence, value_text
from reconciler.core.model.action import KINDS, Action, Change, Hold, Kind, WhoActs
from reconciler.core.plan.pile import M, kept
from reconciler.core.plan.plan import Forecast, StorePlan, Summary

ERRORS_PAGE = "docs/errors.md"
TENTH_S = 0.1
USERS_OF_A_CHANGE = 5  # named beside a change that many share
DISTINCT = 1000  # different changes of one reason that are told apart; the rest is counted as one


@dataclass(frozen=True, slots=True)
class KindWords:
    """A kind of action: its mark and colour in a terminal, and what it does, for one and for many."""

    mark: str
    style: str
    one: str
    many: str

    def says(self, count: int) -> str:
        return counted(count, self.one, self.many)


KIND_WORDS: dict[Kind, KindWords] = {
    "create": KindWords("+", "green", "new customer", "new customers"),
    "adopt": KindWords(
        "&", "cyan", "customer who was there before, now linked", "customers who were there before, now linked"
    ),
    "update": KindWords("~", "yellow", "customer whose fields change", "customers whose fields change"),
    "relink": KindWords(">", "magenta", "user who moves to another customer", "users who move to another customer"),
    "merge": KindWords(
        "*", "bright_red", "pair of customers made one, for good", "pairs of customers made one, for good"
    ),
    "release": KindWords("-", "red", "customer we let go of", "customers we let go of"),
}
WHO_WORDS: dict[WhoActs, str] = {
    "operator": "the operator acts",
    "profile": "the profile must change",
    "shop": "staff act in Shopify",
    "time": "time heals it",
}


@dataclass(frozen=True, slots=True)
class KindGroup:
    """The actions of one kind in one store: how many, the first of them (or all), and the one reason of all, if there is."""

    kind: Kind
    count: int
    actions: Collection[Action]
    why: str


@dataclass(slots=True)
class SameChange:
    """Withheld actions that change the same in the same way: the first of them, how many there are, the first users."""

    action: Action
    count: int
    users: list[str]


@dataclass(frozen=True, slots=True)
class HeldGroup:
    """The holds of one reason in one store: how many, the first of them (or all), and what all of them say, if they do.

    `changes` are the actions that these holds withhold, those that many share first; of `uncounted` more it is not told.
    """

    reason: str
    who_acts: WhoActs
    count: int
    holds: Collection[Hold]
    message: str | None
    changes: Sequence[SameChange] = ()
    uncounted: int = 0

    @property
    def anchor(self) -> str:
        return f"{ERRORS_PAGE}#{self.reason.lower()}"


def actions_by_kind(store: StorePlan, first: int | None) -> list[KindGroup]:
    """In the order of KINDS, empty kinds left out; of each the `first` so many, or, where that is None, all."""
    counts: Counter[Kind] = Counter()
    whys: defaultdict[Kind, set[str]] = defaultdict(set)
    some: defaultdict[Kind, list[Action]] = defaultdict(list)
    for action in store.actions:
        counts[action.kind] += 1
        whys[action.kind].update(change.why for change in action.changes)
        if first is not None and counts[action.kind] <= first:
            some[action.kind].append(action)
    return [
        KindGroup(
            kind,
            counts[kind],
            some[kind] if first is not None else _all(store.actions, "kind", kind),
            _only(whys[kind]),
        )
        for kind in KINDS
        if counts[kind]
    ]


def holds_by_reason(store: StorePlan, first: int | None) -> list[HeldGroup]:
    """Most frequent first; of each the `first` so many, or, where that is None, all."""
    counts: Counter[str] = Counter()
    who: dict[str, WhoActs] = {}
    said: defaultdict[str, set[str]] = defaultdict(set)
    some: defaultdict[str, list[Hold]] = defaultdict(list)
    withheld: defaultdict[str, _Withheld] = defaultdict(_Withheld)
    for hold in store.holds:
        counts[hold.reason] += 1
        if hold.action is not None:
            withheld[hold.reason].add(hold.action)
        who.setdefault(hold.reason, hold.who_acts)
        if len(said[hold.reason]) <= 1:
            said[hold.reason].add(hold.message)
        if first is not None and counts[hold.reason] <= first:
            some[hold.reason].append(hold)
    return [
        HeldGroup(
            reason,
            who[reason],
            count,
            some[reason] if first is not None else _all(store.holds, "reason", reason),
            sentence(next(iter(said[reason]))) if len(said[reason]) == 1 else None,
            withheld[reason].sorted(),
            withheld[reason].uncounted,
        )
        for reason, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    ]


class _Withheld:
    """Groups withheld actions by what they change, in bounded memory."""

    def __init__(self) -> None:
        self._found: dict[object, SameChange] = {}
        self.uncounted = 0

    def add(self, action: Action) -> None:
        key = (action.kind, action.how, tuple((c.field, *change_parts(c), c.why) for c in action.changes))
        if (same := self._found.get(key)) is not None:
            same.count += 1
            if len(same.users) < USERS_OF_A_CHANGE:
                same.users.append(action.clerk_user_id)
        elif len(self._found) < DISTINCT:
            self._found[key] = SameChange(action, 1, [action.clerk_user_id])
        else:
            self.uncounted += 1

    def sorted(self) -> list[SameChange]:
        """Those that many share first, then by user."""
        return sorted(self._found.values(), key=lambda s: (-s.count, s.action.clerk_user_id))


def _all(values: Collection[M], name: str, value: str) -> Collection[M]:
    return kept(values, lambda each: getattr(each, name) == value)


def counts_of(summary: Summary) -> list[tuple[str, int, str]]:
    """Name, number and words of what there is: `("create", 3, "3 to create")`; zeros are left out, in sync is not."""
    found: list[tuple[str, int, str]] = [(k, getattr(summary, k), f"{getattr(summary, k):,} to {k}") for k in KINDS]
    found.append(("hold", summary.hold, f"{summary.hold:,} held"))
    return [part for part in found if part[1]] + [("in_sync", summary.in_sync, f"{summary.in_sync:,} in sync")]


def totals_of(summary: Summary, stores: Sequence[StorePlan]) -> str:
    """One line on the whole plan."""
    broken = sum(1 for s in stores if s.error)
    parts = [counted(summary.actions, "action"), counted(summary.hold, "hold"), f"{summary.in_sync:,} in sync"]
    if broken:
        parts.append(f"{counted(broken, 'store')} could not be planned")
    return ", ".join(parts)


def forecast_of(forecast: Forecast) -> str:
    """`2,480 points, about 25 s at this shop's restore rate`."""
    time = f"about {seconds_text(forecast.seconds)}" if forecast.seconds >= TENTH_S else "less than 0.1 s"
    return f"{counted(forecast.points, 'point')}, {time} at the shop's restore rate"


def change_parts(change: Change) -> tuple[str, str]:
    """Before and after in words; of tags only what comes and what goes."""
    if change.field != "tags":
        return value_text(change.before), value_text(change.after)
    before, after = _tags(change.before), _tags(change.after)
    gone = [before[t] for t in before if t not in after]
    come = [after[t] for t in after if t not in before]
    return value_text(gone), value_text(come)


def common_why(action: Action) -> str:
    """The one reason of all its changes, or nothing where they differ."""
    return _only({change.why for change in action.changes})


def _only(words: Collection[str]) -> str:
    return next(iter(words)) if len(words) == 1 else ""


def field_text(change: Change) -> str:
    return clean(change.field)


def guarded_holds(stores: Sequence[StorePlan]) -> int:
    """How many actions wait for an approval."""
    return sum(1 for s in stores for h in s.holds if h.reason == "GuardExceeded")


def _tags(value: object) -> dict[str, str]:
    return {str(t).casefold(): str(t) for t in value} if isinstance(value, (list, tuple)) else {}
