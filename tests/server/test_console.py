"""The console: who may see it, what it shows, and that nothing in it is believed."""

from __future__ import annotations

import html
import re
import socket
import time
from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx
import pytest

from reconciler.core.model.action import Action, Change, Hold
from reconciler.core.model.event import Event
from reconciler.core.model.ids import ClerkUserId, CustomerId, ShopDomain, StoreName
from reconciler.core.model.mapping import AgreedTags, Applied, Mapping, RefusedValue
from reconciler.core.model.reasons import hold
from reconciler.core.plan.plan import StorePlan
from reconciler.core.report.answer import Candidate, Former
from reconciler.core.report.explain import Explained, ExplainedStore
from reconciler.core.report.pending import Pending
from reconciler.core.report.status import StatusRow
from reconciler.errors import SourceError, StateError
from reconciler.server.access import COOKIE
from reconciler.server.console import words
from reconciler.server.tokens import AccessToken, AccessTokens
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
    Noon,
    Nudged,
    options,
    serving,
    stopped_rollout,
    tokens,
)  # fmt: skip

BEARER = {"authorization": f"Bearer {TOKEN}"}
TOVE = ClerkUserId("user_tove")
EVIL = "<script>alert(1)</script>"
PAGES = ["/", "/people", f"/people/{TOVE}", "/events", "/rollout"]


def row(user: str = TOVE, **changes: Any) -> Mapping:
    known: dict[str, Any] = {
        "clerk_user_id": ClerkUserId(user),
        "store": US,
        "shop": SHOP_US,
        "customer_id": CustomerId("gid://shopify/Customer/77"),
        "email": "tove@tove.example",
        "status": "in_sync",
        "last_seen_at": NOON - timedelta(minutes=5),
    }
    return Mapping(**(known | changes))


def happened(**changes: Any) -> Event:
    known: dict[str, Any] = {
        "at": NOON - timedelta(hours=2),
        "store": US,
        "shop": SHOP_US,
        "clerk_user_id": TOVE,
        "customer_id": None,
        "kind": "update",
        "changes": (Change(field="first_name", before="Ada", after="Adah", why="profile changed"),),
    }
    return Event(**(known | changes))


def text_of(answer: httpx.Response) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", answer.text))


# --- who may see it -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PAGES)
def test_with_a_token_set_no_page_is_shown_without_it(http: httpx.Client, service: MemoryService, path: str) -> None:
    service.mappings = [row()]
    answer = http.get(path)
    assert answer.status_code == 401
    assert "tove@" not in answer.text
    assert 'action="/login"' in answer.text
    assert http.get(path, headers=BEARER).status_code == 200


