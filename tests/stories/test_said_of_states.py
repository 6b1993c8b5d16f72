"""What commands say where not everything is known: of stores that don't answer, of narrowed plans, of newer states."""

from __future__ import annotations

import shlex
import sqlite3
from contextlib import closing

import pytest

from tests.cli.harness import US, Said
from tests.stories.harness import StoryHarness


@pytest.fixture
def two(story: StoryHarness) -> StoryHarness:
    for name in ("ada", "bob"):
        story.user(name)
    story.apply()
    return story


def advised(said: Said, word: str = "reconciler") -> list[str]:
    """The command that lets go what a guard holds, as the plan prints it."""
    line = next(line for line in said.out.replace("`", "\n").splitlines() if "--approve sha256:" in line)
    return shlex.split(line)[shlex.split(line).index(word) + 1 :]


@pytest.mark.parametrize("output", ["text", "markdown"])
@pytest.mark.parametrize("narrowed", [("--user", "user_ada"), ("--store", US, "--user", "user_ada"), ("--live",), ()])
def test_a_plan_above_a_guard_advises_a_command_that_works(
    two: StoryHarness, narrowed: tuple[str, ...], output: str
) -> None:
    two.store["guards"] = {"update": {"max": 0}}
    for name in ("ada", "bob"):
        two.user(name, first_name="Other")
    words = advised(two("plan", "--output", output, *narrowed))
    assert two(*words, "--yes").code == 0
    assert two.theirs("ada").first_name == "Other"
    assert two.theirs("bob").first_name == ("Bob" if "--user" in narrowed else "Other")


@pytest.mark.parametrize("output", ["text", "markdown"])
def test_a_plan_of_other_files_advises_a_command_that_works_as_it_is_printed(two: StoryHarness, output: str) -> None:
    two.store["guards"] = {"update": {"max": 0}}
    two.user("ada", first_name="Other")
    two("status")
    files = two.folder / "it's ours"
    files.mkdir()
    for name in ("reconciler.yaml", "stores.yaml"):
        (two.folder / name).rename(files / name)
    named = ["--config", str(files / "reconciler.yaml"), "--stores", str(files / "stores.yaml")]
    saved = str(files / "the plan")
    for words in (
        [*named, "plan", "--output", output],
        ["plan", "--output", output, *named],
        [*named, "plan", "--output", output, "--out", saved],
        [*named, "apply", saved, "--max-age", "9h"],
    ):
        said = two.type(words)
        command = advised(Said(said.code, said.out or said.err, said.err))
        assert command[:4] == named
        if "--out" in words:
            assert f"apply it with: {shlex.join(['reconciler', *named, 'apply', saved])}\n" in said.err
    assert (
        f"apply it with: {shlex.join(['reconciler', *named, 'apply', saved])}"
        in two.type([*words[:4], "plan", "--out", saved]).err
    )
    assert two.type([*command, "--yes"]).code == 0
    assert two.theirs("ada").first_name == "Other"
    two.settles()


def test_an_import_above_a_guard_advises_a_command_that_works(two: StoryHarness) -> None:
    two.store["guards"] = {"adopt": {"max": 0}}
    guest = two.staff("create", email="old@elsewhere.example.com", first_name="Cyd")["id"]
    two.user("cyd")
    file = two.folder / "the pairs.csv"
    file.write_text(f"clerk_user_id,store,shopify_customer_id\nuser_cyd,{US},{guest}\n")
    words = advised(two("mappings", "import", str(file), "--yes"))
    assert two(*words, "--yes").code == 0
    assert two.theirs("cyd").id == guest


def test_drift_counts_users_and_says_in_its_last_line_what_could_not_be_read(two: StoryHarness) -> None:
    two.staff("guest_checkout", email="guest@elsewhere.example.com")
    guest = two.at("guest@elsewhere.example.com").id
    two.staff("merge", keep=guest, other=two.theirs("ada").id)
    said = two("drift")
    assert said.code == 3
    assert "1 drifted, 0 not applied yet" in said.out, "merged and edited is one user"
    (store,) = two("drift", "--output", "json").json["stores"]
    assert store["summary"]["drift"] == 1
    two.shop().faults.add("status", status=402, times=None)
    said = two("drift")
    assert said.code == 1
    assert said.out.strip().endswith("1 store could not be read")


