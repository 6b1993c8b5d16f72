"""Plan and apply through the command line, against simulated shops; each story ends with a run that does nothing."""

import json
import re
from pathlib import Path

import pytest

from reconciler.simulator.world import ALL_SCOPES
from tests.cli.harness import EU, US, CliHarness, Said


def check_nothing_left(cli: CliHarness) -> None:
    before = cli.mutations
    assert cli("plan", "--detailed-exitcode").code == 0
    assert cli("apply", "--yes").code == 0
    assert cli.mutations == before


def test_from_nothing_to_an_empty_plan(ready: CliHarness) -> None:
    before = ready.mutations
    plan = ready("plan", "--output", "json", "--detailed-exitcode")
    assert plan.code == 2
    assert ready.mutations == before
    assert plan.json["summary"] == {
        "create": 3, "adopt": 0, "update": 0, "relink": 0, "merge": 0, "release": 0, "hold": 1, "in_sync": 0,
    }  # fmt: skip
    assert [s["store"] for s in plan.json["stores"]] == [EU, US]
    assert plan.json["created_at"].endswith("Z")
    (hold,) = plan.json["stores"][1]["holds"]
    assert (hold["clerk_user_id"], hold["reason"], hold["who_acts"]) == ("user_cleo", "NoEmail", "profile")
    applied = ready("apply", "--yes")
    assert applied.code == 0
    assert "2 created" in applied.out
    assert set(ready.customers()) == {"ada@example.com", "bob@example.com"}
    assert ready.customers()["ada@example.com"]["tags"] == ["app-user"]
    assert set(ready.customers(EU)) == {"dora@example.com"}
    check_nothing_left(ready)


def test_the_same_input_gives_the_same_digest(ready: CliHarness) -> None:
    one, two = ready("plan", "--output", "json").json, ready("plan", "--output", "json").json
    assert one["digest"] == two["digest"]
    ready.sql("update customers set first_name = 'Adah' where clerk_user_id = 'user_ada'")
    assert ready("plan", "--output", "json").json["digest"] != one["digest"]


def test_only_the_named_stores_and_users_are_planned(ready: CliHarness) -> None:
    body = ready("plan", "--store", US, "--user", "user_bob", "--output", "json").json
    assert [s["store"] for s in body["stores"]] == [US]
    assert [a["clerk_user_id"] for a in body["stores"][0]["actions"]] == ["user_bob"]
    assert body["stores"][0]["holds"] == []


def test_a_plan_of_a_named_user_says_why_nothing_is_to_be_done_as_explain_does(ready: CliHarness) -> None:
    clause = "because the store wants locale: en-US, and the profile has de-DE."
    ready.stores["acme-uk"] = ready.stores[US] | {"shop": "acme-uk.myshopify.com"}
    ready.world.add_shop("acme-uk.myshopify.com", access_token=f"token-{US}", scopes=set(ALL_SCOPES))
    ready.stores["acme-uk"]["admin_url"] = ready.server.url("acme-uk.myshopify.com")
    said = ready("plan", "--user", "user_dora")
    assert f"2 stores acme-uk, acme-us nothing to do Dora is not in STORE {clause}" in " ".join(said.out.split())
    assert "1 to create" in said.out
    for wide in ("markdown", "html"):
        assert f"Dora is not in {US} {clause}" in ready("plan", "--user", "user_dora", "--output", wide).out
    assert re.search(
        rf"  name-\w+ is not in {US} ", ready("plan", "--user", "user_dora", "--redact", "--store", US).out
    )
    body = ready("plan", "--user", "user_dora", "--output", "json").json
    answers = {
        store["store"]: store["answer"] for store in ready("explain", "user_dora", "--output", "json").json["stores"]
    }
    unaffected = {store["store"]: store["unaffected"] for store in body["stores"] if "unaffected" in store}
    assert unaffected == {
        name: [{"clerk_user_id": "user_dora", "name": "Dora", "status": "unwanted", "answer": answers[name]}]
        for name in ("acme-uk", US)
    }
    assert ready("apply", "--user", "user_dora", "--yes", "--approve", body["digest"]).code == 0
    assert "unaffected" not in ready("plan", "--output", "json").out


def test_changes_say_before_after_and_why(ready: CliHarness) -> None:
    ready.stores[US]["guards"] = {"update": {"max": 10}}  # a share of two people says nothing
    ready("apply", "--yes")
    ready.sql("update customers set first_name = 'Adah' where clerk_user_id = 'user_ada'")
    ready.shop().staff("edit", id=ready.customers()["bob@example.com"]["id"], first_name="Bert")
    said = ready("plan")
    assert "first_name: Ada → Adah  (profile changed)" in said.out
    assert "first_name: Bert → Bob  (drift)" in said.out
    assert ready("apply", "--yes").code == 0
    assert ready.customers()["bob@example.com"]["firstName"] == "Bob"
    check_nothing_left(ready)


def test_apply_without_a_yes_and_a_terminal_does_nothing(ready: CliHarness) -> None:
    before = ready.mutations
    said = ready("apply")
    assert said.code == 1
    assert "error: 3 actions need a confirmation, and there is no terminal to ask on" in said.err
    assert "hint: add --yes" in said.err
    assert ready.mutations == before


def test_where_there_is_nothing_to_do_no_one_is_asked(ready: CliHarness) -> None:
    assert ready("apply", "--yes").code == 0
    assert ready("apply").code == 0