def test_the_token_in_the_address_becomes_a_cookie_and_leaves_the_address(
    http: httpx.Client, service: MemoryService
) -> None:
    answer = http.get("/people", params={"token": TOKEN, "q": "user_tove"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/people?q=user_tove")
    cookie = answer.headers["set-cookie"]
    assert TOKEN not in cookie
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert http.get("/").status_code == 200


def test_the_cookie_is_for_https_only_where_that_is_spoken(http: httpx.Client) -> None:
    assert "Secure" not in http.get("/", params={"token": TOKEN}).headers["set-cookie"]
    behind = http.get("/", params={"token": TOKEN}, headers={"x-forwarded-proto": "https"})
    assert "Secure" in behind.headers["set-cookie"]


def test_signing_in_by_the_form_and_out_again(http: httpx.Client) -> None:
    assert http.post("/login", data={"token": "wrong"}).status_code == 401
    assert http.post("/login", data={"token": TOKEN}).headers["location"] == "/"
    assert http.get("/").status_code == 200
    assert http.post("/logout").status_code == 303
    assert http.get("/").status_code == 401


def test_a_cookie_ends_after_twelve_hours(http: httpx.Client, clock: Noon) -> None:
    http.post("/login", data={"token": TOKEN})
    clock.moved(hours=11, minutes=59)
    assert http.get("/").status_code == 200
    clock.moved(minutes=2)
    assert http.get("/").status_code == 401


@pytest.mark.parametrize(
    "value", ["", "x", ".", "9999999999.", "9999999999." + "0" * 64, "٣.abc", "1" * 40 + ".x", TOKEN]
)
def test_a_made_up_cookie_opens_nothing(http: httpx.Client, value: str) -> None:
    answer = http.get("/", headers={b"cookie": f"{COOKIE}={value}".encode()})
    assert answer.status_code == 401


def test_a_cookie_can_not_be_made_to_last_longer(http: httpx.Client) -> None:
    http.post("/login", data={"token": TOKEN})
    session, until, name, signature = http.cookies[COOKIE].strip('"').split(".")
    http.cookies.clear()
    for made_up in (f"{session}.{int(until) + 1}.{name}.{signature}", f"{session}.{until}.reads.{signature}"):
        assert http.get("/", headers={"cookie": f"{COOKIE}={made_up}"}).status_code == 401
    assert http.get("/", headers={"cookie": f"{COOKIE}={session}.{until}.{name}.{signature}"}).status_code == 200


# --- roles --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("signed_in", [False, True])
def test_a_viewers_token_reads_everything_and_does_nothing(
    http: httpx.Client, service: MemoryService, *, signed_in: bool
) -> None:
    service.mappings = [row()]
    headers = {} if signed_in else {"authorization": f"Bearer {VIEWER}"}
    if signed_in:
        assert http.post("/login", data={"token": VIEWER}).status_code == 303
    for path in PAGES:
        assert http.get(path, headers=headers).status_code == 200, path
    shown = http.get(f"/people/{TOVE}", headers=headers).text
    assert ("Reconcile now" in shown, "Sign out" in shown) == (False, True)
    refused = http.post(f"/people/{TOVE}/look", headers=headers)
    assert (refused.status_code, "Your token may only read" in refused.text) == (403, True)
    assert http.post("/nudge", json={"user": TOVE}, headers={"authorization": f"Bearer {VIEWER}"}).status_code == 403
    assert service.untouched


def test_a_nudge_token_nudges_and_opens_no_page(http: httpx.Client, service: MemoryService) -> None:
    bearer = {"authorization": f"Bearer {NUDGE}"}
    assert http.post("/nudge", json={"user": TOVE}, headers=bearer).status_code == 202
    changed = {"type": "DELETE", "table": "customers", "schema": "public", "old_record": {"clerk_user_id": "user_2"}}
    assert http.post("/webhooks/supabase", json=changed, headers={"x-reconciler-token": NUDGE}).status_code == 202
    assert [nudged.user for nudged in service.nudges] == [TOVE, "user_2"]
    for path in PAGES:
        assert http.get(path, headers=bearer).status_code == 401, path
    assert http.post(f"/people/{TOVE}/look", headers=bearer).status_code == 401
    assert http.post("/login", data={"token": NUDGE}).status_code == 401
    assert http.get("/", params={"token": NUDGE}).status_code == 401


def test_a_session_ends_with_its_token_and_with_another_value_of_it() -> None:
    chosen = tokens()
    with serving(MemoryService(), options(tokens=chosen)) as http:
        http.post("/login", data={"token": VIEWER})
        assert http.get("/").status_code == 200
        kept = AccessToken("console", "operator", TOKEN.encode())
        chosen.follow([kept, AccessToken("reads", "viewer", b"another value")])
        assert http.get("/").status_code == 401
        chosen.follow([kept, AccessToken("reads", "viewer", VIEWER.encode())])
        assert http.get("/").status_code == 200
        chosen.follow([kept, AccessToken("reads", "nudge", VIEWER.encode())])
        assert http.get("/").status_code == 401
        chosen.follow([kept])
        assert http.get("/").status_code == 401
        assert http.get("/", headers=BEARER).status_code == 200


def test_with_a_nudge_token_alone_the_machine_itself_still_reads() -> None:
    with serving(
        MemoryService(), options(tokens=AccessTokens([AccessToken("nudge", "nudge", NUDGE.encode())]))
    ) as http:
        assert http.get("/").status_code == 200
        assert http.post("/nudge", json={"user": TOVE}, headers={"x-reconciler-token": NUDGE}).status_code == 202
        assert http.get("/", headers={"x-forwarded-for": "203.0.113.9"}).status_code == 403


@pytest.mark.parametrize("path", ["//elsewhere.example", "//elsewhere.example/%2e%2e"])
def test_the_way_back_after_the_token_leads_nowhere_else(http: httpx.Client, path: str) -> None:
    with socket.create_connection((http.base_url.host, http.base_url.port or 80), timeout=60) as raw:
        raw.sendall(f"GET {path}?token={TOKEN} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n".encode())
        answer = raw.makefile("rb").read().lower()
    assert b"location: //" not in answer
    assert b"location: http" not in answer


def test_without_a_token_the_machine_itself_may_read_and_nothing_more() -> None:
    service = MemoryService(mappings=[row()])
    with serving(service, options(console_token="")) as http:
        assert http.get("/").status_code == 200
        assert "read-only" in http.get("/").text
        assert "Reconcile now" not in http.get(f"/people/{TOVE}").text
        assert http.post(f"/people/{TOVE}/look").status_code == 403
        assert http.post("/login", data={"token": ""}).status_code in {403, 422}
    assert service.untouched


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "console.example"},
        {"host": "rebound.example:8080"},
        {"host": "127.0.0.1.example"},
        {"host": "[127.0.0.1].evil.example"},
        {"host": "[::1].evil.example:8080"},
        {"host": "[::1"},
        {"host": "localhost.evil.example"},
        {"host": "localhost:evil"},
        {"host": "127.0.0.1@evil.example"},
        {"host": "/"},
        {"x-forwarded-for": "203.0.113.9"},
        {"forwarded": "for=203.0.113.9"},
        {"x-real-ip": "203.0.113.9"},
    ],
    ids=str,
)
def test_without_a_token_a_rebound_name_or_a_proxy_sees_nothing(headers: dict[str, str]) -> None:
    with serving(MemoryService(mappings=[row()]), options(console_token="")) as http:
        answer = http.get("/people", headers=headers)
    assert answer.status_code == 403
    assert "tove@" not in answer.text
    assert "server.console_token" in answer.text