def test_explain_does_not_say_in_sync_of_a_shop_that_it_could_not_read(two: StoryHarness) -> None:
    two.shop().faults.add("status", status=402, times=None)
    said = two("explain", "user_ada", "--output", "json")
    assert said.code == 1
    assert said.json["stores"][0]["status"] == "unknown"
    assert "in sync" not in two("explain", "user_ada").out


def test_explain_calls_no_field_equal_of_a_user_that_the_store_does_not_want(two: StoryHarness) -> None:
    two.store["where"] = {"locale": "xx"}
    lines = two("explain", "user_ada").out.splitlines()
    assert not [line for line in lines if line.startswith(("=", "≠"))]
    assert [line for line in lines if "ada@village.example.com" in line]
    (store,) = two("explain", "user_ada", "--output", "json").json["stores"]
    assert store["wanted"] is None
    assert next(f for f in store["fields"] if f["field"] == "tags")["wanted"] is None


@pytest.mark.parametrize("command", ["check", "upgrade"])
def test_a_state_that_a_newer_program_made_is_reported_as_such(two: StoryHarness, command: str) -> None:
    with closing(sqlite3.connect(two.folder / "state.db")) as connection, connection:
        connection.execute("update reconciler_version set version_num = '9999'")
    said = two("db", command)
    assert said.code == 1
    assert "newer than this program" in said.err
    assert "hint: upgrade customer-parity" in said.err


@pytest.mark.parametrize("since", ["99999999d", f"{'9' * 400}d", "0001-01-01T00:00+14:00", "9999-12-31T23:59-12:00"])
def test_a_moment_that_no_calendar_has_is_wrong_usage(two: StoryHarness, since: str) -> None:
    said = two("undo", "--since", since, "--yes")
    assert said.code == 64
    assert since in said.err
    assert "hint: write " in said.err
    assert len(two.everybody()) == 2


def test_a_plan_may_be_any_age_but_no_endless_one(two: StoryHarness) -> None:
    file = str(two.folder / "plan.json")
    assert two("plan", "--out", file).code == 0
    said = two("apply", file, "--yes", "--max-age", f"{'9' * 400}d")
    assert said.code == 64
    assert two("apply", file, "--yes", "--max-age", "3650d").code == 0


def test_doctor_fails_where_the_table_is_empty_and_users_are_mapped(two: StoryHarness) -> None:
    for name in ("ada", "bob"):
        two.gone(name)
    assert two("plan").code == 1
    said = two("doctor", "--output", "json")
    assert said.code == 1
    (check,) = [c for c in said.json["checks"] if c["what"] == "rows"]
    assert (check["level"], "2 mapped users" in check["message"]) == ("failed", True)


@pytest.mark.parametrize("on_leave", ["keep", "delete"])
def test_explain_shows_the_customer_that_a_released_user_left_where_it_is_there(
    two: StoryHarness, on_leave: str
) -> None:
    two.store["on_leave"] = on_leave
    at = two.theirs("ada").id
    two.gone("ada")
    two.apply()
    two.settles()
    (store,) = two("explain", "user_ada", "--output", "json").json["stores"]
    assert store["status"] == "released"
    assert store["customer_id"] == (at if on_leave == "keep" else None)
    assert store["observed"] is None or store["observed"]["email"] == "ada@village.example.com"
    row = two.mappings()["ada"]
    if on_leave == "keep":
        two.staff("edit", id=at, email="another@elsewhere.example.com")
        two.apply()
    assert two.mappings()["ada"] == row, "what is known of a user who left stays as it was"
    two.settles()


def test_explain_calls_no_tags_equal_that_are_missing_though_nothing_is_done_about_them(two: StoryHarness) -> None:
    def tags(user: str) -> tuple[bool, str | None]:
        (store,) = two("explain", user, "--output", "json").json["stores"]
        (field,) = [f for f in store["fields"] if f["field"] == "tags"]
        return field["equal"], field["why"]

    assert tags("user_ada") == (True, None)
    two.staff("untag", id=two.theirs("ada").id, tags=["app-user"])
    assert tags("user_ada") == (False, "drift")
    for held in ({"paused": True}, {"heal_drift": "hold"}):
        before = dict(two.store)
        two.store.update(held)
        assert tags("user_ada") == (False, "drift")
        two.stores[US] = before
    two.user("cyd", email=None)
    assert tags("user_cyd") == (False, None), "there is no customer that could have them"
