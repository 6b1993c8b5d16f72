"""Probes and metrics. They hold no personal data and are open to whoever reaches the port.

They answer whatever the load does: none of them waits for the threads that webhooks and pages share. What has to be
asked of the state is asked in threads of their own, and what does not answer in time is a reason not to be ready.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, TypeVar

from anyio import CapacityLimiter, move_on_after, to_thread
from fastapi import APIRouter, Request, Response
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.exposition import choose_encoder
from pydantic import BaseModel

from reconciler.errors import ReconcilerError
from reconciler.server.service import Gauges

T = TypeVar("T")

READY_S: Final = 5.0  # for the state to answer; the manager says after three what it waits for
SCRAPE_S: Final = 8.0  # Prometheus gives up after ten
THREADS: Final = 4  # of the probes alone; more than these wait, and then time is up


class Health(BaseModel):
    """The process lives."""

    status: str = "alive"


class Readiness(BaseModel):
    """Whether work is being done, and if not, why."""

    ready: bool
    reasons: tuple[str, ...] = ()


class WebhookMetrics:
    """How webhooks fare: by where they come from and what became of them."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._total = Counter(
            "reconciler_webhooks", "Webhooks by source and result.", ("source", "result"), registry=registry
        )
        self._seconds = Histogram(
            "reconciler_webhook_duration_seconds",
            "Seconds from the complete body of a webhook to its answer.",
            ("source",),
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5),
            registry=registry,
        )
        for source in ("clerk", "shopify"):  # a counter that is born at 1 has no increase, and its alert can't fire
            for result in ("unauthentic", "not_an_event", "failed"):
                self._total.labels(source, result)

    def note(self, source: str, result: str, seconds: float) -> None:
        """One webhook was answered."""
        self._total.labels(source, result).inc()
        self._seconds.labels(source).observe(seconds)


class _Apart:
    """Calls in threads that no other request uses."""

    def __init__(self) -> None:
        self._limiter: CapacityLimiter | None = None

    async def ask(self, call: Callable[[], T], *, within_s: float) -> T | None:
        """What it gives; None where it takes longer, and then it ends by itself."""
        if self._limiter is None:  # made in the event loop that it belongs to
            self._limiter = CapacityLimiter(THREADS)
        with move_on_after(within_s):
            return await to_thread.run_sync(call, limiter=self._limiter, abandon_on_cancel=True)
        return None


def routes(service: Gauges) -> APIRouter:
    """/healthz, /readyz and /metrics."""
    router = APIRouter(tags=["probes"])
    apart = _Apart()

    @router.get("/healthz", summary="The process lives")
    async def healthz() -> Health:
        return Health()

    @router.get("/readyz", summary="Work is being done", responses={503: {"model": Readiness}})
    async def readyz(response: Response) -> Readiness:
        reasons = await apart.ask(partial(_reasons, service), within_s=READY_S)
        if reasons is None:
            reasons = [f"the state does not answer within {READY_S:g} s"]
        if reasons:
            response.status_code = 503
        return Readiness(ready=not reasons, reasons=tuple(reasons))

    @router.get(
        "/metrics",
        summary="Prometheus metrics",
        response_class=Response,
        responses={200: {"content": {"text/plain": {}, "application/openmetrics-text": {}}}},
    )
    async def metrics(request: Request) -> Response:
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        text = await apart.ask(lambda: encode(service.metrics()), within_s=SCRAPE_S)
        if text is None:
            return Response("the state does not answer in time\n", 503)
        return Response(text, headers={"content-type": content_type})

    return router


def _reasons(service: Gauges) -> Sequence[str]:
    """Why not; a state that does not even answer is a reason too."""
    try:
        return service.readiness()
    except ReconcilerError as error:
        return [error.message]