def test_a_server_that_listens_to_others_shows_nothing_without_a_token() -> None:
    with serving(MemoryService(mappings=[row()]), options(console_token="", host="0.0.0.0")) as http:
        answer = http.get("/people")
    assert answer.status_code == 403
    assert "hint:" in answer.text
    assert "tove@" not in answer.text


@pytest.mark.parametrize("host", ["localhost:8080", "127.0.0.1", "[::1]:8080"])
def test_the_machines_own_names_are_all_known(host: str) -> None:
    with serving(MemoryService(), options(console_token="")) as http:
        assert http.get("/", headers={"host": host}).status_code == 200


# --- what it shows ------------------------------------------------------------------------------------------------


def test_parity_is_shown_per_store_the_worst_first(http: httpx.Client, service: MemoryService) -> None:
    service.rows = [
        StatusRow(store=EU, shop=SHOP_EU, profiles=10, mapped=10, in_sync=10, pending=0, parity=1.0),
        StatusRow(
            store=US,
            shop=SHOP_US,
            profiles=2000,
            mapped=1999,
            in_sync=1999,
            pending=0,
            held={"EmailTaken": 1},
            parity=0.9995,
            oldest_request_s=125,
            last_sweep_at=NOON - timedelta(hours=3),
            suspended="token refused",
        ),
    ]
    answer = http.get("/", headers=BEARER)
    shown = text_of(answer)
    assert shown.index("acme-us") < shown.index("acme-eu")
    for words_ in (
        "99.95 %",
        "100 %",
        "EmailTaken 1",
        "2 min",
        "3 h ago",
        "suspended: token refused",
        "of 2,010 wanted",
    ):
        assert words_ in shown
    assert "/people?store=acme-us&amp;status=held&amp;reason=EmailTaken" in answer.text
    needs = answer.text.partition("Needs a person")[2].partition("Stores, those")[0]
    assert "unknown how many of 2,010 wanted users are in sync, in 2 stores" in shown
    assert re.search(r">suspended <b>1</b></span>\s*<span>token refused</span>", needs)
    assert '<a href="/stores/acme-us">acme-us</a></span>' in needs


def test_what_a_guard_withholds_leads_to_the_plan_that_can_be_approved(
    http: httpx.Client, service: MemoryService
) -> None:
    held = {"GuardExceeded": 3}
    service.rows = [
        StatusRow(store=EU, shop=SHOP_EU, profiles=3, mapped=3, in_sync=0, pending=0, held=held, parity=0.0)
    ]
    needs = http.get("/", headers=BEARER).text.partition("Needs a person")[2].partition("Stores, those")[0]
    assert '<a href="/stores/acme-eu/plan">acme-eu (3)</a>' in needs


def withheld(user: str, number: int, reason: str) -> Hold:
    gone = Change(field="customer", before=f"gid://shopify/Customer/{number}", after=None, why="undo")
    action = Action(
        kind="release",
        clerk_user_id=ClerkUserId(user),
        customer_id=CustomerId(f"gid://shopify/Customer/{number}"),
        changes=(gone,),
        how="delete",
        cost_points=10,
    )
    return hold(ClerkUserId(user), None, reason, "the same for all", action=action)


