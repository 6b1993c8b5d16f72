"""Handles one GraphQL call on one shop, from its bytes to its response, for `app.py`.

In order: faults before execution, the shop's state, the token, the document, its variables, its cost, the execution, the
refund, faults after execution. Status codes and bodies: Shopify Admin API, read 2026-11-23.
"""

import asyncio
import json
from dataclasses import dataclass
from typing import Any, Final

from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import Receive, Scope, Send

from reconciler.simulator.control import fallback
from reconciler.simulator.faults import Fault
from reconciler.simulator.graphql.costs import COST_MAX, cost_report
from reconciler.simulator.graphql.documents import Json, ParsedDocument, RefusedError, prepare, runnable
from reconciler.simulator.graphql.execution import Execution, internal_error
from reconciler.simulator.ledger import user_error
from reconciler.simulator.world import SimShop, World

RATE_LIMITS: Final = "https://shopify.dev/api/usage/rate-limits"
BODIES: Final[dict[int, Any]] = {
    400: {"errors": "Bad Request"},
    401: {"errors": "[API] Invalid API key or access token (unrecognized login or wrong password)"},
    402: {"errors": "Unavailable Shop"},
    403: {"errors": "[API] This action requires merchant approval for the necessary scope."},
    404: {"errors": "Not Found"},
    423: {"errors": "[API] This shop is unavailable"},
    429: {"errors": "Exceeded 2 calls per second for api client. Reduce request rates."},
    430: {"errors": "Forbidden"},
}
_USER_ERRORS: Final = {
    "user_error": ("This change is not allowed", "INVALID"),
    "internal_user_error": ("Something went wrong, please try again", "INTERNAL_ERROR"),
}
PAGE: Final = "<!DOCTYPE html><html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>"


class LostAnswer(Response):
    """Drops the connection without a byte. Without a transport (in-process) it raises ConnectionResetError instead."""

    async def __call__(self, _scope: Scope, receive: Receive, _send: Send) -> None:
        transport = getattr(getattr(receive, "__self__", None), "transport", None)
        if transport is None:
            raise ConnectionResetError("the simulator dropped the connection")
        transport.abort()
        await asyncio.sleep(0)  # lets uvicorn notice it, otherwise it would respond with 500


@dataclass(frozen=True, slots=True)
class GraphQLCall:
    """A received call. `document` is None if the body is not a GraphQL request, or the errors that refuse it."""

    token: str | None
    document: ParsedDocument | tuple[Json, ...] | None
    variables: Json
    request_id: str

    @property
    def roots(self) -> tuple[str, ...]:
        return self.document.roots if isinstance(self.document, ParsedDocument) else ()

    @property
    def kind(self) -> str:
        return self.document.kind if isinstance(self.document, ParsedDocument) else "query"


@dataclass(frozen=True, slots=True)
class CallAnswer:
    """The response, its cost in points, and the outcome: done, lost, refused, throttled, denied, fault."""

    response: Response
    cost: int
    outcome: str


def read_call(content_type: str, body: bytes, token: str | None, request_id: str) -> GraphQLCall:
    """The call in a request's body."""
    if content_type.startswith("application/graphql"):
        return GraphQLCall(token, prepare(body.decode(errors="replace")), {}, request_id)
    unread = GraphQLCall(token, None, {}, request_id)
    if not content_type.startswith("application/json"):
        return unread
    try:
        sent = json.loads(body)
    except ValueError:
        return unread
    if not isinstance(sent, dict) or not isinstance(sent.get("query"), str):
        return unread
    variables = sent.get("variables") or {}
    if not isinstance(variables, dict):
        return unread
    return GraphQLCall(token, prepare(sent["query"], sent.get("operationName")), variables, request_id)


def answer(world: World, sim: SimShop, call: GraphQLCall, fault: Fault | None) -> CallAnswer:
    """Execute the call and return the shop's response."""
    kind = None if fault is None else fault.kind
    if kind == "lost_before":
        return CallAnswer(LostAnswer(), 0, "lost_before")
    if fault is not None and kind in {"status", "html"}:
        return CallAnswer(status_response(fault.status or (200 if kind == "html" else 500), fault), 0, "fault")
    status = sim.status or (None if sim.tokens.accepts(call.token) else 401)
    if status is not None:
        return CallAnswer(status_response(status), 0, "refused")
    sim.tokens.record_use(str(call.token))
    if call.document is None:
        return CallAnswer(
            JSONResponse({"errors": {"query": "Required parameter missing or invalid"}}, 400), 0, "refused"
        )
    try:
        document = runnable(call.document, call.variables)
    except RefusedError as refused:
        return CallAnswer(JSONResponse({"errors": refused.errors}), 0, "refused")
    return _paid(world, sim, call, document, fault)


