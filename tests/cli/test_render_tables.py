"""Results, status and mappings, in a terminal and as JSON."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from inline_snapshot import snapshot

from reconciler.cli.render import outputs as render
from reconciler.cli.render.explain import print_explained
from reconciler.cli.render.plain import clean, seconds_text
from reconciler.core.model.ids import ClerkUserId, CustomerId, ShopDomain, StoreName
from reconciler.core.model.json import time_z
from reconciler.core.model.mapping import Mapping, Status
from reconciler.core.report.explain import Explained, ExplainedStore
from reconciler.core.report.status import (
    ApplyResult,
    Failure,
    StatusRow,
    bulk_progress,
    mirror_progress,
    scan_progress,
)
from tests.cli.screen import shown

AT = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
ROWS = (
    StatusRow(
        store=StoreName("acme-eu"),
        shop=ShopDomain("acme-eu.myshopify.com"),
        profiles=0,
        mapped=0,
        in_sync=0,
        pending=0,
        parity=0.0,
    ),
    StatusRow(
        store=StoreName("acme-us"),
        shop=ShopDomain("acme-us.myshopify.com"),
        profiles=100_000,
        mapped=99_990,
        in_sync=99_988,
        pending=2,
        held={"EmailTaken": 2, "NoEmail": 8},
        parity=0.99988,
        last_sweep_at=AT,
        oldest_request_s=3.2,
        suspended="the shop refuses the token",
    ),
)
RESULTS = (
    ApplyResult(
        store=StoreName("acme-us"),
        applied={"create": 120, "update": 1},
        failed=(
            Failure(
                clerk_user_id=ClerkUserId("user_7"),
                kind="update",
                result="refused",
                message="the customer has changed in Shopify since the plan was made",
                hint="plan again",
            ),
        ),
        held=3,
        points_spent=2420,
        seconds=24.2,
    ),
    ApplyResult(store=StoreName("acme-eu")),
    ApplyResult(store=StoreName("acme-jp"), done_already=2),
    ApplyResult(store=StoreName("acme-fr"), error="StoreSuspended: the shop refuses the token"),
)


def mapping(user: str, customer: str | None, email: str | None, status: Status, reason: str | None = None) -> Mapping:
    return Mapping(
        clerk_user_id=ClerkUserId(user),
        store=StoreName("acme-us"),
        shop=ShopDomain("acme-us.myshopify.com"),
        customer_id=CustomerId(customer) if customer else None,
        email=email,
        status=status,
        reason=reason,
        first_seen_at=AT,
        last_seen_at=AT + timedelta(hours=1),
    )


MAPPINGS = [
    mapping("user_1", "gid://shopify/Customer/7", "ada@example.com", "in_sync"),
    mapping("user_2", None, None, "held", "NoEmail"),
]


def test_status_shows_parity_and_what_asks_for_attention() -> None:
    assert shown(lambda console: render.print_status(ROWS, console)) == snapshot("""\
store    profiles  mapped  in sync  pending  held  parity  last scan, UTC  \n\
───────────────────────────────────────────────────────────────────────────
acme-eu         –       0        0        0     0   0.0 %  never           \n\
acme-us   100,000  99,990   99,988        2    10  99.9 %  2026-11-23 09:00

acme-eu  acme-eu.myshopify.com
  never fully scanned, so its parity is unknown: reconciler apply, or reconciler
    run

acme-us  acme-us.myshopify.com
  suspended: the shop refuses the token
  hint: reconciler doctor --store acme-us
  the oldest request has waited for 3.2 s

! NoEmail 8  reconciler docs NoEmail  in acme-us (8)
! EmailTaken 2  reconciler docs EmailTaken  in acme-us (2)
""")


def test_status_shows_how_far_long_work_is_and_when_it_ends() -> None:
    began, later = AT - timedelta(minutes=10), AT - timedelta(days=2)
    mark = {"complete_at": later, "listed_at": began, "now": AT}
    row = replace(
        ROWS[1],
        held={},
        suspended=None,
        oldest_request_s=None,
        sweep=scan_progress(began, 5_000, 20_000, now=AT),
        mirror=mirror_progress("gid://shopify/BulkOperation/1", began, 2_500, 10_000, fresh=False, **mark),
        bulk=bulk_progress(began, 400, 300, 100, files=2, operations=1, now=AT),
    )
    assert shown(lambda console: render.print_status([row], console)).partition("myshopify.com\n")[2] == snapshot("""\
  full scan since 2026-11-23 08:50 UTC: 5,000 of 20,000 rows, until about
    2026-11-23 09:30 UTC
  a bulk query fills the mirror since 2026-11-23 08:50 UTC: 2,500 of 10,000
    customers stored, until about 2026-11-23 09:30 UTC
  bulk writes in progress since 2026-11-23 08:50 UTC, 2 files, 1 operation
    running: 100 of 400 lines done, 100 more not in a file yet, until about
    2026-11-23 09:40 UTC
  mirror filled 2026-11-21 09:00 UTC, updated 2026-11-23 08:50 UTC
  too old to be used by plans: reconciler backfill shopify
