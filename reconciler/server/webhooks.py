"""Signed webhooks: check who sends, take the name of whom to look at, write it down through the door, answer.

Nothing waits for a shop. A sender that is refused tries again for hours, so 2xx goes to everything authentic, also to
what does not concern us; 401 to what is not from whom it says; 5xx only where sending again can help.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

import anyio
import anyio.to_thread
import structlog
from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from reconciler.clerk.webhook import ClerkWebhooks
from reconciler.core.model.ids import StoreName
from reconciler.errors import NotAnEvent, ReconcilerError, StateError, Unauthentic
from reconciler.server.health import WebhookMetrics
from reconciler.server.service import Intake
from reconciler.shopify.webhooks import CUSTOMER_TOPICS, SHOP_TOPICS, ShopifyWebhooks

WAIT_S: Final = 2.0  # Shopify hangs up after 5
UNDER_WAY_MAX: Final = 100  # webhooks that are worked on, those among them whose senders were answered with 503
SILENT_HINT: Final = "check the network to state.url and the database's locks; the sender sends it again"

Result = Literal["queued", "ignored", "duplicate"]
_log = structlog.get_logger(__name__)


class Taken(BaseModel):
    """What became of it: queued, ignored (it does not concern us), or a duplicate of one that was taken before."""

    status: Result


class Mistake(BaseModel):
    """What is wrong, and what to do next."""

    error: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Sources:
    """Who may send: Clerk (None: no secret is configured), the shops by store (None likewise), and the profiles' table."""

    clerk: ClerkWebhooks | None
    shops: Mapping[StoreName, ShopifyWebhooks | None]
    table: str
    key_column: str


ERRORS: Final[dict[int | str, dict[str, Any]]] = {
    400: {"model": Mistake, "description": "Authentic, but not an event"},
    401: {"model": Mistake, "description": "Not from whom it says, or too old"},
    408: {"model": Mistake, "description": "The body did not come in in time"},
    413: {"model": Mistake, "description": "Above 1 MiB"},
    503: {"model": Mistake, "description": "Not written down: send it again"},
}
MAY_NOT: Final[dict[int | str, dict[str, Any]]] = {
    403: {"model": Mistake, "description": "No token is configured"},
    404: {"model": Mistake, "description": "There is no such store"},
    422: {"model": Mistake, "description": "Not the right shape"},
}
JSON_BODY: Final = {
    "requestBody": {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}},
}


async def raw_body(request: Request) -> bytes:
    """The bytes as they came: a signature holds for no others. Size and time are limits.Limits' business."""
    return await request.body()


RawBody = Annotated[bytes, Depends(raw_body)]


class Desk:
    """Times, counts and logs what happens to a webhook, and turns errors into answers."""

    def __init__(self, service: Intake, metrics: WebhookMetrics) -> None:
        self._service = service
        self._metrics = metrics
        self._under_way = threading.BoundedSemaphore(UNDER_WAY_MAX)
        self._threads = anyio.CapacityLimiter(UNDER_WAY_MAX)

    def take(self, source: str, work: Callable[[], Result]) -> JSONResponse:
        """The 202, made here: FastAPI would check it against the model in a second thread."""
        began = time.perf_counter()
        result = "failed"
        try:
            taken = work()
        except Unauthentic as error:
            result = "unauthentic"
            raise _refusal(source, 401, error) from error
        except NotAnEvent as error:
            result = "not_an_event"
            raise _refusal(source, 400, error) from error
        except ReconcilerError as error:
            raise _refusal(source, 503, error) from error
        else:
            result = taken
            return JSONResponse({"status": taken}, 202)
        finally:
            self._metrics.note(source, result, time.perf_counter() - began)

    async def take_promptly(self, source: str, work: Callable[[], Result]) -> JSONResponse:
        """The same within `WAIT_S`, else 503: the sender sends again, and the work may still end later."""
        if not self._under_way.acquire(blocking=False):
            raise _refusal(source, 503, StateError(f"{UNDER_WAY_MAX} webhooks wait for the state", hint=SILENT_HINT))
        begun = threading.Lock()  # who has it gives the place back

        def taken() -> JSONResponse | None:
            if not begun.acquire(blocking=False):
                return None
            try:
                return self.take(source, work)
            finally:
                self._under_way.release()

        answer: JSONResponse | None = None
        try:
            with anyio.move_on_after(WAIT_S):
                answer = await anyio.to_thread.run_sync(taken, abandon_on_cancel=True, limiter=self._threads)
        finally:
            if begun.acquire(blocking=False):
                self._under_way.release()
        if answer is None:
            raise _refusal(source, 503, StateError(f"the state did not answer within {WAIT_S:g} s", hint=SILENT_HINT))
        return answer

    def once(self, webhook_id: str, work: Callable[[], None]) -> Result:
        """Does the work unless this very webhook was taken in before. An empty id is always new."""
        if webhook_id and self._service.seen_webhook(webhook_id):
            return "duplicate"
        work()
        if webhook_id:
            self._service.webhook_done(webhook_id)
        return "queued"


