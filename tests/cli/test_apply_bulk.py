"""`apply --bulk` through the command line: real HTTP to the shop, to its storage and back."""

from datetime import UTC, datetime

from reconciler.core.model.ids import ShopDomain
from reconciler.ports import BulkFile
from reconciler.state.database.engine import open_engine
from reconciler.state.schema import ensure_schema
from tests.cli.harness import EU, US, CliHarness
from tests.cli.test_plan_apply import check_nothing_left
from tests.state_store import StateStore


def test_always_sends_a_plan_in_bulk_and_a_second_run_does_nothing(ready: CliHarness) -> None:
    said = ready("apply", "--yes", "--bulk", "always")
    assert said.code == 0
    assert "2 created" in said.out
    assert set(ready.customers()) == {"ada@example.com", "bob@example.com"}
    assert set(ready.customers(EU)) == {"dora@example.com"}
    for name in (US, EU):
        assert ready.shop(name).counts["bulkOperationRunMutation"] == 1
        assert "customerSet" not in ready.shop(name).counts
    assert {m["status"] for m in ready("mappings", "list", "--output", "json").json} == {"in_sync", "held"}
    check_nothing_left(ready)


def test_auto_sends_a_small_plan_one_by_one(ready: CliHarness) -> None:
    assert ready("apply", "--yes").code == 0
    assert "bulkOperationRunMutation" not in ready.shop().counts
    check_nothing_left(ready)


def test_never_says_so_of_any_plan(ready: CliHarness) -> None:
    assert ready("apply", "--yes", "--bulk", "never").code == 0
    assert "bulkOperationRunMutation" not in ready.shop().counts
    check_nothing_left(ready)


def test_never_waits_for_bulk_operations_that_a_killed_run_began(ready: CliHarness) -> None:
    engine = open_engine(ready.settings["state"]["url"])
    ensure_schema(engine)
    file = BulkFile(
        key="k", shop=ShopDomain(f"{US}.myshopify.com"), rides_in="customers", path="p", digest="d", lines=2,
        begun_at=datetime(2026, 11, 23, 9, tzinfo=UTC),
    )  # fmt: skip
    StateStore(engine).begin_file(file, {})
    engine.dispose()
    said = ready("apply", "--yes", "--bulk", "never")
    assert said.code == 1
    assert "1 bulk operation of an earlier run may still be running" in said.err
    assert f"hint: reconciler apply --store {US} --bulk auto" in said.err
    assert ready.customers() == ready.customers(EU) == {}
    assert ready("apply", "--yes", "--bulk", "never", "--store", EU).code == 0


def test_a_saved_plan_goes_in_bulk_too_and_is_checked_against_the_shop_first(ready: CliHarness) -> None:
    saved = ready.folder / "plan.json"
    assert ready("plan", "--out", str(saved)).code == 0
    ready.shop().staff("create", email="bob@example.com")
    said = ready("apply", str(saved), "--yes", "--bulk", "always")
    assert said.code == 1
    assert "user_bob" in said.out
    assert set(ready.customers()) == {"ada@example.com", "bob@example.com"}
    assert ready("apply", "--yes", "--bulk", "always").code == 0
    check_nothing_left(ready)