def test_a_plan_says_once_what_many_holds_share(http: httpx.Client, service: MemoryService) -> None:
    alike = [hold(ClerkUserId(f"user_{n}"), None, "Undone", "`undo` reverted tags") for n in range(3)]
    other = hold(ClerkUserId("user_9"), None, "Undone", "`undo` reverted note")
    gone = [withheld("user_x", 7001, "GuardExceeded"), withheld("user_y", 7002, "GuardExceeded")]
    paused = withheld("user_z", 7003, "StorePaused")
    found = StorePlan(store=US, shop=SHOP_US, holds=(*alike, other, *gone, paused))
    unknown = replace(found, wave_error="the definition is missing", wave_hint="run `reconciler bootstrap`")
    service.plans = {US: unknown}
    shown = text_of(http.get("/stores/acme-us/plan", headers=BEARER))
    assert "will write is not known: the definition is missing. → run" in shown
    assert shown.count("`undo` reverted tags") == 1
    assert shown.count("`undo` reverted note") == 1
    assert "release (irreversible), 2 alike: customer each → – (undo)" in shown
    assert "on_leave" not in shown
    assert "1 with a change of its own" in shown
    assert "Approve exactly this plan" in shown
    assert "Irreversible: 2 customers to delete " in shown


def test_a_plan_offers_no_approval_of_a_pause_and_no_good_news_of_a_shop_that_fails(
    http: httpx.Client, service: MemoryService
) -> None:
    service.plans = {US: StorePlan(store=US, shop=SHOP_US, holds=(withheld("user_x", 7001, "StorePaused"),))}
    assert "Approve" not in text_of(http.get("/stores/acme-us/plan", headers=BEARER))
    service.plans = {US: StorePlan(store=US, shop=SHOP_US, error="it is frozen", error_hint="wait")}
    failed = text_of(http.get("/stores/acme-us/plan", headers=BEARER))
    assert "acme-us can't be planned: it is frozen. → wait" in failed
    assert "Nothing to do" not in failed


def test_a_search_without_a_match_and_a_later_write_of_a_create_say_what_they_are(
    http: httpx.Client, service: MemoryService
) -> None:
    link, tier = (
        Change(field=f, before=None, after="x", why="profile changed") for f in ("backlink", "metafields.a.b")
    )
    service.events = [replace(happened(), kind="create", changes=(change,)) for change in (link, tier)]
    assert text_of(http.get("/events", headers=BEARER)).count("continued") == 1
    assert "No change matches" in text_of(http.get("/events?kind=merge", headers=BEARER))


def test_what_is_not_ready_is_shown_on_the_first_page(http: httpx.Client, service: MemoryService) -> None:
    service.reasons = ["nothing was finished for 600 s"]
    assert "nothing was finished for 600 s" in http.get("/", headers=BEARER).text


def test_a_person_is_found_by_the_beginning_of_their_name(http: httpx.Client, service: MemoryService) -> None:
    service.mappings = [
        row(),
        row("user_other", email="o@o.example", status="held", reason="NoEmail", message="no address"),
    ]
    found = text_of(http.get("/people", params={"q": "user_t"}, headers=BEARER))
    assert "user_tove" in found
    assert "user_other" not in found
    assert "No user matches" in text_of(http.get("/people", params={"q": "zzz"}, headers=BEARER))


def test_people_that_no_store_has_wanted_are_listed_apart(http: httpx.Client, service: MemoryService) -> None:
    service.unmapped = [Candidate(ClerkUserId("user_grace"), "Grace Hopper", "grace@example.com")]
    found = text_of(http.get("/people", params={"q": "Grace"}, headers=BEARER))
    assert "In the profiles table only" in found
    assert "user_grace" in found
    assert "Grace Hopper, grace@example.com" in found
    assert "profiles table only" not in text_of(http.get("/people", params={"q": "Ada"}, headers=BEARER))
    held = http.get("/people", params={"q": "Grace", "status": "held"}, headers=BEARER)
    assert "profiles table only" not in text_of(held), "a filter asks for mappings"
    gone = "gid://shopify/Customer/7005"
    service.former = [Former(clerk_user_id=TOVE, store=US, field="customer", value=gone)]
    was = text_of(http.get("/people", params={"q": gone}, headers=BEARER))
    assert f"Customer 7005 was the customer of {TOVE} in {US}; there is none now." in was
    service.unread = SourceError("the table is locked")
    answer = http.get("/people", params={"q": "Grace"}, headers=BEARER)
    assert (answer.status_code, "the table is locked" in text_of(answer)) == (200, True)