""")
    told = json.loads(render.status_json([row], AT))["stores"][0]
    assert told["mirror"] == {
        "operation": "gid://shopify/BulkOperation/1", "began_at": "2026-11-23T08:50:00Z", "lines": 2500, "expected": 10000,
        "ends_at": "2026-11-23T09:30:00Z", "complete_at": "2026-11-21T09:00:00Z", "listed_at": "2026-11-23T08:50:00Z",
        "fresh": False,
    }  # fmt: skip
    assert told["bulk"] == {
        "began_at": "2026-11-23T08:50:00Z", "files": 2, "operations": 1, "lines": 400, "done": 100, "left": 300,
        "waiting": 100, "ends_at": "2026-11-23T09:40:00Z", "abandoned": False,
    }  # fmt: skip


def test_parity_is_never_rounded_up_to_a_hundred() -> None:
    assert "99.9 %" in shown(lambda console: render.print_status(ROWS, console))


def test_status_as_json_has_the_promised_keys() -> None:
    body = json.loads(render.status_json(ROWS, AT))
    assert body["at"] == "2026-11-23T09:00:00Z"
    row = body["stores"][1]
    assert row.keys() >= {
        "store", "profiles", "mapped", "in_sync", "pending", "held", "parity", "last_sweep_at", "oldest_request_s",
    }  # fmt: skip
    assert row["held"] == {"EmailTaken": 2, "NoEmail": 8}
    assert row["last_sweep_at"] == "2026-11-23T09:00:00Z"
    assert body["stores"][0]["last_sweep_at"] is None


def test_results_name_each_action_that_was_not_applied() -> None:
    assert shown(lambda console: render.print_results(RESULTS, console)) == snapshot("""\

acme-us  120 created · 1 updated · 1 not applied · 3 held · 2,420 points in 24 s
  ✗ update user_7 refused: the customer has changed in Shopify since the plan
      was made
      hint: plan again
acme-jp  2 done already by another process
acme-fr  nothing was applied: StoreSuspended: the shop refuses the token
acme-eu  nothing to do
121 actions applied in 1 store
""")


def test_results_as_json_carry_the_digest() -> None:
    body = json.loads("".join(render.results_json(RESULTS, "sha256:abc")))
    assert body["digest"] == "sha256:abc"
    assert [s["store"] for s in body["stores"]] == ["acme-us", "acme-eu", "acme-jp", "acme-fr"]
    assert body["stores"][0]["failed"][0]["result"] == "refused"


def test_mappings_are_one_line_each() -> None:
    assert shown(lambda console: render.print_mappings(MAPPINGS, console)) == snapshot("""\
user     store     customer   email             status      \n\
────────────────────────────────────────────────────────────
user_1   acme-us   7          ada@example.com   in sync     \n\
user_2   acme-us   –          –                 held NoEmail
2 mappings
""")


def test_a_mapping_that_is_too_wide_for_a_table_wraps_between_its_values() -> None:
    wide = mapping(
        "user_05HnbncV7AMnXqatyL2EJC9kNCg", "gid://shopify/Customer/700177833000000043", "k@example.com", "in_sync"
    )
    assert shown(lambda console: render.print_mappings([wide], console)) == snapshot("""\
user_05HnbncV7AMnXqatyL2EJC9kNCg  acme-us  700177833000000043  k@example.com
    in sync
