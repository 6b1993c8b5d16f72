"""What operators do at the console of a running controller: it is done, and recorded with who did it."""

from __future__ import annotations

from typing import Any

import httpx

from reconciler.core.model.act import Actor
from reconciler.core.model.ids import StoreName
from tests.manager.harness import US, RunHarness, Running, now_text, until
from tests.manager.test_api import get

ADA = {"authorization": "Bearer a-token-of-ada"}
TOKENS = [{"name": "ada", "role": "operator", "token": "a-token-of-ada"}]


def act(running: Running, /, **wish: Any) -> httpx.Response:
    return running.client.post("/api/acts", json=wish, headers=ADA)


def signed_in(run: Running) -> None:
    assert run.client.post("/login", data={"token": "a-token-of-ada"}).status_code == 303


def test_a_store_is_paused_and_resumed_at_the_console(harness: RunHarness) -> None:
    harness.settings["server"] = {"tokens": TOKENS}
    harness.person("user_a", first_name="Ada")
    with harness.replica(files_s=3600.0) as run:
        run.scanned_all()
        signed_in(run)
        assert act(run, kind="pause", store=US).json()["status"] == "done"
        assert act(run, kind="pause", store=US).json()["status"] == "unchanged"
        assert get(run, "/api/status")["stores"][0]["paused_by"] == "ada"
        harness.person("user_a", first_name="Grace")
        assert act(run, kind="reconcile", user="user_a").status_code == 202
        until(lambda: run.status("user_a") == "held", "this replica follows immediately")
        assert act(run, kind="resume", store=US).json()["status"] == "done"
        until(lambda: harness.customers()["user_a@example.com"]["firstName"] == "Grace", "it was written")
        acts = get(run, "/api/changes")["acts"]
        assert [(one["kind"], one["actor"]) for one in acts] == [
            (kind, {"name": "ada", "via": "console"}) for kind in ("resume", "nudge", "pause")
        ]


def test_what_a_guard_withholds_is_applied_by_exactly_the_digest_that_was_shown(harness: RunHarness) -> None:
    harness.settings["server"] = {"tokens": TOKENS}
    harness.stores[US]["guards"] = {"create": {"max": 1}}
    for n in range(3):
        harness.person(f"user_{n}")
    with harness.replica() as run:
        run.scanned_all()
        signed_in(run)
        plan = get(run, f"/api/plan?store={US}")
        assert [hold["reason"] for hold in plan["stores"][0]["holds"]] == ["GuardExceeded"] * 3
        harness.person("user_3")
        refused = until(lambda: _ended(act(run, kind="approve", store=US, digest=plan["digest"])), "it was planned")
        assert refused.status_code == 409
        assert f"the approved digest is {plan['digest']}" in refused.json()["error"]
        assert harness.emails() == []
        harness.gone("user_3")
        wish = {"kind": "approve", "plans": {US: plan["digest"]}}
        answer = until(lambda: _ended(act(run, **wish)), "it was applied")
        assert answer.json()["refused"] == {}
        done = answer.json()["run"]
        assert (done["counts"]["actions"], done["outcome"]) == ({"create": 3}, "done")
        assert done["actor"] == {"name": "ada", "via": "console"}
        assert len(harness.emails()) == 3
        events = get(run, f"/api/runs/{done['id']}")["events"]
        assert {event["clerk_user_id"] for event in events} == {"user_0", "user_1", "user_2"}
        assert [one["kind"] for one in get(run, "/api/changes")["acts"]] == ["approve"]


def _ended(answer: httpx.Response) -> httpx.Response | None:
    return None if answer.status_code == 202 else answer