def test_who_is_held_is_listed_by_reason_with_what_it_means(http: httpx.Client, service: MemoryService) -> None:
    service.mappings = [row(), row("user_other", status="held", reason="NoEmail", message="no address")]
    found = text_of(http.get("/people", params={"status": "held", "reason": "NoEmail"}, headers=BEARER))
    assert "user_other" in found
    assert "user_tove" not in found
    assert words.explain("NoEmail")[0] in found


@pytest.mark.parametrize("name", ["a%00b", "%ED%A0%80", "a%0Ab"])
def test_a_name_that_is_none_finds_no_one(http: httpx.Client, service: MemoryService, name: str) -> None:
    assert http.get(f"/people/{name}", headers=BEARER).status_code == 404
    assert http.post(f"/people/{name}/look", headers=BEARER).status_code == 303
    assert service.untouched


@pytest.mark.parametrize(
    "query", ["store=unknown", "status=x", "q=%00", "q=" + "x" * 5000, "reason=%ff", "q=%ED%A0%80"]
)
def test_an_odd_question_has_an_answer(http: httpx.Client, query: str) -> None:
    assert http.get(f"/people?{query}", headers=BEARER).status_code == 200


def test_a_long_list_ends_with_a_word_that_there_are_more(http: httpx.Client, service: MemoryService) -> None:
    service.mappings = [row(f"user_{n:03}") for n in range(150)]
    answer = http.get("/people", headers=BEARER)
    assert "There are more" in answer.text
    assert "user_099" in answer.text
    assert "user_100" not in answer.text


def test_a_persons_page_says_why_they_are_held_what_is_agreed_and_what_was_done(
    http: httpx.Client, service: MemoryService
) -> None:
    service.mappings = [
        row(
            status="held",
            reason="EmailTaken",
            message="the address is user_2's",
            applied={
                "first_name": Applied(value="Tove", ours=True),
                "tags": Applied(value=AgreedTags(agreed=("vip",))),
            },
            refused={"phone": RefusedValue(digest="d", code="TAKEN", message="Phone has already been taken")},
        ),
        row(store=EU, shop=SHOP_EU),
    ]
    service.events = [happened()]
    answer = http.get(f"/people/{TOVE}", headers=BEARER)
    shown = text_of(answer)
    for words_ in (
        "EmailTaken.", words.explain("EmailTaken")[1], "the address is user_2", "first name Tove set by us", "tags vip",
        "phone was refused (TAKEN).", "acme-eu", "in sync", "first name Ada → Adah", "2 h ago",
    ):  # fmt: skip
        assert words_ in shown
    assert "https://admin.shopify.com/store/acme-us/customers/77" in answer.text


def test_somebody_unknown_is_404_and_says_what_that_means(http: httpx.Client) -> None:
    answer = http.get("/people/user_unknown", headers=BEARER)
    assert answer.status_code == 404
    assert "No profile and no mapping has this id" in answer.text


def test_what_changed_is_newest_first_and_by_store(http: httpx.Client, service: MemoryService) -> None:
    service.events = [
        happened(at=NOON - timedelta(days=2), message="the older"),
        happened(at=NOON - timedelta(seconds=9), message="the newer"),
        happened(store=EU, message="elsewhere"),
    ]
    shown = text_of(http.get("/events", headers=BEARER))
    assert shown.index("the newer") < shown.index("elsewhere") < shown.index("the older")
    assert "9 s ago" in shown
    assert "elsewhere" not in text_of(http.get("/events?store=acme-us", headers=BEARER))


def test_changes_are_found_by_a_former_email(http: httpx.Client, service: MemoryService) -> None:
    service.events = [happened(message="the email was written")]
    service.former = [Former(clerk_user_id=TOVE, store=US, field="email", value="old@example.com")]
    assert "the email was written" in text_of(http.get("/events?q=old@example.com", headers=BEARER))
    assert "No change matches" in text_of(http.get("/events?q=older@example.com", headers=BEARER))


