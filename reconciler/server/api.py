"""The JSON API: what the console shows, for programs. Documents have the shapes of the commands' `--output json`.

Reads need a token or a session of a viewer or an operator. A plan and an explanation read the shop: they are made on
request, and a caller that does not get one within a moment gets 202 and asks again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, HTTPException, Query, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from reconciler.core.model.act import Act
from reconciler.core.model.event import Event
from reconciler.core.model.ids import StoreName
from reconciler.core.model.json import time_z
from reconciler.core.model.mapping import Status
from reconciler.core.model.rollout import Phase, RolloutSettings
from reconciler.core.model.run import Run, RunKind
from reconciler.core.report.answer import Candidate
from reconciler.core.report.changes import ChangesAsked, EventPlace
from reconciler.core.report.documents import (
    act_document,
    event_document,
    explained_document,
    former_document,
    mapping_document,
    parity_document,
    rollout_document,
    run_document,
    status_document,
)
from reconciler.core.report.pending import Pending
from reconciler.core.report.rollout import WaveReport
from reconciler.core.report.status import Replica, StatusRow
from reconciler.errors import ReconcilerError
from reconciler.ports import Clock
from reconciler.server.access import Access, Caller
from reconciler.server.callers import (
    SOUGHT_MAX,
    Moment,
    StorableText,
    refusals,
    require_caller,
    sought_text,
    unavailable,
    unknown_store,
)
from reconciler.server.nudges import UserId
from reconciler.server.service import ConsoleReader

ROWS_MAX: Final = 500
PARITY_DAYS: Final = 30
AGAIN_S: Final = 2
REFUSED: Final = refusals(may_not="The token may not read", unknown="There is none with this name or number")


class StatusDocument(BaseModel):
    """As `status --output json`."""

    at: datetime
    stores: list[StatusRow]
    replicas: list[Replica]


class PersonDocument(BaseModel):
    """One mapping, as `mappings list --output json`."""

    clerk_user_id: str
    store: str
    shopify_shop: str
    shopify_customer_id: str | None
    email: str | None
    first_seen_at: datetime | None
    last_seen_at: datetime | None
    status: Status
    reason: str | None
    message: str | None


class FormerDocument(BaseModel):
    """An email or a customer that a user no longer has."""

    clerk_user_id: str
    store: str
    field: Literal["email", "customer"]
    value: str
    now: str | None
    last_written_at: datetime | None
    answer: str


class PeoplePage(BaseModel):
    """Mappings in the order of users; `more` if there are more than fit.

    `unmapped`: with `q` and no filter, people of the profiles table that no store has wanted yet. `former`:
    where neither is found, users who had this email or this customer.
    """

    people: list[PersonDocument]
    more: bool
    unmapped: list[Candidate]
    former: list[FormerDocument]


class ExplainedDocument(BaseModel):
    """As `explain --output json`, with the acts of operators on this user."""

    clerk_user_id: str
    name: str | None
    answer: str
    stores: list[dict[str, Any]]
    acts: list[Act]


class PlanDocument(BaseModel):
    """As `plan --output json`, of one store, with its first `rows_max` actions and holds."""

    version: int
    digest: str
    created_at: datetime
    summary: dict[str, int]
    stores: list[dict[str, Any]]
    rows_max: int


class PendingDocument(BaseModel):
    """The document is being made: ask again. `since` is null while it waits for others."""

    status: str = "pending"
    since: datetime | None
    read: int = Field(description="users read until now")


class RunsPage(BaseModel):
    """RunsPage, newest first; `before` is the value of that parameter for the next page, null on the last one."""

    runs: list[Run]
    before: int | None


class RunDocument(BaseModel):
    """One run with its first events."""

    run: Run
    events: list[Event]


class ChangesPage(BaseModel):
    """Events and acts, newest first; `before` is the value of that parameter for the next page, null on the last one.

    `searched_to`: a page ends early after 50,000 events that do not fit. Acts are on the first page only.
    """

    events: list[Event]
    acts: list[Act]
    before: str | None
    searched_to: datetime | None


class NewestRollout(BaseModel):
    """The newest rollout; `is_current` is false if it is that of another stores.yaml. `step` names this moment of it."""

    id: int
    step: str
    phase: Phase
    wave: int
    began_at: datetime
    began_by: str
    soak_until: datetime | None
    message: str
    next_step: str
    is_current: bool


class RolloutDocument(BaseModel):
    """As `rollout status --output json`: without waves, all stores are in one."""

    rollout: NewestRollout | None
    limits: RolloutSettings | None
    waves: list[WaveReport]


class ParityPoint(BaseModel):
    """One sample; `parity` is null where it was unknown."""

    at: datetime
    profiles: int
    in_sync: int
    pending: int
    held: int
    parity: float | None


class ParityLine(BaseModel):
    """The samples of one store, oldest first."""

    store: str
    samples: list[ParityPoint]


Limit = Annotated[int, Query(ge=1, le=ROWS_MAX)]
Store = Annotated[StoreName | None, Query(description="only this store")]


def routes(service: ConsoleReader, access: Access, clock: Clock, *, stores: Collection[StoreName]) -> APIRouter:
    """Return the routes below /api. `stores` is read at each request."""

    def reads(request: Request) -> Caller:
        caller = require_caller(request, access, clock, role="a viewer or an operator")
        if caller.role == "nudge":
            raise HTTPException(403, {"error": "this token may only nudge", "hint": "use server.viewer_token"})
        return caller

    router = APIRouter(prefix="/api", tags=["api"], dependencies=[Depends(reads)])
    api = _Api(service, clock, stores)
    for path, answer, model in (
        ("/status", api.status, StatusDocument),
        ("/people", api.people, PeoplePage),
        ("/people/{user}", api.person, ExplainedDocument),
        ("/plan", api.plan, PlanDocument),
        ("/runs", api.runs, RunsPage),
        ("/runs/{number}", api.run, RunDocument),
        ("/runs/{number}/undo", api.revert, PlanDocument),
        ("/changes", api.changes, ChangesPage),
        ("/parity", api.parity, ParityLine),
        ("/rollout", api.rollout, RolloutDocument),
    ):
        responses: dict[int | str, dict[str, Any]] = {200: {"model": model}, **REFUSED}
        if model in {ExplainedDocument, PlanDocument}:
            responses[202] = {"model": PendingDocument, "description": "Being made: ask again"}
        router.add_api_route(path, answer, methods=["GET"], response_class=JSONResponse, responses=responses)
    return router


class _Api:
    """The answers. They are documents already: FastAPI would validate and copy each again."""

    def __init__(self, service: ConsoleReader, clock: Clock, stores: Collection[StoreName]) -> None:
        self._service, self._clock, self._stores = service, clock, stores

    def status(self) -> JSONResponse:
        """Returns the status of each store."""
        with _translated():
            rows, replicas = self._service.status_rows(), self._service.replicas()
        return JSONResponse(status_document(rows, self._clock.now(), replicas))

    def people(
        self,
        q: Annotated[
            str,
            Query(
                max_length=SOUGHT_MAX,
                description="begins a user id or an email, is in a name, is a phone, or is a customer (number, gid, URL)",
            ),
        ] = "",
        store: Store = None,
        status: Status | None = None,
        reason: Annotated[StorableText | None, Query(max_length=100)] = None,
        limit: Limit = 100,
    ) -> JSONResponse:
        """Returns mappings by user id, email, name, phone or customer; all without `q`."""
        self._check(store)
        text = sought_text(q)
        with _translated():
            found = self._service.find_people(text, store=store, status=status, reason=reason, limit=limit + 1)
            unfiltered = text and store is None and status is None and reason is None
            unmapped = self._service.find_unmapped(text, limit=limit) if unfiltered else []
            former = self._service.find_former(text) if unfiltered and not (found or unmapped) else []
        people = [mapping_document(row) for row in found[:limit]]
        others = [asdict(each) for each in unmapped]
        was = [former_document(each) for each in former]
        return JSONResponse({"people": people, "more": len(found) > limit, "unmapped": others, "former": was})

    def person(self, user: UserId) -> JSONResponse:
        """Explains one user in all stores. Reads the shops."""
        with _translated():
            found = self._service.explain(user)
            acts = self._service.acts(user=user, limit=ROWS_MAX)
        if isinstance(found, Pending):
            return _pending(found)
        if not found.stores:
            raise HTTPException(404, {"error": "no profile and no mapping has this id", "hint": "see /api/people?q="})
        return JSONResponse({**explained_document(found), "acts": [act_document(act) for act in acts]})

    def plan(self, store: StoreName) -> JSONResponse:
        """Returns the pending plan of one store, as `reconciler plan` makes it, at most five minutes old. Reads the shop."""
        self._check(store)
        with _translated():
            found = self._service.plan(store)
        return _pending(found) if isinstance(found, Pending) else JSONResponse(found)

    def runs(
        self,
        store: Store = None,
        kind: RunKind | None = None,
        before: Annotated[int | None, Query(ge=1, le=2**31 - 1)] = None,
        limit: Limit = 50,
    ) -> JSONResponse:
        """Returns runs, newest first."""
        self._check(store)
        with _translated():
            found = self._service.runs(store=store, kinds=() if kind is None else (kind,), before=before, limit=limit)
        last = found[-1].id if len(found) == limit else None
        return JSONResponse({"runs": [run_document(run) for run in found], "before": last})

    def run(self, number: int, limit: Limit = 100) -> JSONResponse:
        """Returns one run with the first events that it wrote."""
        with _translated():
            found = self._service.find_run(number) if 0 < number < 2**31 else None
            if found is None:
                raise HTTPException(404, {"error": "there is no such run", "hint": "see /api/runs"})
            events = self._service.run_events(number, limit=limit)
        return JSONResponse({"run": run_document(found), "events": [event_document(event) for event in events]})

    def revert(self, number: int) -> JSONResponse:
        """Returns the plan that reverts what a run wrote, as `reconciler undo --run` makes it. Reads the shops."""
        with _translated():
            written = self._service.run_events(number, limit=1) if 0 < number < 2**31 else ()
            if not written:
                raise HTTPException(404, {"error": "this run wrote nothing", "hint": "see /api/runs"})
            found = self._service.revert(number)
        return _pending(found) if isinstance(found, Pending) else JSONResponse(found)

    def changes(
        self,
        store: Store = None,
        user: Annotated[UserId | None, Query()] = None,
        kind: Annotated[StorableText | None, Query(max_length=100)] = None,
        field: Annotated[StorableText | None, Query(max_length=400, description="with a change of this field")] = None,
        actor: Annotated[
            StorableText | None, Query(max_length=255, description="`run` also for what no run wrote")
        ] = None,
        since: Moment | None = None,
        until: Moment | None = None,
        before: Annotated[str | None, Query(max_length=40, description="of the page before")] = None,
        limit: Limit = 100,
    ) -> JSONResponse:
        """Returns what was written to the shops, and what operators did, newest first."""
        self._check(store)
        place = EventPlace.parse(before) if before is not None else None
        if before is not None and place is None:
            raise HTTPException(
                422, {"error": "before is no place of a page", "hint": "use `before` of the page before"}
            )
        asked = ChangesAsked(
            users=None if user is None else (user,), store=store, kind=kind, field=field, actor=actor,
            since=since, until=until, before=place,
        )  # fmt: skip
        with _translated():
            found = self._service.changes(asked, limit=limit)
            acts = self._service.find_acts(asked, limit=limit) if place is None and field is None else ()
        documents = {
            "events": [event_document(event) for event in found.events],
            "acts": [act_document(act) for act in acts],
            "before": str(found.before) if found.before is not None else None,
            "searched_to": time_z(found.searched_to),
        }
        return JSONResponse(documents)

    def parity(self, store: StoreName, days: Annotated[int, Query(ge=1, le=PARITY_DAYS)] = PARITY_DAYS) -> JSONResponse:
        """Returns the parity of one store over time."""
        self._check(store)
        with _translated():
            samples = self._service.parity_lines([store], since=self._clock.now() - timedelta(days=days))
        return JSONResponse({"store": store, "samples": parity_document(samples)})

    def rollout(self) -> JSONResponse:
        """Returns the newest rollout and its waves."""
        with _translated():
            found = self._service.rollout(with_changes=True)
        return JSONResponse(rollout_document(found))

    def _check(self, store: StoreName | None) -> None:
        if store is not None and store not in self._stores:
            raise unknown_store()


@contextmanager
def _translated() -> Iterator[None]:
    """Within, an error of ours becomes 503 with its message and hint."""
    try:
        yield
    except ReconcilerError as error:
        raise unavailable(error) from error


def _pending(pending: Pending) -> JSONResponse:
    document = {"status": "pending", "since": time_z(pending.since), "read": pending.read}
    return JSONResponse(document, 202, headers={"retry-after": str(AGAIN_S)})
