"""/healthz, /readyz, /metrics, and what every response carries."""

from __future__ import annotations

import httpx
import pytest
from prometheus_client import Gauge
from prometheus_client.parser import text_string_to_metric_families

from reconciler.errors import StateError
from tests.server.services import MemoryService, serving


def test_the_process_lives_even_where_nothing_else_does(http: httpx.Client, service: MemoryService) -> None:
    service.fails = StateError("the state's database can't be used")
    assert http.get("/healthz").json() == {"status": "alive"}


@pytest.mark.parametrize("path", ["/healthz", "/healthz/", "/readyz", "/metrics"])
def test_a_monitor_that_asks_for_no_body_is_answered(http: httpx.Client, path: str) -> None:
    answer = http.head(path)
    assert (answer.status_code, answer.content) == (200, b"")
    assert int(answer.headers["content-length"]) > 0
    assert http.get("/healthz").status_code == 200  # over the same connection


def test_it_is_ready_where_no_reason_speaks_against_it(http: httpx.Client) -> None:
    answer = http.get("/readyz")
    assert (answer.status_code, answer.json()) == (200, {"ready": True, "reasons": []})


def test_it_is_not_ready_and_says_why(http: httpx.Client, service: MemoryService) -> None:
    service.reasons = ["no request was finished for 600 s, and 12 are waiting"]
    answer = http.get("/readyz")
    assert (answer.status_code, answer.json()) == (503, {"ready": False, "reasons": service.reasons})


def test_a_state_that_does_not_answer_is_a_reason(http: httpx.Client, service: MemoryService) -> None:
    service.fails = StateError("the state's database can't be used")
    answer = http.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["reasons"] == ["the state's database can't be used"]


@pytest.mark.parametrize(
    ("accept", "kind"),
    [("", "text/plain"), ("application/openmetrics-text; version=1.0.0", "application/openmetrics-text")],
)
def test_metrics_are_what_prometheus_reads(accept: str, kind: str) -> None:
    service = MemoryService()
    Gauge("reconciler_parity", "Parity.", ("store",), registry=service.registry).labels("acme-us").set(0.5)
    with serving(service) as http:
        answer = http.get("/metrics", headers={"accept": accept})
    assert answer.headers["content-type"].startswith(f"{kind}; version=")
    assert answer.headers["content-type"].count("charset") == 1
    assert 'reconciler_parity{store="acme-us"} 0.5' in answer.text
    if kind == "text/plain":
        assert {family.name for family in text_string_to_metric_families(answer.text)} >= {"reconciler_webhooks"}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/healthz"),
        ("GET", "/metrics"),
        ("GET", "/"),
        ("GET", "/nowhere"),
        ("GET", "/static/console.css"),
        ("GET", "/openapi.json"),
        ("POST", "/webhooks/clerk"),
        ("DELETE", "/webhooks/clerk"),
        ("POST", "/nudge"),
    ],
)
def test_every_response_carries_the_security_headers(http: httpx.Client, method: str, path: str) -> None:
    headers = http.request(method, path).headers
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "same-origin"
    assert ("no-store" in headers["cache-control"]) == (path != "/static/console.css")
    assert "server" not in headers
    assert "webhook-delivery" not in headers


def test_a_failure_of_our_own_is_500_with_the_headers_and_without_its_words() -> None:
    class Broken(MemoryService):
        def readiness(self) -> list[str]:
            raise LookupError("tove@tove.example")

    with serving(Broken()) as http:
        answer = http.get("/readyz")
    assert answer.status_code == 500
    assert "tove" not in answer.text
    assert answer.headers["x-frame-options"] == "DENY"


def test_what_is_not_there_is_404_in_the_same_words_as_other_mistakes(http: httpx.Client) -> None:
    answer = http.get("/nowhere")
    assert (answer.status_code, set(answer.json())) == (404, {"error", "hint"})
    assert http.get("/docs").status_code == 404