def test_changes_are_searched_and_paged_without_a_script(http: httpx.Client, service: MemoryService) -> None:
    service.events = [happened(at=NOON - timedelta(minutes=n), message=f"number {n:03}") for n in range(250)]
    page = http.get("/events?kind=update&q=user_", headers=BEARER)
    assert 'value="user_"' in page.text
    service.mappings = [row()]
    seen: list[str] = []
    path: str | None = (
        "/events?q=tove%40&kind=update&field=first%20name&store=acme-us&since=2026-11-23&until=2026-11-23"
    )
    while path is not None:
        page = http.get(path, headers=BEARER)
        seen += re.findall(r"number \d{3}", page.text)
        older = re.search(r'href="(/events\?[^"]*before=[^"]*)">Older changes', page.text)
        path = html.unescape(older[1]) if older else None
    assert seen == [f"number {n:03}" for n in range(250)]
    for nothing in ("kind=merge", "field=email", "until=2026-11-22", "q=user_other", "store=acme-eu"):
        assert "number" not in text_of(http.get(f"/events?{nothing}", headers=BEARER)), nothing
    for odd in ("before=x", "before=9999999999999999-1", "since=x", "until=9999-12-31", "actor=%00"):
        assert http.get(f"/events?{odd}", headers=BEARER).status_code == 200


def test_anyone_who_has_the_token_may_request_a_reconcile(http: httpx.Client, service: MemoryService) -> None:
    service.mappings = [row()]
    own = {"origin": str(http.base_url).rstrip("/")}
    assert "Reconcile now" in http.get(f"/people/{TOVE}", headers=BEARER).text
    answer = http.post(f"/people/{TOVE}/look", headers=BEARER | own)
    assert (answer.status_code, answer.headers["location"]) == (303, f"/people/{TOVE}?queued")
    assert service.nudges == [Nudged(TOVE, "nudge", None)]
    http.post("/people/user_unknown/look", headers=BEARER | own)
    assert len(service.nudges) == 1


@pytest.mark.parametrize("origin", ["https://elsewhere.example", "null", "http://[", ""])
def test_another_sites_page_can_not_request_a_reconcile(
    http: httpx.Client, service: MemoryService, origin: str
) -> None:
    service.mappings = [row()]
    assert http.post(f"/people/{TOVE}/look", headers=BEARER | {"origin": origin}).status_code == 403
    assert service.untouched


def test_a_state_that_does_not_answer_is_a_page_that_says_so(http: httpx.Client, service: MemoryService) -> None:
    service.fails = StateError("the state's database can't be used", hint="check state.url")
    answer = http.get("/", headers=BEARER)
    assert answer.status_code == 503
    assert "hint: check state.url" in text_of(answer)


# --- nothing in it is believed ------------------------------------------------------------------------------------


def test_values_of_people_and_shops_are_text_wherever_they_stand(http: httpx.Client, service: MemoryService) -> None:
    service.rows = [
        StatusRow(
            store=US,
            shop=ShopDomain(EVIL),
            profiles=1,
            mapped=0,
            in_sync=0,
            pending=0,
            held={EVIL: 1},
            parity=0,
            suspended=EVIL,
        )
    ]
    service.reasons = [EVIL]
    evil_row = row(
        EVIL,
        email=EVIL,
        status="held",
        reason=EVIL,
        message=EVIL,
        applied={EVIL: Applied(value=EVIL)},
        refused={EVIL: RefusedValue(digest="d", code=EVIL, message=EVIL)},
        customer_id=CustomerId('gid://shopify/Customer/"><script>'),
    )
    service.mappings = [evil_row, row()]
    service.events = [
        happened(
            clerk_user_id=ClerkUserId(EVIL),
            message=EVIL,
            kind=EVIL,
            changes=(Change(field=EVIL, before=EVIL, after=[EVIL], why="drift"),),
        )
    ]
    for path in ("/", "/events", f"/people?q={EVIL}&reason={EVIL}", "/people/%3Cscript%3Ealert(1)%3C%2Fscript%3E"):
        answer = http.get(path, headers=BEARER)
        assert "<script" not in answer.text.replace("<script src=", "")
    assert "&lt;script&gt;" in http.get("/events", headers=BEARER).text


def test_no_page_asks_for_anything_from_elsewhere(http: httpx.Client, service: MemoryService) -> None:
    service.mappings, service.events = [row()], [happened()]
    for path in PAGES:
        page = http.get(path, headers=BEARER).text
        ours = '<script src="/static/console.js" defer></script>'
        assert page.count(ours) == (path == "/")
        assert not re.search(r"<script|\son\w+=|\sstyle=", page.replace(ours, ""))
        linked = set(re.findall(r'(?:src|<link[^>]+href)="([^"]*)"', page))
        assert linked - {"/static/console.js"} == {"/static/console.css", "data:,"}
        assert page.startswith("<!doctype html>")
    style = http.get("/static/console.css")
    assert style.headers["content-type"].startswith("text/css")
    assert "url(" not in style.text


