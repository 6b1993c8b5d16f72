"""Status, mappings, db and schema by the front door."""

import json
from datetime import UTC, datetime

from reconciler.core.ids import ClerkUserId, ShopDomain
from reconciler.ports import BulkFile, BulkLine
from reconciler.state.engine import open_engine
from reconciler.state.store import StateStore
from tests.cli.town import EU, US, Town


def test_status_tells_parity_and_who_is_held(ready: Town) -> None:
    ready("apply", "--yes")
    body = ready("status", "--output", "json").json
    us = next(s for s in body["stores"] if s["store"] == US)
    assert (us["profiles"], us["mapped"], us["in_sync"], us["pending"]) == (3, 2, 2, 0)
    assert us["held"] == {"NoEmail": 1}
    assert 0 < us["parity"] < 1
    assert us["last_sweep_at"].endswith("Z")
    text = ready("status")
    assert text.code == 0
    assert "! NoEmail 1  docs/errors.md#noemail" in text.out


def test_status_before_anything_was_looked_at(town: Town) -> None:
    said = town("status")
    assert said.code == 0
    assert "never looked at as a whole" in said.out
    row = town("status", "--output", "json").json["stores"][0]
    assert (row["last_sweep_at"], row["parity"]) == (None, 0.0)
    assert "never looked at" in row["parity_note"]


def test_who_is_asked_for_is_pending_until_somebody_looks(ready: Town) -> None:
    ready("apply", "--yes", "--store", EU)
    assert ready("status", "--store", EU, "--output", "json").json["stores"][0]["parity"] == 1.0
    ready("nudge", "user_dora", "user_new", "--store", EU)
    row = ready("status", "--store", EU, "--output", "json").json["stores"][0]
    assert (row["profiles"], row["in_sync"], row["pending"], row["parity"]) == (2, 0, 2, 0.0)


def test_status_tells_of_mirrors_and_of_bulk_work_under_way(ready: Town) -> None:
    ready("apply", "--yes")
    assert [s["mirror"] for s in ready("status", "--output", "json").json["stores"]] == [None, None]
    ready("backfill", "shopify", "--store", US)
    told = {s["store"]: s for s in ready("status", "--output", "json").json["stores"]}
    assert (told[EU]["mirror"], told[US]["mirror"]["operation"], told[US]["mirror"]["fresh"]) == (None, None, True)
    assert "its mirror is of " in ready("status").out

    engine = open_engine(ready.settings["state"]["url"])
    state, shop, now = StateStore(engine), ShopDomain(f"{US}.myshopify.com"), datetime(2026, 11, 23, 9, tzinfo=UTC)
    state.begin_mirror(shop, "gid://shopify/BulkOperation/9", now=now, expected=3)
    lines = [
        BulkLine(user=ClerkUserId(u), rides_in="customers", decision="{}", plan_digest="") for u in ("a", "b", "c")
    ]
    state.enqueue_lines(shop, lines)
    file = BulkFile(key="k", shop=shop, rides_in="customers", path="p", digest="d", lines=2, begun_at=now)
    state.begin_file(file, {ClerkUserId("a"): 0, ClerkUserId("b"): 1})
    state.settle_lines(shop, [], [], done=[ClerkUserId("a")])
    engine.dispose()
    us = {s["store"]: s for s in ready("status", "--output", "json").json["stores"]}[US]
    assert (us["mirror"]["operation"], us["mirror"]["lines"], us["mirror"]["expected"]) == (
        "gid://shopify/BulkOperation/9", 0, 3,
    )  # fmt: skip
    assert {name: us["bulk"][name] for name in ("lines", "done", "left", "waiting")} == {
        "lines": 2, "done": 1, "left": 1, "waiting": 1,
    }  # fmt: skip
    said = " ".join(ready("status").out.split())
    assert "a bulk query fills its mirror since" in said
    assert "1 of 2 lines answered, 1 more wait for a file" in said


def test_status_asks_no_shop(ready: Town) -> None:
    calls = len(ready.shop().calls)
    ready("status")
    assert len(ready.shop().calls) == calls


def test_mappings_are_listed_by_store_and_user(ready: Town) -> None:
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


def test_a_user_is_forgotten_and_found_again_by_her_back_link(ready: Town) -> None:
    ready("apply", "--yes")
    before = ready.mutations
    assert ready("mappings", "forget", "user_ada").code == 1
    assert ready("mappings", "forget", "user_ada", "--yes").code == 0
    assert "user_ada" not in ready("mappings", "list").out
    assert ready("apply", "--yes").code == 0
    assert ready.mutations == before
    assert "user_ada" in ready("mappings", "list").out


def test_nobody_unknown_is_forgotten(ready: Town) -> None:
    said = ready("mappings", "forget", "user_nobody", "--yes")
    assert said.code == 64
    assert "no mapping of user_nobody is known" in said.err


def test_the_schema_is_made_and_checked(town: Town) -> None:
    before = town("db", "check")
    assert before.code == 1
    assert "hint: reconciler db upgrade" in before.err
    assert town("db", "upgrade").code == 0
    assert town("db", "upgrade").code == 0
    assert town("db", "check").code == 0


def test_json_schemas_are_printed_or_written(town: Town) -> None:
    schemas = town("schema").json
    assert set(schemas) == {"reconciler.schema.json", "stores.schema.json"}
    assert town("schema", "--out", str(town.folder / "schemas")).code == 0
    written = town.folder / "schemas" / "stores.schema.json"
    assert json.loads(written.read_text()) == schemas["stores.schema.json"]