def _refusal(source: str, status: int, error: ReconcilerError) -> HTTPException:
    _log.warning("webhook_refused", source=source, status=status, why=error.message, hint=error.hint)
    headers = {"retry-after": "5"} if status == 503 else None  # noqa: PLR2004  its name stands beside it
    return HTTPException(status, {"error": error.message, "hint": error.hint}, headers)


def _clerk_result(desk: Desk, service: Intake, sources: Sources, request: Request, body: bytes) -> Result:
    if sources.clerk is None:
        raise ReconcilerError("no secret for Clerk's webhooks is configured", hint="set clerk.webhook_secrets")
    event = sources.clerk.read(request.headers, body)
    if event.foreign:
        _log.warning("webhook_ignored", type=event.type, hint="compare clerk.instance_id")
        return "ignored"
    if event.user_id is None:
        return "ignored"
    return desk.once(f"clerk:{event.id}", lambda: service.clerk_event(event))


def _shopify_result(
    desk: Desk, service: Intake, store: StoreName, reader: ShopifyWebhooks | None, request: Request, body: bytes
) -> Result:
    if reader is None:
        raise ReconcilerError(f"no secret for the webhooks of {store} is configured", hint="set its webhook_secret")
    event = reader.read(request.headers, body)
    if event.new_name:
        hint = "if the shop was renamed, correct shop in stores.yaml"
        _log.warning("webhook_shop_renamed", store=store, shop=reader.shop, named=event.new_name, hint=hint)

    def write_down() -> None:
        if event.topic in SHOP_TOPICS:
            service.shopify_event(store, event)
            return
        for customer in event.customers:
            service.nudge_customer(store, customer, reason=event.topic)

    if event.topic not in CUSTOMER_TOPICS | SHOP_TOPICS:
        return "ignored"
    return desk.once(f"shopify:{store}:{event.topic}:{event.id}" if event.id else "", write_down)


def routes(service: Intake, sources: Sources, metrics: WebhookMetrics) -> APIRouter:
    """/webhooks/clerk and /webhooks/shopify/{store}."""
    router = APIRouter(tags=["webhooks"])
    desk = Desk(service, metrics)

    @router.post("/webhooks/clerk", status_code=202, response_model=Taken, responses=ERRORS, openapi_extra=JSON_BODY)
    async def clerk(request: Request, body: RawBody) -> JSONResponse:
        """Clerk's webhooks, signed by Svix."""
        return await desk.take_promptly("clerk", lambda: _clerk_result(desk, service, sources, request, body))

    @router.post(
        "/webhooks/shopify/{store}",
        status_code=202,
        response_model=Taken,
        responses={**ERRORS, 404: MAY_NOT[404], 422: MAY_NOT[422]},
        openapi_extra=JSON_BODY,
    )
    async def shopify(store: str, request: Request, body: RawBody) -> JSONResponse:
        """A shop's webhooks, with Shopify's HMAC."""
        name = StoreName(store)
        try:
            reader = sources.shops[name]  # one look: the file may be read anew at any moment
        except KeyError:
            said = {"error": "there is no such store", "hint": "the name is that of stores.yaml"}
            raise HTTPException(404, said) from None
        return await desk.take_promptly("shopify", lambda: _shopify_result(desk, service, name, reader, request, body))

    return router
