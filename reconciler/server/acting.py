"""POST /api/acts: what operators do, for programs and for the console's pages."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from datetime import date, datetime
from typing import Annotated, Any, Final, Literal, Self

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

from reconciler.core.model.act import Actor
from reconciler.core.model.frozen import frozen
from reconciler.core.model.ids import StoreName
from reconciler.core.model.run import Run
from reconciler.core.model.store import check_fields, end_of_day
from reconciler.core.report.documents import run_document
from reconciler.core.report.pending import Pending
from reconciler.errors import PermanentError, PlanRefused, ReconcilerError, UsageError
from reconciler.ports import Clock
from reconciler.server.access import Access
from reconciler.server.callers import Moment, refusals, require_caller, unavailable, unknown_store
from reconciler.server.nudges import UserId
from reconciler.server.service import Approved, Operations

Kind = Literal[
    "pause", "resume", "probe", "nudge", "reconcile", "accept", "heal", "forget", "approve", "undo", "continue", "abort"
]
NEEDS: Final[dict[Kind, tuple[str, ...]]] = {
    "pause": ("store",),
    "resume": ("store",),
    "probe": ("store",),
    "nudge": ("store",),
    "reconcile": ("user",),
    "accept": ("store", "user", "fields", "until"),
    "heal": ("store", "user"),
    "forget": ("user",),
    "approve": ("store", "digest"),
    "undo": ("run", "digest"),
    "continue": (),
    "abort": (),
}
REFUSED: Final = refusals(
    may_not="The token may not act, or the request came from a page of another site",
    unknown="No such store or run, or no mapping of the user",
    conflict="The plan has another digest, or the rollout has moved on",
)


Digest = Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{8,64}$")]
PLANS_MAX: Final = 100  # of one approval


class Wish(BaseModel):
    """An act. pause, resume, probe, nudge (a full resync) and approve need `store`, reconcile and forget `user`, accept and
    heal both.

    accept also needs the `fields` of which drift is accepted, and `until`: the last day, or the moment. approve also needs
    the `digest` of the plan that was shown, or in place of both `plans`: the digest of each store. undo needs the digest of
    the revert of a `run`. continue and abort are of the rollout; continue with the `step` of a rollout is refused once this
    has moved on.
    """

    model_config = ConfigDict(extra="forbid")

    kind: Kind
    store: StoreName | None = None
    user: UserId | None = None
    fields: (
        Annotated[tuple[Annotated[str, StringConstraints(max_length=255)], ...], Field(min_length=1, max_length=100)]
        | None
    ) = None
    until: date | Moment | None = None
    run: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None
    digest: Digest | None = None
    plans: Annotated[dict[StoreName, Digest], Field(min_length=1, max_length=PLANS_MAX)] | None = None
    step: Annotated[str, StringConstraints(pattern=r"^[0-9]{1,10}\.[0-9]{1,10}$")] | None = None

    @field_validator("fields")
    @classmethod
    def _known(cls, fields: tuple[str, ...] | None) -> tuple[str, ...] | None:
        return fields if fields is None else check_fields(fields)

    @property
    def until_moment(self) -> datetime | None:
        """`until` as a moment: the end of a day, and UTC without a zone."""
        if isinstance(self.until, datetime):
            return self.until
        return end_of_day(self.until) if self.until is not None else None

    @property
    def digests(self) -> dict[StoreName, str]:
        """The digest of each plan that is approved."""
        if self.plans is not None:
            return dict(self.plans)
        return {self.store: self.digest} if self.store is not None and self.digest is not None else {}

    @property
    def stores(self) -> tuple[StoreName, ...]:
        """The stores that it names."""
        return tuple(self.plans or ()) if self.store is None else (self.store,)

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.plans is not None:
            if self.kind != "approve" or self.store is not None or self.digest is not None:
                raise ValueError("plans is for approve, in place of store and digest")
            return self
        if missing := [name for name in NEEDS[self.kind] if getattr(self, name) is None]:
            raise ValueError(f"{self.kind} needs {' and '.join(missing)}")
        return self


class ActResult(BaseModel):
    """done, unchanged (it was so already), queued (it follows soon), or pending (send it again to learn the result).

    `run`: the run of an approval or a revert. `found`: what a probe found. `refused`: of an approval of several stores,
    those with another plan by now, and why.
    """

    status: Literal["done", "unchanged", "queued", "pending"]
    run: dict[str, Any] | None = None
    found: str | None = None
    refused: dict[StoreName, str] = {}


def routes(service: Operations, access: Access, clock: Clock, *, stores: Collection[StoreName]) -> APIRouter:
    """Return the route. `stores` is read at each request."""
    router = APIRouter(tags=["api"])

    @router.post("/api/acts", response_model=ActResult, responses={202: {"model": ActResult}, **REFUSED})
    def act(request: Request, wish: Wish) -> JSONResponse:
        """Does what an operator wants, and records who wanted it."""
        actor = _operator(request, access, clock)
        if any(store not in stores for store in wish.stores):
            raise unknown_store()
        try:
            return _answer(perform(service, wish, actor), wish)
        except PlanRefused as error:
            raise HTTPException(409, {"error": error.message, "hint": error.hint}) from error
        except UsageError as error:
            raise HTTPException(422, {"error": error.message, "hint": error.hint}) from error
        except PermanentError as error:  # the run or the store is gone, or wrote nothing: no repetition helps
            raise HTTPException(404, {"error": error.message, "hint": error.hint}) from error
        except ReconcilerError as error:
            raise unavailable(error) from error

    return router


def _operator(request: Request, access: Access, clock: Clock) -> Actor:
    caller = require_caller(request, access, clock, role="an operator")
    if caller.role != "operator":
        raise HTTPException(403, {"error": "this token may not act", "hint": "use the token of an operator"})
    if is_foreign(request):
        raise HTTPException(403, {"error": "the request came from a page of another site", "hint": ""})
    return Actor(caller.name, "console")


def is_foreign(request: Request) -> bool:
    """Return whether a page of another site sent this request.

    A browser says so itself, and no page can change that; a proxy may have replaced Host by its own name for us.
    """
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site not in {"same-origin", "none"}
    origin = request.headers.get("origin")
    return origin is not None and origin.partition("://")[2].lower() != request.headers.get("host", "").lower()


@frozen
class Performed:
    """What came of an act. "unknown": the user has no mapping. `run`: the run of an approval. `found`: see ActResult."""

    status: Literal["done", "unchanged", "queued", "pending", "unknown"]
    run: Run | None = None
    found: str | None = None
    refused: Mapping[StoreName, str] = dataclasses.field(default_factory=dict)


def perform(service: Operations, wish: Wish, actor: Actor) -> Performed:
    """Do what an operator wants, for the API and for the console. PlanRefused: the plan has another digest."""
    store, user = wish.store, wish.user
    match wish.kind:
        case "pause" | "resume" if store is not None:
            done = service.pause(store, actor) if wish.kind == "pause" else service.resume(store, actor)
            return Performed("done" if done else "unchanged")
        case "probe" if store is not None:
            found = service.probe(store, actor)
            return Performed("pending") if isinstance(found, Pending) else Performed("done", found=found)
        case "nudge" if store is not None:
            service.scan(store, actor)
            return Performed("queued")
        case "reconcile" if user is not None:
            service.reconcile(user, actor)
            return Performed("queued")
        case "accept" if store is not None and user is not None:
            assert wish.fields is not None
            assert wish.until_moment is not None
            done = service.accept(store, user, wish.fields, until=wish.until_moment, actor=actor)
            return Performed("done" if done else "unknown")
        case "heal" if store is not None and user is not None:
            return Performed("done" if service.heal(store, user, actor) else "unchanged")
        case "forget" if user is not None:
            return Performed("done" if service.forget(user, store, actor) else "unknown")
        case "undo" if wish.run is not None:
            assert wish.digest is not None
            return _done(service.undo(wish.run, wish.digest, actor))
        case "continue" | "abort":
            going = wish.kind == "continue"
            done = service.continue_rollout(actor, seen=wish.step) if going else service.abort_rollout(actor)
            return Performed("done" if done else "unchanged")
        case _:
            return _done(service.approve(wish.digests, actor))


def _done(done: Run | Approved | Pending) -> Performed:
    if isinstance(done, Pending):
        return Performed("pending")
    return Performed("done", done.run, refused=done.refused) if isinstance(done, Approved) else Performed("done", done)


def _answer(done: Performed, wish: Wish) -> JSONResponse:
    if done.status == "unknown":
        raise HTTPException(404, {"error": f"{wish.user} has no mapping", "hint": "see /api/people"})
    run = run_document(done.run) if done.run else None
    document = {"status": done.status, "run": run, "found": done.found, "refused": dict(done.refused)}
    headers = {"retry-after": "2"} if done.status == "pending" else None
    return JSONResponse(document, 202 if done.status in {"queued", "pending"} else 200, headers=headers)