def test_a_suspended_store_is_probed_and_a_user_forgotten(harness: RunHarness) -> None:
    harness.settings["server"] = {"tokens": TOKENS}
    harness.person("user_a")
    with harness.replica(probe_first_s=3600.0, probe_every_s=3600.0) as run:
        run.scanned_all()
        signed_in(run)
        harness.shop().faults.add("status", status=401, times=None)
        assert act(run, kind="nudge", store=US).status_code == 202
        until(lambda: get(run, "/api/status")["stores"][0]["suspended"], "the store is suspended")
        refused = until(lambda: _ended(act(run, kind="probe", store=US)), "the shop was called").json()["found"]
        assert refused.startswith("the shop refuses access: ")
        harness.shop().faults.clear()
        found = until(lambda: _ended(act(run, kind="probe", store=US)), "the shop was called").json()["found"]
        assert found.startswith("the shop grants access: ")
        until(lambda: get(run, "/api/status")["stores"][0]["suspended"] is None, "it was probed")
        run.settled()
        until(lambda: not run.manager.schedule.has_full_resync(StoreName(US)), "the resumed store was scanned")
        scans = len(get(run, "/api/runs?kind=full_resync")["runs"])
        run.components.acts(Actor("ops", "command")).nudge_all(run.components.stores([US])[0])
        until(lambda: len(get(run, "/api/runs?kind=full_resync")["runs"]) > scans, "run follows a command")
        assert act(run, kind="forget", user="user_a").json()["status"] == "done"
        assert act(run, kind="forget", user="user_b").status_code == 404
        kinds = [one["kind"] for one in get(run, "/api/changes?user=user_a")["acts"]]
        assert kinds == ["forget"]


def test_accepted_drift_is_left_alone_until_it_is_over_or_to_be_healed_now(harness: RunHarness) -> None:
    harness.settings["server"] = {"tokens": TOKENS}
    harness.person("user_a", first_name="Ada")
    with harness.replica() as run:
        run.scanned_all()
        signed_in(run)
        drift = {"store": US, "user": "user_a", "fields": ["first_name"]}
        for end in ("heal", "until"):
            until_ = now_text(days=1) if end == "heal" else now_text(seconds=2)
            assert act(run, kind="accept", **drift, until=until_).json()["status"] == "done"
            harness.shop().staff("edit", id=harness.customers()["user_a@example.com"]["id"], first_name="Adele")
            assert act(run, kind="reconcile", user="user_a").status_code == 202
            run.settled()
            [store] = get(run, "/api/people/user_a")["stores"]
            if end == "heal":
                assert [(one["by"], one["change"]["before"]) for one in store["acceptances"]] == [
                    ("ada (console)", "Adele")
                ]
                assert get(run, "/api/status")["stores"][0]["accepted"] == 1
                assert act(run, kind="heal", store=US, user="user_a").json()["status"] == "done"
            until(lambda: harness.customers()["user_a@example.com"]["firstName"] == "Ada", "the drift was healed")
        assert act(run, kind="heal", store=US, user="user_a").json()["status"] == "unchanged"


def test_a_run_is_undone_by_exactly_the_plan_that_was_shown(harness: RunHarness) -> None:
    harness.settings["server"] = {"tokens": TOKENS}
    harness.stores[US]["guards"] = {"update": {"max": 0}}
    harness.person("user_a", first_name="Ada")
    with harness.replica() as run:
        run.scanned_all()
        signed_in(run)
        harness.person("user_a", first_name="Grace")
        plan = get(run, f"/api/plan?store={US}")
        applied = until(lambda: _ended(act(run, kind="approve", store=US, digest=plan["digest"])), "it was applied")
        number = applied.json()["run"]["id"]
        assert harness.customers()["user_a@example.com"]["firstName"] == "Grace"
        [back] = get(run, f"/api/runs/{number}/undo")["stores"]
        assert [hold["action"]["changes"][0]["after"] for hold in back["holds"]] == ["Ada"]
        digest = get(run, f"/api/runs/{number}/undo")["digest"]
        refused = until(lambda: _ended(act(run, kind="undo", run=number, digest=plan["digest"])), "it was planned")
        assert refused.status_code == 409
        undone = until(lambda: _ended(act(run, kind="undo", run=number, digest=digest)), "it was reverted").json()[
            "run"
        ]
        assert (undone["kind"], undone["counts"]["actions"]) == ("undo", {"update": 1})
        assert undone["actor"] == {"name": "ada", "via": "console"}
        assert harness.customers()["user_a@example.com"]["firstName"] == "Ada"
        assert act(run, kind="reconcile", user="user_a").status_code == 202
        run.settled()
        assert harness.customers()["user_a@example.com"]["firstName"] == "Ada"
        assert [one["kind"] for one in get(run, "/api/changes")["acts"]] == ["nudge", "undo", "approve"]
        assert run.client.get("/api/runs/999999/undo").status_code == 404
