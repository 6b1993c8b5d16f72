"""Probes and metrics. They hold no personal data and are open to whoever reaches the port."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import APIRouter, Request, Response
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.exposition import choose_encoder
from pydantic import BaseModel

from reconciler.errors import ReconcilerError
from reconciler.server.door import Gauges


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
            "Time from a webhook's whole body to its answer.",
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


def routes(door: Gauges) -> APIRouter:
    """/healthz, /readyz and /metrics."""
    router = APIRouter(tags=["probes"])

    @router.get("/healthz", summary="The process lives")
    def healthz() -> Health:
        return Health()

    @router.get("/readyz", summary="Work is being done", responses={503: {"model": Readiness}})
    def readyz(response: Response) -> Readiness:
        reasons = _reasons(door)
        if reasons:
            response.status_code = 503
        return Readiness(ready=not reasons, reasons=tuple(reasons))

    @router.get(
        "/metrics",
        summary="Prometheus metrics",
        response_class=Response,
        responses={200: {"content": {"text/plain": {}, "application/openmetrics-text": {}}}},
    )
    def metrics(request: Request) -> Response:
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(door.metrics()), headers={"content-type": content_type})

    return router


def _reasons(door: Gauges) -> Sequence[str]:
    """Why not; a state that does not even answer is a reason too."""
    try:
        return door.readiness()
    except ReconcilerError as error:
        return [error.message]
