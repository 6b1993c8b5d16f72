"""What the policy of stores.yaml would do in a store that keeps an earlier one until its wave: as holds of the plan.

The store is scanned a second time, by that policy. What this scan would do beyond the plan is held as RollOutHeld.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import groupby
from operator import attrgetter, itemgetter

from reconciler.controller.scan.spool import Spool
from reconciler.core.decide.cost import points_of
from reconciler.core.model.action import Action, Hold, hold_order
from reconciler.core.model.reasons import hold
from reconciler.core.model.store import HeldBack
from reconciler.core.plan.gather import ScanResult
from reconciler.core.plan.series import merge_of

PLANNED, TARGET = 0, 1


def with_held_back(planned: ScanResult, target: ScanResult, held_back: HeldBack) -> ScanResult:
    """The plan of a store with the policy that it has, and with holds for what the policy of stores.yaml adds.

    Where the second scan failed, as for a back-link that the shop does not have yet, changes of users are planned all the
    same, and the plan says that these holds are not known.
    """
    if planned.plan.error is not None:
        return planned
    failed = target.plan
    if failed.error is not None:
        return replace(planned, plan=replace(planned.plan, wave_error=failed.error, wave_hint=failed.error_hint))
    added = Spool(Hold, hold_order)
    for each in holds_between(_actions(planned), _actions(target), held_back):
        added.add(each)
    holds = merge_of([planned.plan.holds, added.whole()], hold_order)
    summary = replace(planned.plan.summary, hold=len(holds))
    return replace(planned, plan=replace(planned.plan, holds=holds, summary=summary))


def _actions(found: ScanResult) -> Iterator[Action]:
    yield from found.plan.actions
    yield from found.withheld
    yield from (held.action for held in found.plan.holds if held.action is not None)


def holds_between(planned: Iterable[Action], target: Iterable[Action], held_back: HeldBack) -> Iterator[Hold]:
    """The holds for what `target` would do beyond `planned`, in the order of users.

    `planned` may have several parts of the action of a user, as where a switch holds some fields; `target` has one action.
    """
    by_user = heapq.merge(
        ((action.clerk_user_id, PLANNED, action) for action in _sorted(planned)),
        ((action.clerk_user_id, TARGET, action) for action in _sorted(target)),
        key=itemgetter(0, 1),
    )
    for _, found in groupby(by_user, key=itemgetter(0)):
        parts: list[Action] = []
        for _, side, action in found:
            if side == PLANNED:
                parts.append(action)
            else:
                yield from _holds_of(action, parts, held_back.words)


def _sorted(actions: Iterable[Action]) -> Iterable[Action]:
    ordered = Spool(Action, lambda action: (action.clerk_user_id,))
    for action in actions:
        ordered.add(action)
    return ordered.whole()


def _holds_of(action: Action, planned: Iterable[Action], words: str) -> Iterator[Hold]:
    """One hold a field where the rest of the action is planned, or it is an update; else one for the whole action.

    A back-link that moves is one: the former metafield is removed with it.
    """
    same = [part for part in planned if part.kind == action.kind]
    if not same and action.kind != "update":
        yield _hold(action, f"{action.kind} is held: {words}", None)
        return
    known = {(change.field, repr(change.after)) for part in same for change in part.changes}
    added = [change for change in action.changes if (change.field, repr(change.after)) not in known]
    link = next((change for change in added if change.field == "backlink"), None)
    former = [change for change in added if link is not None and change.before == link.after and change.after is None]
    for change in sorted(added, key=attrgetter("field")):
        if change not in former:
            changes = (change, *former) if change is link else (change,)
            part = replace(action, changes=changes, cost_points=points_of(action.kind, changes, action.how))
            yield _hold(part, f"{change.field} differs ({change.why}), and is held: {words}", change.field)


def _hold(action: Action, message: str, field: str | None) -> Hold:
    held = hold(action.clerk_user_id, None, "RollOutHeld", message, field, action)
    return replace(held, customer_id=action.customer_id)