# --- words --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("share", "shown"), [(1.0, "100 %"), (0.999999, "99.99 %"), (0.5, "50 %"), (0.0, "0 %"), (0.98765, "98.77 %")]
)
def test_a_share_is_never_rounded_up_to_all(share: float, shown: str) -> None:
    assert words.percent(share) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(None, "–"), (0, "0 s"), (59.9, "59 s"), (60, "1 min"), (7199, "1 h"), (200_000, "2 d"), (-5, "0 s")],
)
def test_a_stretch_of_time_is_put_in_its_largest_unit(seconds: float | None, shown: str) -> None:
    assert words.span(seconds) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "–"), ("", "–"), ([], "–"), (["a", "b"], "a, b"), ("x" * 200, "x" * 119 + "…"), (0, "0")],
)
def test_a_value_is_put_on_one_line(value: object, shown: str) -> None:
    assert words.shown(value) == shown


def test_a_session_ends_at_logout_for_anyone_who_has_copied_its_cookie(http: httpx.Client) -> None:
    assert http.get("/", params={"token": TOKEN}).status_code == 303
    copied = {"cookie": f"{COOKIE}={http.cookies[COOKIE]}"}
    assert http.post("/logout").status_code == 303
    http.cookies.clear()
    assert http.get("/", headers=copied).status_code == 401


def test_wrong_tokens_cost_more_and_more_time_and_a_right_one_none(capsys: pytest.CaptureFixture[str]) -> None:
    with serving(MemoryService(), options(wrong_token_s=0.05)) as http:
        began = time.monotonic()
        for n in range(4):
            answer = http.get("/", headers={"authorization": f"Bearer wrong{n}"})
            assert answer.status_code == 401
        assert time.monotonic() - began >= 0.05 + 0.1 + 0.2 + 0.4
        assert http.get("/", headers={"authorization": f"Bearer {TOKEN}"}).status_code == 200
    logged = [line for line in capsys.readouterr().out.splitlines() if "token_refused" in line]
    assert len(logged) == 3  # the first, the second, the fourth


def test_the_console_says_that_the_files_on_disk_are_not_what_runs(http: httpx.Client, service: MemoryService) -> None:
    service.problem = "refused: stores.yaml:3: stores[0].colour: unknown key"
    page = http.get("/", headers={"authorization": f"Bearer {TOKEN}"}).text
    assert "The files on disk are not what runs" in page
    assert "unknown key" in page


# --- what operators do --------------------------------------------------------------------------------------------


def test_an_act_is_done_by_the_form_of_our_own_page_and_recorded_with_the_token_name(
    http: httpx.Client, service: MemoryService
) -> None:
    own = {"origin": str(http.base_url).rstrip("/")}
    asked = http.get("/acts/ask", params={"kind": "pause", "store": US}, headers=BEARER)
    assert "Pause acme-us?" in text_of(asked)
    answer = http.post("/acts", data={"kind": "pause", "store": US}, headers=BEARER | own)
    assert (answer.status_code, answer.headers["location"]) == (303, "/stores/acme-us?done=pause")
    assert [(act.kind, act.actor.name, act.store) for act in service.all_acts] == [("pause", "console", US)]


def test_the_page_of_a_rollout_shows_the_waves_and_asks_an_operator(http: httpx.Client, service: MemoryService) -> None:
    assert "All stores are in one wave" in text_of(http.get("/rollout", headers=BEARER))
    service.waves = stopped_rollout()
    shown = http.get("/rollout", headers=BEARER)
    assert "tags + vip club" in text_of(shown)
    assert "stopped: wave 1 exceeds failed_percent 0.5" in text_of(shown)
    assert "97 changed, 3 failed, 0 newly held, of 100 touched" in text_of(shown)
    assert "/acts/ask?kind=continue&amp;step=1.0" in shown.text
    assert "/acts/ask" not in http.get("/rollout", headers={"authorization": f"Bearer {VIEWER}"}).text
    assert "The rollout waits for an operator" in text_of(http.get("/", headers=BEARER))
    assert "Continue the rollout?" in text_of(http.get("/acts/ask?kind=continue", headers=BEARER))
    assert 'name="step" value="1.0"' in http.get("/acts/ask?kind=continue&step=1.0", headers=BEARER).text
    stale = http.post("/acts", data={"kind": "continue", "step": "0.7"}, headers=BEARER)
    assert (stale.status_code, service.all_acts) == (409, [])
    answer = http.post("/acts", data={"kind": "continue", "step": "1.0"}, headers=BEARER)
    assert (answer.status_code, answer.headers["location"]) == (303, "/rollout?done=continue")
    assert [(act.kind, act.actor.name) for act in service.all_acts] == [("continue", "console")]
    document = http.get("/api/rollout", headers=BEARER).json()
    assert (document["rollout"]["phase"], document["waves"][0]["counts"]["failed"]) == ("stopped", 3)


