"""What a plan would do that `undo` can't revert: customers that are erased, deleted or merged. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from reconciler.core.model.action import Action, Hold
from reconciler.core.model.store import DESTRUCTIVE

_WORDS: Final = {
    "erase": ("customer to erase with all personal data", "customers to erase with all personal data"),
    "delete": ("customer to delete", "customers to delete"),
    "merge": ("pair of customers to merge", "pairs of customers to merge"),
}


def is_irreversible(how: str) -> bool:
    """Whether a release with this `how` can't be reverted."""
    return how in DESTRUCTIVE


def is_undo(whys: Iterable[str]) -> bool:
    """Whether an action with changes for these reasons reverts writes, so that the store's settings did not decide it."""
    return set(whys) == {"undo"}


def count_irreversible(actions: Iterable[Action]) -> Counter[str]:
    """The numbers of customers that these actions `erase`, `delete` or `merge`."""
    found: Counter[str] = Counter()
    for action in actions:
        if action.kind == "release" and is_irreversible(action.how):
            found[action.how] += 1
        elif action.kind == "merge":
            found["merge"] += 1
    return found


def is_withheld_by_guard(hold: Hold) -> bool:
    """Whether an approval of the plan lets go what is held."""
    return hold.reason == "GuardExceeded"


def withheld_by_guards(holds: Iterable[Hold]) -> Iterator[Action]:
    """The actions that an approval of the plan lets go."""
    return (hold.action for hold in holds if is_withheld_by_guard(hold) and hold.action is not None)


def irreversible_text(counts: Mapping[str, int]) -> str:
    """`irreversible: 3 customers to erase with all personal data`; empty without any."""
    found = ((counts[how], words) for how, words in _WORDS.items() if counts.get(how))
    parts = [f"{count:,} {many if count > 1 else one}" for count, (one, many) in found]
    return f"irreversible: {', '.join(parts)}" if parts else ""
