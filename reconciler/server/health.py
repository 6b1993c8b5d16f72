"""Probes and metrics. They hold no personal data and are open to all clients that reach the port.

They answer under any load, since none waits for the threads that webhooks and pages share. Questions to the state run in
separate threads; if the state does not answer in time, the process is not ready.
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

READY_S: Final = 5.0  # for the state to answer; the manager reports after three what it waits for
SCRAPE_S: Final = 8.0  # Prometheus stops waiting after ten
THREADS: Final = 4  # for the probes only; further calls wait until their time is over


class Health(BaseModel):
    """The process runs."""

    status: str = "alive"


class Readiness(BaseModel):
    """Whether the replica works, and if not, why."""

    ready: bool
    reasons: tuple[str, ...] = ()


class WebhookMetrics:
    """Webhooks by source and result, and their durations."""

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
        for source in ("clerk", "shopify"):  # a counter that first appears at 1 shows no increase, so no alert fires
            for result in ("unauthentic", "not_an_event", "failed"):
                self._total.labels(source, result)

    def note(self, source: str, result: str, seconds: float) -> None:
        """Count one answered webhook."""
        self._total.labels(source, result).inc()
        self._seconds.labels(source).observe(seconds)


class _ProbeThreads:
    """Runs calls in threads that no other request uses."""

    def __init__(self) -> None:
        self._limiter: CapacityLimiter | None = None

    async def ask(self, call: Callable[[], T], *, within_s: float) -> T | None:
        """Return the call's result; None if it takes longer, and then it ends unattended."""
        if self._limiter is None:  # created in the event loop that uses it
            self._limiter = CapacityLimiter(THREADS)
        with move_on_after(within_s):
            return await to_thread.run_sync(call, limiter=self._limiter, abandon_on_cancel=True)
        return None


def routes(service: Gauges) -> APIRouter:
    """Return the routes /healthz, /readyz and /metrics."""
    router = APIRouter(tags=["probes"])
    threads = _ProbeThreads()

    @router.get("/healthz", summary="The process runs")
    async def healthz() -> Health:
        return Health()

    @router.get("/readyz", summary="The replica works", responses={503: {"model": Readiness}})
    async def readyz(response: Response) -> Readiness:
        reasons = await threads.ask(partial(_reasons, service), within_s=READY_S)
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
        text = await threads.ask(lambda: encode(service.metrics()), within_s=SCRAPE_S)
        if text is None:
            return Response("the state does not answer in time\n", 503)
        return Response(text, headers={"content-type": content_type})

    return router


def _reasons(service: Gauges) -> Sequence[str]:
    """Return why the process is not ready; an error of the state is one of the reasons."""
    try:
        return service.readiness()
    except ReconcilerError as error:
        return [error.message]