1 mapping
""")


def test_mappings_as_json_have_the_promised_keys() -> None:
    rows = json.loads("".join(render.mappings_json(MAPPINGS)))
    assert rows == [
        {
            "clerk_user_id": "user_1",
            "store": "acme-us",
            "shopify_shop": "acme-us.myshopify.com",
            "shopify_customer_id": "gid://shopify/Customer/7",
            "email": "ada@example.com",
            "first_seen_at": "2026-11-23T09:00:00Z",
            "last_seen_at": "2026-11-23T10:00:00Z",
            "status": "in_sync",
            "reason": None,
            "message": None,
        },
        {
            "clerk_user_id": "user_2",
            "store": "acme-us",
            "shopify_shop": "acme-us.myshopify.com",
            "shopify_customer_id": None,
            "email": None,
            "first_seen_at": "2026-11-23T09:00:00Z",
            "last_seen_at": "2026-11-23T10:00:00Z",
            "status": "held",
            "reason": "NoEmail",
            "message": None,
        },
    ]


def test_no_mappings_are_an_empty_list() -> None:
    assert json.loads("".join(render.mappings_json([]))) == []
    assert "0 mappings" in shown(lambda console: render.print_mappings([], console))


def test_times_are_shown_in_utc() -> None:
    assert time_z(datetime(2026, 11, 23, 10, 0, tzinfo=timezone(timedelta(hours=1)))) == "2026-11-23T09:00:00Z"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0.0 s"), (0.44, "0.4 s"), (25, "25 s"), (119.4, "119 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")],
)
def test_durations_are_shown_as_people_say_them(seconds: float, words: str) -> None:
    assert seconds_text(seconds) == words


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("Zoë", "Zoë"),
        ("a\tb\r\n", "a\\tb\\r\\n"),
        ("\x1b[31m", "\\x1b[31m"),
        ("\x9b31m", "\\x9b31m"),
        ("\u202etxt.exe", "\\u202etxt.exe"),
        ("\u2028", "\\u2028"),
        ("\ue000", "\\ue000"),
        ("\ud800", "\\ud800"),
        ("\U000e0041", "\\U000e0041"),
        ("\x7f", "\\x7f"),
    ],
)
def test_what_is_not_visible_is_spelled_out(text: str, safe: str) -> None:
    assert clean(text) == safe


def test_stores_with_the_same_remarks_are_shown_once() -> None:
    rows = [
        replace(ROWS[1], store=StoreName(f"shop-{n:02}"), shop=ShopDomain(f"shop-{n:02}.myshopify.com"), suspended="no")
        for n in range(30)
    ]
    said = shown(lambda console: render.print_status(rows, console)).partition("\n\n")[2]
    assert said.startswith("30 stores  shop-00, shop-01, ")
    assert said.count("suspended: no") == said.count("hint: reconciler doctor --store STORE") == 1
    assert said.count("! NoEmail 240  reconciler docs NoEmail  in shop-00 (8), ") == 1


def test_of_many_stores_those_with_most_holds_of_a_reason_are_named() -> None:
    rows = [replace(ROWS[1], store=StoreName(f"shop-{n}"), held={"NoEmail": n}) for n in range(1, 8)]
    said = " ".join(shown(lambda console: render.print_status(rows, console)).split())
    assert " in shop-7 (7), shop-6 (6), shop-5 (5), shop-4 (4), shop-3 (3), and 2 more stores each store" in said
    assert said.endswith("each store's reasons: reconciler status --store NAME, or --output json")


def test_stores_that_need_nothing_are_only_named_if_there_are_many() -> None:
    there = ExplainedStore(
        store=StoreName("acme-us"), shop=ShopDomain("acme-us.myshopify.com"), status="in_sync", answer="Here."
    )
    others = tuple(
        replace(there, store=StoreName(f"shop-{n}"), status="unwanted", answer=f"Not in {n}.") for n in range(5)
    )

    def said(stores: tuple[ExplainedStore, ...]) -> str:
        found = Explained(clerk_user_id=ClerkUserId("user_1"), stores=(there, *stores))
        return shown(lambda console: print_explained(found, console, now=AT))

    assert "Not in 0." in said(others[:2])
    assert "not wanted by\n5 stores  shop-0, shop-1, shop-2, shop-3, shop-4\n" in said(others)
    assert "Not in 0." not in said(others)
    equal = tuple(replace(there, store=StoreName(f"shop-{n}"), answer=f"In {n}.") for n in range(4))
    assert "in sync in\n5 stores  acme-us, shop-0, shop-1, shop-2, shop-3\n--store STORE shows the customer\n" in said(
        equal
    )
    assert "In 1." not in said(equal)
