"""Status, mappings, db and schema through the command line."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from reconciler.controller.scan.standing import FULL
from reconciler.core.model.ids import ClerkUserId, CustomerId, ShopDomain, StoreName
from reconciler.ports import BulkFile, BulkLine, Seen, StoreFacts
from reconciler.state.database.engine import open_engine
from tests.cli.harness import EU, US, CliHarness
from tests.clock import WallClock
from tests.state_store import StateStore

SHOP = ShopDomain(f"{US}.myshopify.com")
NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)


def test_status_tells_parity_and_who_is_held(ready: CliHarness) -> None:
    ready("apply", "--yes")
    body = ready("status", "--output", "json").json
    us = next(s for s in body["stores"] if s["store"] == US)
    assert (us["profiles"], us["mapped"], us["in_sync"], us["pending"]) == (3, 2, 2, 0)
    assert us["held"] == {"NoEmail": 1}
    assert 0 < us["parity"] < 1
    assert us["last_sweep_at"].endswith("Z")
    text = ready("status")
    assert text.code == 0
    assert "! NoEmail 1  reconciler docs NoEmail" in text.out


def test_status_before_anything_was_reconciled(cli: CliHarness) -> None:
    said = cli("status")
    assert said.code == 0
    assert "never fully scanned" in said.out
    row = cli("status", "--output", "json").json["stores"][0]
    assert (row["last_sweep_at"], row["parity"]) == (None, 0.0)
    assert "no full scan yet" in row["parity_note"]


def test_a_requested_user_is_pending_until_the_reconcile(ready: CliHarness) -> None:
    ready("apply", "--yes", "--store", EU)
    assert ready("status", "--store", EU, "--output", "json").json["stores"][0]["parity"] == 1.0
    ready.add({"clerk_user_id": "user_new", "email": "new@example.com", "first_name": "Neo", "locale": "de-DE"})
    ready("nudge", "user_dora", "user_new", "--store", EU)
    row = ready("status", "--store", EU, "--output", "json").json["stores"][0]
    assert (row["profiles"], row["in_sync"], row["pending"], row["parity"]) == (2, 0, 2, 0.0)


@contextmanager
def state_of(cli: CliHarness) -> Iterator[StateStore]:
    """The state between two commands."""
    engine = open_engine(cli.settings["state"]["url"])
    yield StateStore(engine)
    engine.dispose()


def of_us(cli: CliHarness) -> dict[str, Any]:
    """What `status` tells of one shop."""
    told: dict[str, Any] = {s["store"]: s for s in cli("status", "--output", "json").json["stores"]}[US]
    return told


def test_status_tells_how_old_a_mirror_is(ready: CliHarness) -> None:
    ready("apply", "--yes")
    assert [s["mirror"] for s in ready("status", "--output", "json").json["stores"]] == [None, None]
    ready("backfill", "shopify", "--store", US)
    told = {s["store"]: s for s in ready("status", "--output", "json").json["stores"]}
    assert (told[EU]["mirror"], told[US]["mirror"]["operation"], told[US]["mirror"]["fresh"]) == (None, None, True)
    assert "mirror filled " in ready("status").out


def test_status_tells_of_bulk_work_under_way(ready: CliHarness) -> None:
    ready("db", "upgrade")
    assert of_us(ready)["bulk"] is None
    with state_of(ready) as state:
        lines = [
            BulkLine(user=ClerkUserId(u), rides_in="customers", decision="{}", plan_digest="") for u in ("a", "b", "c")
        ]
        state.enqueue_lines(SHOP, lines)
    assert (of_us(ready)["bulk"]["files"], of_us(ready)["bulk"]["waiting"]) == (0, 3)
    assert "bulk writes in progress: 0 of 0 lines done, 3 more not in a file yet" in ready("status").out
    with state_of(ready) as state:
        for key, user in (("one", "a"), ("two", "b")):
            file = BulkFile(key=key, shop=SHOP, rides_in="customers", path="p", digest="d", lines=1, begun_at=NOW)
            state.begin_file(file, {ClerkUserId(user): 0})
            if key == "one":
                state.note_operation(file, "gid://shopify/BulkOperation/9")
        state.settle_lines(SHOP, [], [], done=[ClerkUserId("a")])
    told = of_us(ready)["bulk"]
    assert {name: told[name] for name in ("files", "operations", "lines", "done", "left", "waiting")} == {
        "files": 2, "operations": 1, "lines": 2, "done": 1, "left": 1, "waiting": 1,
    }  # fmt: skip
    said = " ".join(ready("status").out.split())
    assert told["abandoned"]
    assert f"to continue: reconciler apply --store {US} --bulk auto" in said
    assert "2 files, 1 operation running: 1 of 2 lines done, 1 more not in a file yet" in said


def test_status_names_no_command_while_an_apply_works_on_its_bulk_operations(ready: CliHarness) -> None:
    ready("db", "upgrade")
    with state_of(ready) as state:
        state.enqueue_lines(SHOP, [BulkLine(ClerkUserId("a"), rides_in="customers", decision="{}", plan_digest="")])
        assert state.acquire(f"bulk {SHOP}", state.new_holder(), ttl_s=600, now=WallClock().now())
        assert not of_us(ready)["bulk"]["abandoned"]
        assert "--bulk auto" not in ready("status").out


def test_status_tells_how_far_a_mirror_is_filled(ready: CliHarness) -> None:
    assert ready("backfill", "shopify", "--store", US).code == 0
    complete_at = of_us(ready)["mirror"]["complete_at"]
    with state_of(ready) as state:
        began = WallClock().now() - timedelta(minutes=10)
        state.begin_mirror(SHOP, "gid://shopify/BulkOperation/9", now=began, expected=4)
        seen = [Seen(CustomerId(f"gid://shopify/Customer/{n}"), None, None, 7, "{}", None) for n in (1, 2)]
        state.put_seen(SHOP, seen, as_of=began, now=began, source="bulk", lines=2)
    mirror = of_us(ready)["mirror"]
    assert {name: mirror[name] for name in ("operation", "lines", "expected", "complete_at")} == {
        "operation": "gid://shopify/BulkOperation/9", "lines": 2, "expected": 4, "complete_at": complete_at,
    }  # fmt: skip
    said = " ".join(ready("status", "--store", US).out.split())
    assert "a bulk query fills the mirror since" in said
    assert ": 2 of 4 customers stored" in said
    assert "mirror filled" in said
    assert ready("backfill", "shopify", "--store", US).code == 0
    assert (of_us(ready)["mirror"]["operation"], of_us(ready)["mirror"]["lines"]) == (None, 0)


def test_status_shows_how_far_a_running_scan_is(ready: CliHarness) -> None:
    assert ready("status").code == 0
    with state_of(ready) as state:
        began = WallClock().now() - timedelta(minutes=10)
        state.begin(SHOP, FULL, now=began, total=4000)
        state.note(SHOP, FULL, cursor=ClerkUserId("user_b"), looked_at=1000, wanted=900, findings={})
    scan = of_us(ready)["sweep"]
    assert (scan["looked_at"], scan["total"], scan["ends_at"] > scan["started_at"]) == (1000, 4000, True)
    said = " ".join(ready("status", "--store", US).out.split())
    assert re.search(r"full scan since [\d-]+ [\d:]+ UTC: 1,000 of 4,000 rows, until about ", said)
    assert "full scan" not in ready("status", "--store", EU).out
    with state_of(ready) as state:
        state.finish(SHOP, FULL, now=began, watermark=began)
    assert of_us(ready)["sweep"] is None


def test_status_asks_no_shop(ready: CliHarness) -> None:
    calls = len(ready.shop().calls)
    ready("status")
    assert len(ready.shop().calls) == calls


def test_mappings_are_listed_by_store_and_user(ready: CliHarness) -> None:
    ready("apply", "--yes")
    rows = ready("mappings", "list", "--output", "json").json
    assert [(r["store"], r["clerk_user_id"], r["status"], r["reason"]) for r in rows] == [
        (EU, "user_dora", "in_sync", None),
        (US, "user_ada", "in_sync", None),
        (US, "user_bob", "in_sync", None),
        (US, "user_cleo", "held", "NoEmail"),
    ]
    assert rows[1]["shopify_customer_id"] == ready.customers()["ada@example.com"]["id"]
    assert rows[3]["shopify_customer_id"] is None
    assert "4 mappings" in ready("mappings", "list").out
    assert "1 mapping" in ready("mappings", "list", "--store", EU).out


def test_a_user_is_forgotten_and_found_again_by_their_back_link(ready: CliHarness) -> None:
    ready("apply", "--yes")
    before = ready.mutations
    assert ready("mappings", "forget", "user_ada").code == 1
    assert "user_ada in acme-us" in ready("mappings", "forget", "ada@example.com", "--yes").err
    assert "user_ada" not in ready("mappings", "list").out
    assert ready("apply", "--yes").code == 0
    assert ready.mutations == before
    assert "user_ada" in ready("mappings", "list").out


def test_an_unknown_user_can_t_be_forgotten(ready: CliHarness) -> None:
    said = ready("mappings", "forget", "user_absent", "--yes")
    assert said.code == 64
    assert "user_absent has no mapping" in said.err


def test_the_schema_is_made_and_checked(cli: CliHarness) -> None:
    before = cli("db", "check")
    assert before.code == 1
    assert "hint: reconciler db upgrade" in before.err
    assert cli("db", "upgrade").code == 0
    assert cli("db", "upgrade").code == 0
    assert cli("db", "check").code == 0


def test_json_schemas_are_printed_or_written(cli: CliHarness) -> None:
    schemas = cli("schema").json
    assert set(schemas) == {"reconciler.schema.json", "stores.schema.json"}
    assert cli("schema", "--out", str(cli.folder / "schemas")).code == 0
    written = cli.folder / "schemas" / "stores.schema.json"
    assert json.loads(written.read_text()) == schemas["stores.schema.json"]


def test_a_probe_says_what_the_shop_answers_and_ends_a_suspension(ready: CliHarness) -> None:
    ready("apply", "--yes")
    with state_of(ready) as state:
        state.put_facts(StoreFacts(StoreName(US), SHOP, suspended_reason="token refused"))
    ready.shop(US).faults.add("status", status=401, times=1)
    refused = ready("probe", US)
    assert (refused.code, "the shop refuses access" in refused.err) == (1, True)
    granted = ready("probe", US)
    assert (granted.code, "the shop grants access" in granted.err) == (0, True)
    assert "its suspension has ended" in granted.err
    assert "ended" not in ready("probe", US).err


def test_a_nudge_of_all_names_its_stores(ready: CliHarness) -> None:
    assert ready("nudge", "--all").code == 64
    assert ready("nudge", "user_ada", "--all", "--store", US).code == 64
    assert ready("nudge").code == 64
    assert "starts a full resync" in ready("nudge", "--all", "--store", US).err
    with state_of(ready) as state:
        assert [(one.kind, one.store, one.user) for one in state.acts(limit=9)] == [("nudge", US, None)]
