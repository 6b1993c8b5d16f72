"""The JSON API on a running controller: the same documents as the commands print."""

from __future__ import annotations

from typing import Any

from tests.manager.harness import US, RunHarness, Running, until


def get(run: Running, path: str) -> Any:
    """The document, asked for until it is made."""

    def made() -> Any:
        answer = run.client.get(path)
        assert answer.status_code in {200, 202}, answer.text
        return answer.json() if answer.status_code == 200 else None

    return until(made, f"{path} is made")


def test_a_paused_store_has_a_pending_plan_with_withheld_actions(harness: RunHarness) -> None:
    for n in range(3):
        harness.person(f"user_{n}")
    harness.stores[US]["paused"] = True
    with harness.replica() as run:
        run.scanned_all()
        before = harness.mutations()
        plan = get(run, f"/api/plan?store={US}")
        (store,) = plan["stores"]
        assert [hold["action"]["kind"] for hold in store["holds"]] == ["create"] * 3
        assert plan["digest"].startswith("sha256:")
        calls = sum(harness.shop().counts.values())
        assert get(run, f"/api/plan?store={US}") == plan
        assert sum(harness.shop().counts.values()) == calls  # the same plan is not made again
        assert harness.mutations() == before
        person = get(run, "/api/people/user_1")
        assert person["stores"][0]["next"]["holds"][0]["reason"] == "StorePaused"
        assert run.client.get("/api/people/user_unknown").status_code == 404
        assert get(run, "/api/status")["stores"][0]["paused"] == "paused in stores.yaml"
        (full,) = get(run, "/api/runs?kind=full_resync")["runs"][:1]
        assert (full["outcome"], full["actor"]["via"]) == ("done", "schedule")
        assert get(run, f"/api/runs/{full['id']}")["events"] == []


def test_a_shop_that_can_not_be_read_is_an_error_in_its_part(harness: RunHarness) -> None:
    harness.person("user_a")
    with harness.replica() as run:
        run.scanned_all()
        assert [event["kind"] for event in get(run, "/api/changes")["events"]] == ["create"]
        assert get(run, "/api/people?q=user_a")["people"][0]["status"] == "in_sync"
        harness.shop().faults.add("status", status=500, times=None)
        assert get(run, "/api/people/user_a")["stores"][0]["error"]
        assert get(run, f"/api/plan?store={US}")["stores"][0]["error"]
        harness.shop().faults.clear()
