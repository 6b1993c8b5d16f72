"""Signed webhooks: verify the sender, read which user or customer to reconcile, store a request, answer.

No webhook waits for a shop. A refused sender repeats for hours. So every authentic webhook gets 2xx, also one that does
not concern us; 401 means that the signature is wrong; 5xx is used only if sending again can help.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final, Literal

import anyio
import anyio.to_thread
import structlog
from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from reconciler.clerk.webhook import ClerkWebhooks
from reconciler.core.model.frozen import frozen
from reconciler.core.model.ids import ShopDomain, StoreName
from reconciler.errors import NotAnEvent, ReconcilerError, StateError, Unauthentic
from reconciler.server.health import WebhookMetrics
from reconciler.server.service import Intake
from reconciler.shopify.webhooks import CUSTOMER_TOPICS, SHOP_TOPICS, ShopifyEvent, ShopifyWebhooks, named_shop

WAIT_S: Final = 2.0  # Shopify closes the connection after 5
IN_PROGRESS_MAX: Final = 100  # webhooks in progress, including those already answered with 503
UNKNOWN_SHOP: Final = ShopifyWebhooks(ShopDomain(""), [secrets.token_hex()])  # nothing is signed with this secret
SILENT_HINT: Final = "check the network to state.url and the database's locks; the sender sends it again"

Result = Literal["queued", "ignored", "duplicate"]
_log = structlog.get_logger(__name__)


class WebhookResult(BaseModel):
    """The result: queued, ignored (it does not concern us), or a duplicate of an accepted one."""

    status: Result


class Mistake(BaseModel):
    """What is wrong, and what to do next."""

    error: str
    hint: str = ""


def refusal(description: str) -> dict[str, Any]:
    """An error of an endpoint, for the OpenAPI page. Given as a model, FastAPI would compile it again for each endpoint."""
    schema = {"$ref": f"#/components/schemas/{Mistake.__name__}"}
    return {"description": description, "content": {"application/json": {"schema": schema}}}


@frozen
class Sources:
    """The accepted senders: Clerk and the shops by store (None: no secret is configured), and the profiles table."""

    clerk: ClerkWebhooks | None
    shops: Mapping[StoreName, ShopifyWebhooks | None]
    table: str
    key_column: str


ERRORS: Final[dict[int | str, dict[str, Any]]] = {
    400: {"model": Mistake, "description": "Authentic, but not an event"},
    401: refusal("Wrong signature, or too old"),
    408: refusal("The body did not arrive in time"),
    413: refusal("Above 1 MiB"),
    503: refusal("Not stored: send it again"),
}
MAY_NOT: Final[dict[int | str, dict[str, Any]]] = {
    403: refusal("No token is configured"),
    404: refusal("No such store"),
    422: refusal("Invalid shape"),
}
JSON_BODY: Final = {
    "requestBody": {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}},
}


async def raw_body(request: Request) -> bytes:
    """Return the bytes as received, which the signature covers. limits.Limits bounds their size and time."""
    return await request.body()


RawBody = Annotated[bytes, Depends(raw_body)]


class WebhookReceiver:
    """Measures, counts and logs webhooks, and turns errors into answers."""

    def __init__(self, service: Intake, metrics: WebhookMetrics) -> None:
        self._service = service
        self._metrics = metrics
        self._slots = threading.BoundedSemaphore(IN_PROGRESS_MAX)
        self._threads = anyio.CapacityLimiter(IN_PROGRESS_MAX)

    def answer(self, source: str, work: Callable[[], Result]) -> JSONResponse:
        """Run the work and return 202. The response is built here: FastAPI would validate it in a second thread."""
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

    async def answer_in_time(self, source: str, work: Callable[[], Result]) -> JSONResponse:
        """Run the work in a thread; 503 if it takes longer than `WAIT_S`: it may still end, and the sender sends again."""
        if not self._slots.acquire(blocking=False):
            raise _refusal(source, 503, StateError(f"{IN_PROGRESS_MAX} webhooks wait for the state", hint=SILENT_HINT))
        begun = threading.Lock()  # the side that acquires it releases the slot

        def taken() -> JSONResponse | None:
            if not begun.acquire(blocking=False):
                return None
            try:
                return self.answer(source, work)
            finally:
                self._slots.release()

        answer: JSONResponse | None = None
        try:
            with anyio.move_on_after(WAIT_S):
                answer = await anyio.to_thread.run_sync(taken, abandon_on_cancel=True, limiter=self._threads)
        finally:
            if begun.acquire(blocking=False):
                self._slots.release()
        if answer is None:
            raise _refusal(source, 503, StateError(f"the state did not answer within {WAIT_S:g} s", hint=SILENT_HINT))
        return answer

    def run_once(self, webhook_id: str, work: Callable[[], None]) -> Result:
        """Run the work unless this webhook was accepted before. An empty id is always new."""
        if webhook_id and self._service.is_webhook_done(webhook_id):
            return "duplicate"
        work()
        if webhook_id:
            self._service.note_webhook_done(webhook_id)
        return "queued"


def _refusal(source: str, status: int, error: ReconcilerError) -> HTTPException:
    _log.warning("webhook_refused", source=source, status=status, why=error.message, hint=error.hint)
    headers = {"retry-after": "5"} if status == 503 else None  # noqa: PLR2004  Service Unavailable
    return HTTPException(status, {"error": error.message, "hint": error.hint}, headers)


def _clerk_result(
    receiver: WebhookReceiver, service: Intake, sources: Sources, request: Request, body: bytes
) -> Result:
    if sources.clerk is None:
        raise ReconcilerError("no secret for Clerk's webhooks is configured", hint="set clerk.webhook_secrets")
    event = sources.clerk.read(request.headers, body)
    if event.foreign:
        _log.warning("webhook_ignored", type=event.type, hint="compare clerk.instance_id")
        return "ignored"
    if event.user_id is None:
        return "ignored"
    return receiver.run_once(f"clerk:{event.id}", lambda: service.accept_clerk_event(event))


def _shopify_result(
    receiver: WebhookReceiver,
    service: Intake,
    store: StoreName,
    reader: ShopifyWebhooks | None,
    request: Request,
    body: bytes,
) -> Result:
    if reader is None:
        raise ReconcilerError(f"no secret for the webhooks of {store} is configured", hint="set its webhook_secret")
    return _accept_shopify_event(receiver, service, store, reader.shop, reader.read(request.headers, body))


def _app_result(receiver: WebhookReceiver, service: Intake, sources: Sources, request: Request, body: bytes) -> Result:
    """As `_shopify_result`, for the store of the shop in the header, which counts only if that store's secret signed.

    Without a valid signature, all shops get the same answer in the same time, whether a store has them or not.
    """
    named = named_shop(request.headers)
    found = [
        (store, reader) for store, reader in sources.shops.items() if reader is not None and reader.has_name(named)
    ]
    store, reader = found[0] if found else (StoreName(""), UNKNOWN_SHOP)
    try:
        event = reader.read(request.headers, body)
    except Unauthentic:
        raise Unauthentic(
            "no store has the shop that this webhook names and a secret that signed it",
            hint="the shop must be in stores.yaml, with the app's client secret as webhook_secret",
        ) from None
    return _accept_shopify_event(receiver, service, store, reader.shop, event)


def _accept_shopify_event(
    receiver: WebhookReceiver, service: Intake, store: StoreName, shop: ShopDomain, event: ShopifyEvent
) -> Result:
    if event.new_name:
        hint = "if the shop was renamed, correct shop in stores.yaml"
        _log.warning("webhook_shop_renamed", store=store, shop=shop, named=event.new_name, hint=hint)

    def enqueue() -> None:
        if event.topic in SHOP_TOPICS:
            service.accept_shopify_event(store, event)
            return
        for customer in event.customers:
            service.nudge_customer(store, customer, reason=event.topic)

    if event.topic not in CUSTOMER_TOPICS | SHOP_TOPICS:
        return "ignored"
    return receiver.run_once(f"shopify:{store}:{event.topic}:{event.id}" if event.id else "", enqueue)


def routes(service: Intake, sources: Sources, metrics: WebhookMetrics) -> APIRouter:
    """Return the routes /webhooks/clerk, /webhooks/shopify and /webhooks/shopify/{store}."""
    router = APIRouter(tags=["webhooks"])
    receiver = WebhookReceiver(service, metrics)

    @router.post(
        "/webhooks/clerk", status_code=202, response_model=WebhookResult, responses=ERRORS, openapi_extra=JSON_BODY
    )
    async def clerk(request: Request, body: RawBody) -> JSONResponse:
        """Receives Clerk's webhooks, signed by Svix."""
        return await receiver.answer_in_time("clerk", lambda: _clerk_result(receiver, service, sources, request, body))

    @router.post(
        "/webhooks/shopify", status_code=202, response_model=WebhookResult, responses=ERRORS, openapi_extra=JSON_BODY
    )
    async def shopify_app(request: Request, body: RawBody) -> JSONResponse:
        """Receives the webhooks of an app for all its shops, with Shopify's HMAC."""
        return await receiver.answer_in_time("shopify", lambda: _app_result(receiver, service, sources, request, body))

    @router.post(
        "/webhooks/shopify/{store}",
        status_code=202,
        response_model=WebhookResult,
        responses={**ERRORS, 404: MAY_NOT[404], 422: MAY_NOT[422]},
        openapi_extra=JSON_BODY,
    )
    async def shopify(store: str, request: Request, body: RawBody) -> JSONResponse:
        """Receives a shop's webhooks, with Shopify's HMAC."""
        name = StoreName(store)
        try:
            reader = sources.shops[name]  # read once: the files may be reloaded at any moment
        except KeyError:
            said = {"error": "there is no such store", "hint": "the name is that of stores.yaml"}
            raise HTTPException(404, said) from None
        return await receiver.answer_in_time(
            "shopify", lambda: _shopify_result(receiver, service, name, reader, request, body)
        )

    return router