def test_json_is_alone_on_stdout(ready: CliHarness) -> None:
    said = ready("apply", "--yes", "--output", "json")
    assert said.code == 0
    assert [s["applied"] for s in said.json["stores"]] == [{"create": 1}, {"create": 2}]


@pytest.mark.parametrize("output", ["markdown", "html"])
def test_a_plan_can_be_read_elsewhere(ready: CliHarness, output: str) -> None:
    said = ready("plan", "--output", output)
    assert said.code == 0
    assert "ada@example.com" in said.out


class TestSavedPlans:
    @pytest.fixture
    def saved(self, ready: CliHarness, tmp_path: Path) -> Path:
        ready.stores[US]["guards"] = {"update": {"max": 10}}
        path = tmp_path / "the.plan"
        assert ready("plan", "--out", str(path)).code == 0
        return path

    def test_a_saved_plan_is_applied_once(self, ready: CliHarness, saved: Path) -> None:
        assert ready("apply", str(saved), "--yes").code == 0
        assert set(ready.customers()) == {"ada@example.com", "bob@example.com"}
        again = ready("apply", str(saved), "--yes")
        assert again.code == 1
        assert "was already applied" in again.err
        check_nothing_left(ready)

    def test_the_same_plan_made_again_applies_again(self, ready: CliHarness, saved: Path) -> None:
        assert ready("apply", str(saved), "--yes").code == 0
        ada = ready.customers()["ada@example.com"]["id"]
        for turn in range(2):  # staff make the same slip twice: the plans say the same, and both may go
            ready.shop().staff("edit", id=ada, first_name="Tpyo")
            again = saved.with_name(f"{turn}.plan")
            assert ready("plan", "--user", "user_ada", "--out", str(again)).code == 0
            assert ready("apply", str(again), "--yes").code == 0
            assert ready.customers()["ada@example.com"]["firstName"] == "Ada"

    def test_a_changed_file_is_refused_whole(self, ready: CliHarness, saved: Path) -> None:
        saved.write_text(saved.read_text().replace("Ada", "Eve"))
        before = ready.mutations
        said = ready("apply", str(saved), "--yes")
        assert said.code == 1
        assert "is refused" in said.err
        assert ready.mutations == before

    def test_a_changed_config_is_refused_whole(self, ready: CliHarness, saved: Path) -> None:
        ready.stores[US]["tags"] = ["other"]
        before = ready.mutations
        said = ready("apply", str(saved), "--yes")
        assert said.code == 1
        assert "the config of acme-us has changed" in said.err
        assert ready.mutations == before

    def test_an_action_with_a_changed_row_is_refused_by_name_and_the_others_go_on(
        self, ready: CliHarness, saved: Path
    ) -> None:
        ready.sql("update customers set first_name = 'Adah' where clerk_user_id = 'user_ada'")
        said = ready("apply", str(saved), "--yes")
        assert said.code == 1
        assert "create user_ada refused: the profile has changed since the plan was made" in said.out
        assert set(ready.customers()) == {"bob@example.com"}

    def test_a_file_that_is_no_plan_is_refused(self, ready: CliHarness, tmp_path: Path) -> None:
        path = tmp_path / "note.txt"
        path.write_text("hello")
        said = ready("apply", str(path), "--yes")
        assert said.code == 1
        assert "is not a saved plan" in said.err

    def test_a_saved_plan_takes_no_other_choice(self, ready: CliHarness, saved: Path) -> None:
        assert ready("apply", str(saved), "--store", US, "--yes").code == 64

    def test_it_is_readable_by_its_owner_only(self, saved: Path) -> None:
        assert saved.stat().st_mode & 0o777 == 0o600
        assert json.loads(saved.read_text().splitlines()[-1])["seal"].startswith("sha256:")


def guarded(cli: CliHarness) -> Said:
    cli.stores[US]["guards"] = {"create": {"max": 1}}
    return cli("plan", "--output", "json", "--store", US)


def test_what_a_guard_holds_goes_with_an_approval_of_this_plan_only(ready: CliHarness) -> None:
    plan = guarded(ready).json
    assert plan["summary"]["create"] == 0
    assert {h["reason"] for h in plan["stores"][0]["holds"]} == {"GuardExceeded", "NoEmail"}
    assert ready("apply", "--store", US, "--yes").code == 0
    assert ready.customers() == {}
    wrong = ready("apply", "--store", US, "--yes", "--approve", "sha256:" + "0" * 64)
    assert wrong.code == 1
    assert ready.customers() == {}
    digest = ready("plan", "--output", "json", "--store", US).json["digest"]
    assert ready("apply", "--store", US, "--yes", "--approve", digest).code == 0
    assert set(ready.customers()) == {"ada@example.com", "bob@example.com"}
    assert ready("plan", "--store", US, "--detailed-exitcode").code == 0


def test_one_broken_shop_gives_one_and_the_others_are_planned_and_applied(ready: CliHarness) -> None:
    ready.stores[EU]["auth"] = {"access_token": "wrong"}
    plan = ready("plan", "--output", "json")
    assert plan.code == 1
    eu, us = plan.json["stores"]
    assert eu["error"]
    assert us["summary"]["create"] == 2
    applied = ready("apply", "--yes")
    assert applied.code == 1
    assert set(ready.customers()) == {"ada@example.com", "bob@example.com"}
    assert ready.customers(EU) == {}


def test_profiles_that_are_all_gone_release_no_one(ready: CliHarness) -> None:
    ready("apply", "--yes")
    ready.sql("delete from customers")
    said = ready("plan")
    assert said.code == 1
    assert said.err.startswith("error: ")
    assert "hint: " in said.err
