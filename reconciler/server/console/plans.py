"""The page of a store's pending plan: actions and what is withheld, grouped by same change."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fastapi import Request
from fastapi.responses import RedirectResponse, Response

from reconciler.core.model.action import KINDS
from reconciler.core.model.ids import StoreName
from reconciler.core.report.pending import Pending
from reconciler.core.report.same_change import ChangeValues, same_change_key
from reconciler.server.access import Verdict
from reconciler.server.console import words
from reconciler.server.console.rendering import Renderer
from reconciler.server.service import Service

Document = dict[str, Any]  # a plan's JSON, read as it is shown


@dataclass(frozen=True, slots=True)
class SameHolds:
    """Holds that withhold the same change, or none, and what they are in words."""

    title: str
    holds: tuple[Document, ...]


@dataclass(frozen=True, slots=True)
class ReasonHolds:
    """The holds of one reason, those with the most frequent change first."""

    reason: str
    holds: tuple[Document, ...]
    same: tuple[SameHolds, ...]


class PlanPage:
    """The pending plan of a store. It reads the shop, so it is made on request."""

    def __init__(self, service: Service, renderer: Renderer, stores: Collection[StoreName]) -> None:
        self._service, self._renderer, self._stores = service, renderer, stores

    def plan(self, request: Request, verdict: Verdict) -> Response:
        name = StoreName(request.path_params["store"])
        if name not in self._stores:
            return RedirectResponse("/", 303)
        found = self._service.plan(name)
        known: dict[str, Any] = {"verdict": verdict, "store": name, "pending": None, "plan": None, "held": ()}
        if isinstance(found, Pending):
            return self._renderer.page("plan.html", request, **{**known, "pending": found})
        shown: Document = found
        plan: Document = next(iter(shown["stores"]), {"error": "it is no longer in stores.yaml", "error_hint": ""})
        actions, holds = plan.get("actions", ()), plan.get("holds", ())
        known |= {
            "plan": plan,
            "held": held_groups(holds),
            "digest": shown["digest"],
            "made_at": datetime.fromisoformat(shown["created_at"]),
            "action_count": sum(plan.get("summary", {}).get(kind, 0) for kind in KINDS),
            "approvable": bool(actions) or any(hold["action"] for hold in holds),
        }
        return self._renderer.page("plan.html", request, **known)


def held_groups(holds: Iterable[Document]) -> list[ReasonHolds]:
    """The holds by reason and then by same change, so that one config line reads as one line."""
    by_reason: defaultdict[str, list[Document]] = defaultdict(list)
    for hold in holds:
        by_reason[hold["reason"]].append(hold)
    return [
        ReasonHolds(reason, tuple(found), _same(found))
        for reason, found in sorted(by_reason.items(), key=lambda each: (-len(each[1]), each[0]))
    ]


def _same(holds: Iterable[Document]) -> tuple[SameHolds, ...]:
    by_change: defaultdict[object, list[Document]] = defaultdict(list)
    for hold in holds:
        by_change[_key(hold["action"])].append(hold)
    ordered = sorted(by_change.values(), key=lambda found: (-len(found), found[0]["clerk_user_id"]))
    return tuple(SameHolds(_title(found), tuple(found)) for found in ordered)


def _key(action: Document | None) -> object:
    if action is None:
        return None
    changes = (ChangeValues(each["field"], each["before"], each["after"], each["why"]) for each in action["changes"])
    return same_change_key(action["kind"], action["how"], changes)


def _title(holds: list[Document]) -> str:
    """`408 times update: tags + club (config changed)`."""
    action = holds[0]["action"]
    if action is None:
        return f"{len(holds):,} without an action"
    times = f"{len(holds):,} times " if len(holds) > 1 else ""
    changes = [f"{words.change_text(change)} ({change['why']})" for change in action["changes"]]
    return f"{times}{action['kind']}: {', '.join(changes) or 'no field'}"