def _paid(world: World, sim: SimShop, call: GraphQLCall, document: ParsedDocument, fault: Fault | None) -> CallAnswer:
    kind = None if fault is None else fault.kind
    requested = sim.costs.request_cost(document.operation, document.fragments, call.variables)
    if requested > COST_MAX:
        return CallAnswer(JSONResponse(_max_cost(requested, sim)), 0, "refused")
    if kind == "throttled" or not sim.bucket.take(requested):
        return CallAnswer(JSONResponse(_throttled(requested, sim)), 0, "throttled")
    if kind in {"internal_error", "internal_user_error", "null_payload", "user_error"}:
        reply: Json = {"data": None, "errors": [internal_error(call.request_id)]}
        if kind == "null_payload":
            reply = {"data": dict.fromkeys(document.roots)}
        if kind in _USER_ERRORS:
            message, code = _USER_ERRORS[kind]
            error = user_error(None, message, code)
            reply = {"data": {root: {"userErrors": [error], "customer": None} for root in document.roots}}
        reply["extensions"] = {"cost": cost_report(requested, requested, sim.bucket)}
        return CallAnswer(JSONResponse(reply), requested, "fault")
    denied = frozenset(document.roots) if kind == "missing_scope" else frozenset()
    with sim.lock:
        run = Execution(sim.shop, fallback(world, sim), denied)
        reply = run.run(document, call.variables, call.request_id)
    actual = min(requested, sim.costs.actual(document.operation, document.fragments, call.variables, reply["data"]))
    sim.bucket.refund(requested - actual)
    reply.setdefault("extensions", {})["cost"] = cost_report(requested, actual, sim.bucket)
    return _deliver(reply, actual, call, fault)


def _deliver(reply: Json, cost: int, call: GraphQLCall, fault: Fault | None) -> CallAnswer:
    """Return the response of an executed call, or apply a fault after execution."""
    kind = None if fault is None else fault.kind
    if fault is not None and kind == "status_after":
        return CallAnswer(status_response(fault.status or 503, fault), cost, "lost")
    if kind == "lost_after":
        return CallAnswer(LostAnswer(), cost, "lost")
    if kind == "internal_error_after":
        reply = {"data": None, "errors": [internal_error(call.request_id)], "extensions": reply["extensions"]}
        return CallAnswer(JSONResponse(reply), cost, "lost")
    if kind == "truncated":
        whole = JSONResponse(reply).body
        return CallAnswer(Response(bytes(whole[: len(whole) // 2]), media_type="application/json"), cost, "lost")
    return CallAnswer(_written(reply), cost, "denied" if kind == "missing_scope" else "done")


def _written(reply: Json) -> Response:
    """The reply as JSON; a lone surrogate, which UTF-8 can't encode, is written as an escape."""
    try:
        return JSONResponse(reply)
    except UnicodeEncodeError:
        return Response(json.dumps(reply, separators=(",", ":")).encode(), media_type="application/json")


def status_response(status: int, fault: Fault | None = None) -> Response:
    """A response that is not GraphQL: Shopify's body for the status, or that of a fault."""
    headers = {}
    if fault is not None and fault.retry_after_s is not None:
        headers["Retry-After"] = f"{fault.retry_after_s:g}"
    if fault is not None and fault.kind == "html":
        return HTMLResponse(fault.body or PAGE.format(title="Something went wrong"), status, headers)
    if fault is not None and fault.body is not None:
        return Response(fault.body, status, headers, media_type="application/json")
    if status in BODIES:
        return JSONResponse(BODIES[status], status, headers)
    return HTMLResponse(PAGE.format(title=f"{status}: there was a problem loading this page"), status, headers)


def _throttled(requested: int, sim: SimShop) -> Json:
    error = {"message": "Throttled", "extensions": {"code": "THROTTLED", "documentation": RATE_LIMITS}}
    return {"errors": [error], "extensions": {"cost": cost_report(requested, None, sim.bucket)}}


def _max_cost(requested: int, sim: SimShop) -> Json:
    error = {
        "message": f"Query cost is {requested}, which exceeds the single query max cost limit ({COST_MAX}).",
        "extensions": {
            "code": "MAX_COST_EXCEEDED",
            "cost": requested,
            "maxCost": COST_MAX,
            "documentation": RATE_LIMITS,
        },
    }
    return {"errors": [error], "extensions": {"cost": cost_report(requested, None, sim.bucket)}}