@pytest.mark.parametrize(
    ("headers", "form"),
    [
        ({}, {"kind": "pause", "store": US}),
        ({"authorization": f"Bearer {VIEWER}"}, {"kind": "pause", "store": US}),
        ({"authorization": f"Bearer {NUDGE}"}, {"kind": "pause", "store": US}),
        (BEARER | {"origin": "https://elsewhere.example"}, {"kind": "pause", "store": US}),
        (BEARER, {"kind": "pause", "store": "unknown"}),
        (BEARER, {"kind": "pause"}),
        (BEARER, {"kind": "burn", "store": US}),
        (BEARER, {"kind": "approve", "store": US, "digest": "sha256:x"}),
    ],
)
def test_an_act_without_the_right_or_without_sense_does_nothing(
    http: httpx.Client, service: MemoryService, headers: dict[str, str], form: dict[str, str]
) -> None:
    answer = http.post("/acts", data=form, headers=headers)
    assert answer.status_code in {303, 403}
    assert service.all_acts == []
    assert http.get("/acts/ask", params=form, headers=headers).status_code in {200, 303, 401, 403}


def test_an_approval_of_a_plan_that_changed_is_refused_and_one_that_runs_is_asked_for_again(
    http: httpx.Client, service: MemoryService
) -> None:
    wish = {"kind": "approve", "store": US, "digest": "sha256:" + "0" * 64}
    refused = http.post("/acts", data=wish, headers=BEARER)
    assert refused.status_code == 409
    assert "Nothing was done" in refused.text
    service.pending = Pending(None)
    waiting = http.post("/acts", data=wish | {"digest": SHOWN}, headers=BEARER)
    assert "Ask for the result" in waiting.text


def test_the_page_of_a_person_leads_with_the_answer(http: httpx.Client, service: MemoryService) -> None:
    answer = "Tove is not in acme-us because the email is not verified (for 3 h)."
    part = ExplainedStore(
        store=US, shop=SHOP_US, status="held", answer=answer, wave_error="no definition", wave_hint="run it"
    )
    service.explained = {TOVE: Explained(clerk_user_id=ClerkUserId(TOVE), name="Tove Jansson", stores=(part,))}
    found = text_of(http.get(f"/people/{TOVE}", headers=BEARER))
    assert "Tove Jansson" in found
    assert answer in found
    assert "its wave will write is not known: no definition. → run it" in found


def test_stores_that_do_not_want_a_person_are_listed_after_the_others(
    http: httpx.Client, service: MemoryService
) -> None:
    not_wanted = [
        ExplainedStore(store=StoreName(f"brand{n:02}"), shop=SHOP_EU, status="unwanted", answer=f"Not in {n}.")
        for n in range(30)
    ]
    there = ExplainedStore(store=US, shop=SHOP_US, status="in_sync", answer="In sync.")
    service.explained = {TOVE: Explained(clerk_user_id=ClerkUserId(TOVE), stores=(*not_wanted, there))}
    page = http.get(f"/people/{TOVE}", headers=BEARER).text
    assert page.count('<section class="card ') == 1
    assert page.index("In sync.") < page.index("Not wanted by 30 stores") < page.index("Not in 0.")


def test_a_store_that_is_not_in_the_file_is_said_to_be_unknown(http: httpx.Client) -> None:
    for path in ("/stores/gone", "/stores/gone/plan"):
        answer = http.get(path, headers=BEARER)
        assert answer.status_code == 404
        assert "gone is not in stores.yaml" in text_of(answer)
    assert http.get("/runs/999/undo", headers=BEARER).headers["location"] == "/runs/999"
