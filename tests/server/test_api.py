"""The JSON API: who may read it, its documents, and what it answers while a document is being made."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import httpx
import pytest

from reconciler.core.model.act import Act, Actor
from reconciler.core.model.ids import ClerkUserId
from reconciler.core.model.run import Run, RunCounts
from reconciler.core.report.answer import Candidate, Former
from reconciler.core.report.parity import ParitySample
from reconciler.core.report.pending import Pending
from reconciler.core.report.status import StatusRow
from reconciler.errors import StateError
from tests.server.services import EU, NOON, NUDGE, SHOP_US, TOKEN, US, VIEWER, MemoryService, options, serving
from tests.server.test_console import TOVE, happened, row

READS = {"authorization": f"Bearer {VIEWER}"}
ADA = Actor("ada", "console")
PATHS = [
    "/api/status", "/api/people", f"/api/people/{TOVE}", "/api/plan?store=acme-us", "/api/runs", "/api/runs/1",
    "/api/runs/1/undo", "/api/changes", "/api/parity?store=acme-us",
]  # fmt: skip


def a_run(number: int, **changes: Any) -> Run:
    known: dict[str, Any] = {
        "id": number, "kind": "apply", "stores": (US,), "actor": ADA, "began_at": NOON, "ended_at": NOON,
        "outcome": "done", "counts": RunCounts(actions={"update": 2}, holds=1), "plan_digest": "sha256:d",
    }  # fmt: skip
    return Run(**(known | changes))


@pytest.fixture(autouse=True)
def known(service: MemoryService) -> None:
    service.mappings = [row(), row("user_other")]
    service.all_runs = [a_run(1), a_run(2, kind="resync", stores=(EU,)), a_run(3, outcome="running", ended_at=None)]
    service.events = [happened(run_id=1), happened(store=EU)]
    service.all_acts = [Act(NOON, ADA, "pause", US), Act(NOON, ADA, "nudge", user=TOVE, detail={"why": "asked"})]
    service.rows = [StatusRow(store=US, shop=SHOP_US, profiles=1, mapped=1, in_sync=1, pending=0, parity=1.0)]
    service.samples = [
        ParitySample(SHOP_US, NOON - timedelta(days=n), 4, 3, 1, 0, None if n else 0.75) for n in (9, 1, 0)
    ]


@pytest.mark.parametrize("path", PATHS)
def test_viewers_and_operators_read_and_others_learn_why_not(http: httpx.Client, path: str) -> None:
    for token, status in ((VIEWER, 200), (TOKEN, 200), (NUDGE, 403), ("wrong", 401)):
        answer = http.get(path, headers={"authorization": f"Bearer {token}"})
        assert answer.status_code == status, token
    nothing = http.get(path)
    assert (nothing.status_code, set(nothing.json())) == (401, {"error", "hint"})
    http.post("/login", data={"token": VIEWER})
    assert http.get(path).status_code == 200
    with serving(MemoryService(), options(console_token="")) as open_to_this_machine:
        assert open_to_this_machine.get("/api/status").status_code == 200
        assert open_to_this_machine.get("/api/status", headers={"x-forwarded-for": "1.2.3.4"}).status_code == 401


def test_documents_have_the_shapes_of_the_commands(http: httpx.Client, service: MemoryService) -> None:
    def get(path: str) -> Any:
        return http.get(path, headers=READS).json()

    status = get("/api/status")
    assert (status["at"], status["stores"][0]["store"]) == ("2026-11-23T12:00:00Z", US)
    assert status["replicas"][0]["owner"] == "one"
    assert [person["clerk_user_id"] for person in get("/api/people")["people"]] == ["user_other", TOVE]
    assert get("/api/people?limit=1")["more"] is True
    assert [p["clerk_user_id"] for p in get("/api/people?q=user_o")["people"]] == ["user_other"]
    service.unmapped = [Candidate(ClerkUserId("user_grace"), "Grace Hopper", "grace@example.com")]
    others = [{"clerk_user_id": "user_grace", "name": "Grace Hopper", "email": "grace@example.com"}]
    assert get("/api/people?q=Grace")["unmapped"] == others
    assert get("/api/people")["unmapped"] == get("/api/people?q=Grace&status=held")["unmapped"] == []
    service.former = [
        Former(clerk_user_id=TOVE, store=US, field="email", value="old@example.com", now="tove@example.com")
    ]
    (was,) = get("/api/people?q=old@example.com")["former"]
    assert (was["clerk_user_id"], was["last_written_at"]) == (TOVE, None)
    assert was["answer"] == f"old@example.com was the email of {TOVE} in {US}; it is tove@example.com now."
    assert get("/api/people?q=old@example.com&status=held")["former"] == get("/api/people?q=user_o")["former"] == []
    person = get(f"/api/people/{TOVE}")
    assert [part["store"] for part in person["stores"]] == [US]
    assert [act["kind"] for act in person["acts"]] == ["nudge"]
    assert get("/api/plan?store=acme-us")["stores"][0]["actions"] == []
    line = get("/api/parity?store=acme-us&days=2")
    assert [(sample["at"], sample["parity"]) for sample in line["samples"]] == [
        ("2026-11-22T12:00:00Z", None), ("2026-11-23T12:00:00Z", 0.75),
    ]  # fmt: skip


def test_runs_are_paged_and_one_has_its_events(http: httpx.Client) -> None:
    first = http.get("/api/runs?limit=2", headers=READS).json()
    assert ([run["id"] for run in first["runs"]], first["before"]) == ([3, 2], 2)
    last = http.get("/api/runs?limit=2&before=2", headers=READS).json()
    assert ([run["id"] for run in last["runs"]], last["before"]) == ([1], None)
    assert [r["id"] for r in http.get("/api/runs?store=acme-eu&kind=resync", headers=READS).json()["runs"]] == [2]
    one = http.get("/api/runs/1", headers=READS).json()
    assert one["run"]["actor"] == {"name": "ada", "via": "console"}
    assert one["run"]["counts"] == {"users": 0, "actions": {"update": 2}, "queued": 0, "holds": 1, "failures": 0}
    assert [event["run_id"] for event in one["events"]] == [1]
    assert http.get("/api/runs/9", headers=READS).status_code == 404


def test_changes_are_paged_by_the_place_of_the_page_before(http: httpx.Client, service: MemoryService) -> None:
    service.events = [happened(at=NOON - timedelta(minutes=n)) for n in range(5)]
    seen: list[str] = []
    before = None
    while len(seen) < 9:
        asked: dict[str, str | int] = {"limit": 2, "kind": "update", "field": "first_name"}
        asked |= {"before": before} if before else {}
        found = http.get("/api/changes", params=asked, headers=READS).json()
        seen += [event["at"] for event in found["events"]]
        if (before := found["before"]) is None:
            break
    assert seen == sorted(seen, reverse=True)
    assert len(set(seen)) == 5
    assert http.get("/api/changes?actor=ada", headers=READS).json()["acts"]
    assert http.get("/api/changes?actor=bob", headers=READS).json()["acts"] == []
    for wrong in ("before=x", "since=soon", "before=1"):
        assert http.get(f"/api/changes?{wrong}", headers=READS).status_code == 422, wrong


@pytest.mark.parametrize(
    "asked",
    ["changes?kind=a%00", "changes?field=a%00", "changes?actor=a%00", "changes?since=0001-01-01T00:00:00%2B14:00",
     "changes?until=9999-12-31T23:59:59-14:00", "changes?before=1-2147483648", "people?reason=%00"],
)  # fmt: skip
def test_what_a_database_can_not_compare_is_422_and_not_a_failure_of_the_state(http: httpx.Client, asked: str) -> None:
    assert http.get(f"/api/{asked}", headers=READS).status_code == 422


def test_changes_are_events_and_acts(http: httpx.Client) -> None:
    changes = http.get("/api/changes?store=acme-us", headers=READS).json()
    assert [event["store"] for event in changes["events"]] == [US]
    assert [(act["kind"], act["actor"]["name"]) for act in changes["acts"]] == [("pause", "ada")]
    assert [act["kind"] for act in http.get(f"/api/changes?user={TOVE}", headers=READS).json()["acts"]] == ["nudge"]


@pytest.mark.parametrize("path", [f"/api/people/{TOVE}", "/api/plan?store=acme-us"])
def test_a_document_that_is_being_made_is_202_with_how_far_it_is(
    http: httpx.Client, service: MemoryService, path: str
) -> None:
    service.pending = Pending(NOON, read=120)
    answer = http.get(path, headers=READS)
    assert (answer.status_code, answer.headers["retry-after"]) == (202, "2")
    assert answer.json() == {"status": "pending", "since": "2026-11-23T12:00:00Z", "read": 120}


def test_unknown_names_are_404_and_a_state_that_does_not_answer_is_503(
    http: httpx.Client, service: MemoryService
) -> None:
    for path in ("/api/people/user_unknown", "/api/plan?store=x", "/api/parity?store=x", "/api/runs?store=x"):
        assert http.get(path, headers=READS).status_code == 404, path
    service.fails = StateError("the state is away", hint="wait")
    for path in ("/api/status", f"/api/people/{TOVE}"):
        answer = http.get(path, headers=READS)
        assert (answer.status_code, answer.json()) == (503, {"error": "the state is away", "hint": "wait"})
