"""POST /api/acts: who may act, and what each act needs."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest

from reconciler.core.plan.plan import StorePlan, Summary
from reconciler.core.report.pending import Pending
from reconciler.core.report.status import StatusRow
from reconciler.errors import PermanentError, StateError
from reconciler.server.console.plans import ROWS_OF_ALL
from tests.server.services import (
    EU,
    NOON,
    NUDGE,
    SHOP_EU,
    SHOP_US,
    SHOWN,
    TOKEN,
    US,
    VIEWER,
    MemoryService,
    Nudged,
    options,
    serving,
)
from tests.server.test_api import a_run
from tests.server.test_console import TOVE, row, text_of, withheld

BEARER = {"authorization": f"Bearer {TOKEN}"}
PAUSE: dict[str, Any] = {"kind": "pause", "store": US}


def act(http: httpx.Client, headers: dict[str, str] | None = None, **wish: Any) -> httpx.Response:
    return http.post("/api/acts", json=wish, headers=BEARER if headers is None else headers)


def test_only_operators_act(http: httpx.Client, service: MemoryService) -> None:
    for token, status in ((VIEWER, 403), (NUDGE, 403), ("wrong", 401)):
        assert act(http, {"authorization": f"Bearer {token}"}, **PAUSE).status_code == status, token
    assert act(http, {}, **PAUSE).status_code == 401
    http.post("/login", data={"token": TOKEN})
    assert act(http, {"origin": "https://elsewhere.example"}, **PAUSE).status_code == 403
    assert service.all_acts == []
    assert act(http, {"origin": str(http.base_url).rstrip("/")}, **PAUSE).json() == {
        "status": "done",
        "run": None,
        "found": None,
        "refused": {},
    }
    assert [(done.kind, done.store, done.actor.name, done.actor.via) for done in service.all_acts] == [
        ("pause", US, "console", "console")
    ]
    with serving(MemoryService(), options(console_token="")) as open_to_this_machine:
        assert act(open_to_this_machine, {}, **PAUSE).status_code == 403


@pytest.mark.parametrize(
    ("site", "status"), [("same-origin", 200), ("none", 200), ("same-site", 403), ("cross-site", 403), ("", 403)]
)
def test_behind_a_proxy_with_another_host_the_browser_says_which_site_the_page_is_of(
    http: httpx.Client, site: str, status: int
) -> None:
    http.post("/login", data={"token": TOKEN})
    public = {"origin": "https://console.example.com", "sec-fetch-site": site}
    assert act(http, public, **PAUSE).status_code == status


def test_a_form_of_another_site_is_no_act(http: httpx.Client, service: MemoryService) -> None:
    http.post("/login", data={"token": TOKEN})
    for kind in ("text/plain", "application/x-www-form-urlencoded"):
        answer = http.post(
            "/api/acts", content=b'{"kind": "pause", "store": "acme-us"}', headers={"content-type": kind}
        )
        assert answer.status_code == 422, kind
    assert service.all_acts == []


def test_each_act_says_what_became_of_it(http: httpx.Client, service: MemoryService) -> None:
    service.mappings = [row()]
    assert act(http, kind="resume", store=US).json()["status"] == "unchanged"
    answer = act(http, kind="nudge", store=US)
    assert (answer.status_code, answer.json()["status"]) == (202, "queued")
    answer = act(http, kind="probe", store=US)
    assert (answer.status_code, answer.json()["found"]) == (200, "the shop grants access: Acme")
    assert act(http, kind="reconcile", user=TOVE).json()["status"] == "queued"
    assert service.nudges == [Nudged(TOVE, "nudge", None)]
    assert act(http, kind="forget", user=TOVE).json()["status"] == "done"
    assert act(http, kind="forget", user="user_unknown").status_code == 404


def test_an_approval_names_the_digest_that_was_shown(http: httpx.Client, service: MemoryService) -> None:
    service.all_runs = [a_run(7)]
    other = act(http, kind="approve", store=US, digest="sha256:" + "0" * 64)
    assert (other.status_code, "but the plan is now" in other.json()["error"]) == (409, True)
    assert service.all_acts == []
    done = act(http, kind="approve", store=US, digest=SHOWN)
    assert (done.json()["status"], done.json()["run"]["id"]) == ("done", 7)
    assert [one.kind for one in service.all_acts] == ["approve"]
    assert act(http, kind="undo", run=7, digest="sha256:" + "0" * 64).status_code == 409
    assert act(http, kind="undo", run=7, digest=SHOWN).json()["run"]["id"] == 7
    assert [one.kind for one in service.all_acts] == ["approve", "undo"]
    two = act(http, kind="approve", plans={US: SHOWN, EU: "sha256:" + "0" * 64}).json()
    assert (two["status"], two["run"]["id"], list(two["refused"])) == ("done", 7, [EU])
    assert [one.store for one in service.all_acts] == [US, None, US]
    assert act(http, kind="approve", plans={"unknown": SHOWN}).status_code == 404
    service.pending = Pending(NOON)
    pending = act(http, kind="approve", store=US, digest=SHOWN)
    assert (pending.status_code, pending.json()["status"], pending.headers["retry-after"]) == (202, "pending", "2")


def test_drift_is_accepted_by_field_until_a_day_or_a_moment(http: httpx.Client, service: MemoryService) -> None:
    drift: dict[str, Any] = {"kind": "accept", "store": US, "user": TOVE, "fields": ["first_name", "tags"]}
    assert act(http, **drift, until="2026-12-01").status_code == 404  # no mapping
    service.mappings = [row()]
    assert act(http, **drift, until="2020-12-01").status_code == 422
    for until in ("2026-12-01", "2026-12-01T12:00:00Z"):
        assert act(http, **drift, until=until).json()["status"] == "done"
    assert act(http, kind="heal", store=US, user=TOVE).json()["status"] == "done"
    assert [(one.kind, one.detail.get("until"), one.actor.name) for one in service.all_acts[1:]] == [
        ("accept", "2026-12-01T23:59:59+00:00", "console"),
        ("accept", "2026-12-01T12:00:00+00:00", "console"),
        ("heal", None, "console"),
    ]


@pytest.mark.parametrize(
    "wish",
    [
        {"kind": "accept", "store": US, "user": "u", "fields": ["first_name"]},
        {"kind": "accept", "store": US, "user": "u", "fields": [], "until": "2027-01-01"},
        {"kind": "accept", "store": US, "user": "u", "fields": ["colour"], "until": "2027-01-01"},
        {"kind": "accept", "store": US, "user": "u", "fields": ["note"], "until": "soon"},
        {"kind": "accept", "store": US, "user": "u", "fields": ["note"], "until": "9999-12-31T23:59:59-14:00"},
        {"kind": "accept", "store": US, "user": "u", "fields": ["metafields."], "until": "2027-01-01"},
        {"kind": "accept", "store": US, "user": "u", "fields": ["metafields.app.\x00"], "until": "2027-01-01"},
        {"kind": "continue", "step": "3"},
        {"kind": "undo", "run": 7}, {"kind": "undo", "run": 0, "digest": SHOWN},
        {}, {"kind": "pause"}, {"kind": "reconcile", "store": US}, {"kind": "approve", "store": US},
        {"kind": "drop", "store": US}, {"kind": "approve", "plans": {}}, {"kind": "approve", "plans": {US: "x"}},
        {"kind": "approve", "store": US, "plans": {US: SHOWN}}, {"kind": "pause", "store": US, "plans": {US: SHOWN}},
        {"kind": "approve", "store": US, "digest": "x"}, {"kind": "pause", "store": US, "more": 1},
        {"kind": "reconcile", "user": "a b"},
    ],
)  # fmt: skip
def test_an_act_of_another_shape_is_422(http: httpx.Client, service: MemoryService, wish: dict[str, Any]) -> None:
    assert http.post("/api/acts", json=wish, headers=BEARER).status_code == 422
    assert service.untouched


def test_an_unknown_store_is_404_and_a_state_that_does_not_answer_503(
    http: httpx.Client, service: MemoryService
) -> None:
    assert act(http, kind="pause", store="unknown").status_code == 404
    service.fails = StateError("the state is away", hint="wait")
    assert act(http, **PAUSE).status_code == 503
    service.fails = PermanentError("there is no run 7 any more", hint="old runs are deleted")
    assert act(http, **PAUSE).status_code == 404


def test_the_page_of_several_plans_shows_the_first_of_each_and_counts_all() -> None:
    service = MemoryService(rows_max=500)
    for store, shop in ((US, SHOP_US), (EU, SHOP_EU)):
        holds = tuple(withheld(f"user_{n}", n, "GuardExceeded") for n in range(800))
        actions = tuple(each.action for each in holds if each.action is not None)
        summary = Summary(release=800, hold=800)
        service.plans[store] = StorePlan(store=store, shop=shop, actions=actions, holds=holds, summary=summary)
    with serving(service) as client:
        page = client.get("/plans", params={"store": [US, EU]}, headers=BEARER)
        one = client.get(f"/stores/{US}/plan", headers=BEARER)
    assert page.text.count('class="kind release"') == 2 * ROWS_OF_ALL
    assert one.text.count('class="kind release"') == 1000
    shown = text_of(page)
    for said in (
        "Held: GuardExceeded (500 or more)",
        "The first 150 of 500.",
        "The first 150 of 800; the plan shows more",
    ):
        assert said in shown
    assert f'href="/stores/{US}/plan"' in page.text
    assert "The first 500 of 800 held; reconciler plan --store acme-us shows all." in text_of(one)


def test_the_plans_of_several_stores_are_approved_in_one_form_by_the_digests_that_were_shown(
    http: httpx.Client, service: MemoryService
) -> None:
    held = {"GuardExceeded": 3}
    service.rows = [
        StatusRow(store=store, shop=shop, profiles=3, mapped=3, in_sync=0, pending=0, held=held, parity=0.0)
        for store, shop in ((US, SHOP_US), (EU, SHOP_EU))
    ]
    assert 'href="/plans?store=acme-eu&amp;store=acme-us"' in http.get("/", headers=BEARER).text
    service.plans = {US: StorePlan(store=US, shop=SHOP_US, holds=(withheld("user_x", 7001, "GuardExceeded"),))}
    asked = {"store": [US, EU, "unknown"]}
    page = http.get("/plans", params=asked, headers=BEARER)
    (shown,) = re.findall(r'name="plan" value="([^"]+)" checked', page.text)
    digest = str(http.get(f"/api/plan?store={US}", headers=BEARER).json()["digest"])
    assert shown == f"{US} {digest}", "there is nothing to approve in the other store"
    assert "Nothing to do" in text_of(page)
    assert "Approve" not in http.get("/plans", params=asked, headers={"authorization": f"Bearer {VIEWER}"}).text
    plans = {"kind": "approve", "plan": [f"{US} {SHOWN}", f"{EU} sha256:{'0' * 64}"]}
    question = http.get("/acts/ask", params=plans, headers=BEARER)
    assert "Approve exactly these plans of 2 stores?" in question.text
    assert re.findall(r'name="plan" value="([^"]+)"', question.text) == sorted(plans["plan"])
    for bad in ({"origin": "https://elsewhere.example"}, {"authorization": f"Bearer {VIEWER}"}):
        assert http.post("/acts", data=plans, headers=BEARER | bad).status_code == 403
    assert service.all_acts == []
    service.all_runs = [a_run(7)]
    done = http.post("/acts", data=plans, headers=BEARER)
    assert "Applied as run 7" in text_of(done)
    assert f"<b>{EU}</b>: the approved digest is" in done.text
    assert [(one.kind, one.store) for one in service.all_acts] == [("approve", US)]
    whole = http.post("/acts", data={"kind": "approve", "plan": [f"{US} {SHOWN}", f"{EU} {SHOWN}"]}, headers=BEARER)
    assert (whole.status_code, whole.headers["location"]) == (303, "/runs/7")
    service.pending = Pending(NOON)
    assert "0 of 2 plans are computed" in text_of(http.get("/plans", params=asked, headers=BEARER))
    waiting = http.post("/acts", data=plans, headers=BEARER)
    assert "Ask for the result" in waiting.text
    assert re.findall(r'name="plan" value="([^"]+)"', waiting.text) == sorted(plans["plan"])
