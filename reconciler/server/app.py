"""The application: webhooks and probes as JSON with an OpenAPI page, the console as HTML. Created once by the manager.

    app = make_app(service, Options(host="127.0.0.1", sources=…, clock=…))

Handlers are plain functions and run in threads; only request bodies are awaited.
"""

from __future__ import annotations

from dataclasses import field
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from reconciler.core.model.frozen import frozen
from reconciler.ports import Clock
from reconciler.server import acting, api, console, health, nudges, webhooks
from reconciler.server.access import Access
from reconciler.server.limits import BODY_MAX, BODY_S, InFlight, Limits, SecurityHeaders, set_security_headers
from reconciler.server.plain_requests import PlainRequests
from reconciler.server.refusals import FIRST_S, SlowRefusals
from reconciler.server.service import Service
from reconciler.server.tokens import AccessTokens


@frozen
class Options:
    """Options of one server. `host` decides whether the console may be open without a token."""

    sources: webhooks.Sources
    clock: Clock
    host: str = "127.0.0.1"
    tokens: AccessTokens = field(default_factory=AccessTokens)
    body_max: int = BODY_MAX
    body_s: float = BODY_S
    wrong_token_s: float = FIRST_S


def make_app(service: Service, options: Options) -> FastAPI:
    """Return the application on this service. It registers its counters in the service's metrics: once per registry."""
    app = FastAPI(title="customer-parity", version=version("customer-parity"), docs_url=None, redoc_url=None)
    app.router.redirect_slashes = False
    access = Access(options.host, options.tokens, is_ended=service.is_session_ended)
    metrics = health.WebhookMetrics(service.metrics())
    app.include_router(webhooks.routes(service, options.sources, metrics))
    app.include_router(nudges.routes(service, options.sources, access, metrics))
    app.include_router(health.routes(service))
    app.include_router(api.routes(service, access, options.clock, stores=options.sources.shops))
    app.include_router(acting.routes(service, access, options.clock, stores=options.sources.shops))
    app.include_router(console.routes(service, access, options.clock, stores=options.sources.shops))
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _wrong_shape)
    app.add_exception_handler(Exception, _our_fault)
    app.add_middleware(Limits, body_max=options.body_max, body_s=options.body_s)
    app.add_middleware(SlowRefusals, first_s=options.wrong_token_s)
    app.add_middleware(InFlight)
    app.add_middleware(SecurityHeaders)
    app.add_middleware(PlainRequests)
    return app


async def _http_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    detail: Any = error.detail
    said = detail if isinstance(detail, dict) else {"error": str(detail), "hint": ""}
    return JSONResponse(said, error.status_code, headers=error.headers)


async def _wrong_shape(_request: Request, error: Exception) -> Response:
    """Return the invalid parts of the request, without their values."""
    assert isinstance(error, RequestValidationError)
    wrong = sorted({f"{'.'.join(str(part) for part in e['loc'])}: {e['msg']}" for e in error.errors()})
    return JSONResponse({"error": "; ".join(wrong), "hint": "see /openapi.json for the expected shape"}, 422)


async def _our_fault(_request: Request, _error: Exception) -> Response:
    """Answer 500 for a defect. This runs outside all middleware, so it sets the security headers itself."""
    response = JSONResponse({"error": "this is a defect in the program", "hint": "see the log for the traceback"}, 500)
    set_security_headers(response.headers)
    return response
