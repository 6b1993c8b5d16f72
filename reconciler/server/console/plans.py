"""The pages of plans, of a store and of a revert: actions and what is withheld, grouped by same change."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from fastapi import Request
from fastapi.responses import RedirectResponse, Response

from reconciler.core.model.action import KINDS
from reconciler.core.model.frozen import frozen
from reconciler.core.model.ids import StoreName
from reconciler.core.report.irreversible import irreversible_text, is_irreversible
from reconciler.core.report.pending import Pending
from reconciler.core.report.same_change import ChangeValues, of_each, same_change_key
from reconciler.server.access import Verdict
from reconciler.server.acting import PLANS_MAX
from reconciler.server.console import words
from reconciler.server.console.records import number_of
from reconciler.server.console.rendering import Renderer
from reconciler.server.service import Service

PAGE_S: Final = 2.0  # after which no plan that is not ready is waited for
ROWS_OF_ONE: Final = 500  # actions, and as many holds, on the page of one plan
ROWS_OF_ALL: Final = 300  # the same on a page of several plans
Document = dict[str, Any]  # a plan's JSON, read as it is shown


@frozen
class SameHolds:
    """Holds that withhold the same change, or that have the same message, and what they are in words.

    `message`: what all of them say, shown once; empty where each is shown with its own. `count`: of all of them, of which
    `holds` are the first.
    """

    title: str
    message: str
    holds: tuple[Document, ...]
    count: int


@frozen
class ReasonHolds:
    """The holds of one reason, those with the most frequent change first. `count`: of all of them."""

    reason: str
    count: int
    same: tuple[SameHolds, ...]


class PlanPages:
    """The pending plan of a store, and the plan that reverts a run. They read shops, so they are made on request."""

    def __init__(self, service: Service, renderer: Renderer, stores: Collection[StoreName]) -> None:
        self._service, self._renderer, self._stores = service, renderer, stores

    def plan(self, request: Request, verdict: Verdict) -> Response:
        name = StoreName(request.path_params["store"])
        if name not in self._stores:
            return self._renderer.no_store(request, verdict, name)
        found = self._service.plan(name)
        return self._renderer.page("plan.html", request, verdict=verdict, store=name, run=None, **_shown(found))

    def plans(self, request: Request, verdict: Verdict) -> Response:
        """The plans of several stores, to approve together. One that is not ready ends what this request computes.

        While some are awaited, the page loads again and again, and shows what is planned in numbers only.
        """
        names = list(dict.fromkeys(StoreName(name) for name in request.query_params.getlist("store")))[:PLANS_MAX]
        names = [name for name in names if name in self._stores]
        if not names:
            return RedirectResponse("/", 303)
        plans: list[dict[str, Any]] = []
        until = time.monotonic() + PAGE_S
        for name in names:
            found = self._service.plan(name)
            if not isinstance(found, Pending):
                plans.append({"store": name, **_shown(found, rows_max=max(1, ROWS_OF_ALL // len(names)))})
            elif time.monotonic() > until:
                break
        return self._renderer.page(
            "plans.html", request, verdict=verdict, names=names, plans=plans, waiting=len(plans) < len(names)
        )

    def revert(self, request: Request, verdict: Verdict) -> Response:
        number = number_of(request.path_params["number"])
        if number is None or not self._service.run_events(number, limit=1):
            return RedirectResponse(f"/runs/{number or 0}", 303)
        found = self._service.revert(number)
        return self._renderer.page("plan.html", request, verdict=verdict, store=None, run=number, **_shown(found))


def _shown(found: Document | Pending, *, rows_max: int = ROWS_OF_ONE) -> dict[str, Any]:
    """The values of plan.html: the plan of each store, with its holds in groups. `rows_max`: of actions, and of holds."""
    if isinstance(found, Pending):
        return {"pending": found, "parts": ()}
    parts = [
        {
            "plan": plan,
            "actions": plan.get("actions", ())[:rows_max],
            "accepted": plan.get("accepted", ())[:rows_max],
            "held": held_groups(plan.get("holds", ()), rows_max=rows_max),
            "holds_shown": min(len(plan.get("holds", ())), rows_max),
            "hold_count": plan.get("summary", {}).get("hold", 0),
            "action_count": sum(plan.get("summary", {}).get(kind, 0) for kind in KINDS),
        }
        for plan in found["stores"] or [{"error": "it is no longer in stores.yaml", "error_hint": ""}]
    ]
    never: Counter[str] = Counter()
    for plan in found["stores"]:
        never.update(plan.get("irreversible", {}))
    return {
        "pending": None,
        "irreversible": irreversible_text(never),
        "parts": parts,
        "summary": found["summary"],
        "digest": found["digest"],
        "made_at": datetime.fromisoformat(found["created_at"]),
        "failed": any(plan.get("error") for plan in found["stores"]),
        "approvable": any(
            plan.get("actions") or any(hold["reason"] == "GuardExceeded" for hold in plan.get("holds", ()))
            for plan in found["stores"]
        ),
    }


def held_groups(holds: Iterable[Document], *, rows_max: int = ROWS_OF_ONE) -> list[ReasonHolds]:
    """The holds by reason and then by same change, so that one config line reads as one line; `rows_max` of them."""
    by_reason: defaultdict[str, list[Document]] = defaultdict(list)
    for hold in holds:
        by_reason[hold["reason"]].append(hold)
    groups: list[ReasonHolds] = []
    for reason, found in sorted(by_reason.items(), key=lambda each: (-len(each[1]), each[0])):
        same = _first(_same(found), rows_max)
        rows_max -= sum(len(each.holds) for each in same)
        groups.append(ReasonHolds(reason, len(found), same))
    return groups


def _first(groups: Sequence[SameHolds], rows_max: int) -> tuple[SameHolds, ...]:
    """The first of these groups, with so many holds together."""
    found: list[SameHolds] = []
    for each in groups:
        if rows_max > 0:
            found.append(replace(each, holds=each.holds[:rows_max]))
            rows_max -= len(each.holds)
    return tuple(found)


def _same(holds: Iterable[Document]) -> tuple[SameHolds, ...]:
    found = tuple(holds)
    said = Counter(hold["message"] for hold in found if hold["action"] is None)
    by_change: defaultdict[object, list[Document]] = defaultdict(list)
    for hold in found:
        shared = hold["message"] if said[hold["message"]] > 1 else ""
        by_change[shared if hold["action"] is None else _key(hold["action"])].append(hold)
    own = [same[0] for key, same in by_change.items() if len(same) == 1 and not isinstance(key, str)]
    shared = [(key, same) for key, same in by_change.items() if len(same) > 1 or isinstance(key, str)]
    shared.sort(key=lambda item: (-len(item[1]), item[1][0]["clerk_user_id"]))
    groups = [
        SameHolds(_title(same), key if isinstance(key, str) else "", tuple(same), len(same)) for key, same in shared
    ]
    if own:
        groups.append(
            SameHolds(
                f"{len(own):,} with a change of {'its' if len(own) == 1 else 'their'} own", "", tuple(own), len(own)
            )
        )
    return tuple(groups)


def _key(action: Document) -> tuple[object, ...]:
    return same_change_key(action["kind"], action["how"], action["clerk_user_id"], _values_of(action))


def _values_of(action: Document) -> Iterator[ChangeValues]:
    return (ChangeValues(each["field"], each["before"], each["after"], each["why"]) for each in action["changes"])


def _title(holds: list[Document]) -> str:
    """`update, 408 alike: tags + club (config changed)`; `3 users` where none withholds an action."""
    action = holds[0]["action"]
    if action is None:
        return "1 user" if len(holds) == 1 else f"{len(holds):,} users"
    shown = [of_each(action["clerk_user_id"], values) for values in _values_of(action)]
    changes = [f"{words.change_text(change._asdict())} ({change.why})" for change in shown]
    never = " (irreversible)" if is_irreversible(action["how"]) else ""
    return f"{action['kind']}{never}, {len(holds):,} alike: {', '.join(changes) or 'no field'}"
