"""What is said is true: no exit code, table or page says "in sync", "no drift" or "done" unless that was established."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from typing import Any

import pytest

from tests.cli.harness import US
from tests.stories.harness import StoryHarness, mail


@pytest.fixture
def two(story: StoryHarness) -> StoryHarness:
    for name in ("ada", "bob"):
        story.user(name)
    story.apply()
    return story


# --- drift ---------------------------------------------------------------------------------------------------------


def test_drift_does_not_say_no_drift_of_a_field_that_the_shop_does_not_show(two: StoryHarness) -> None:
    two.staff("unapprove", fields=["firstName"])
    said = two("drift")
    assert said.code == 1
    assert "no drift" not in said.out
    assert "Unreadable" in said.out
    assert "could not be read" in said.err
    found = two("drift", "--output", "json")
    assert found.code == 1
    (store,) = found.json["stores"]
    assert {each["clerk_user_id"] for each in store["not_read"]} == {"user_ada", "user_bob"}


def test_drift_does_not_say_no_drift_of_a_column_that_cannot_be_read(two: StoryHarness) -> None:
    two.user("ada", first_name=b"\x00\xff")
    said = two("drift")
    assert said.code == 1
    assert "user_ada" in said.out


# --- after a failure ---------------------------------------------------------------------------------------------------


def test_a_user_with_a_failed_write_is_pending_and_the_next_apply_ends_that(two: StoryHarness) -> None:
    two.user("ada", last_name="King")
    two.user("eve")
    two.shop().faults.add("status", status=500, on="customerSet", times=None)
    two.apply(code=1)
    rows = two.mappings()
    for name in ("ada", "eve"):
        assert rows[name]["status"] == "pending"
        assert rows[name]["message"]
    assert rows["bob"]["status"] == "in_sync"
    (store,) = two("status", "--output", "json").json["stores"]
    assert (store["in_sync"], store["pending"]) == (1, 2)
    assert store["parity"] < 1
    two.shop().faults.clear()
    two.apply()
    assert {row["status"] for row in two.mappings().values()} == {"in_sync"}
    two.settles()


def test_nothing_is_called_in_sync_while_the_shop_refuses_us_or_a_change_waits(two: StoryHarness) -> None:
    two("nudge", "user_bob")
    assert {name: row["status"] for name, row in two.mappings().items()} == {"ada": "in_sync", "bob": "pending"}


def test_parity_of_nothing_is_not_a_hundred_percent(story: StoryHarness) -> None:
    story.user("ada", locale="de-DE")
    story.store["where"] = {"locale": "en-US"}
    story.apply()
    (store,) = story("status", "--output", "json").json["stores"]
    assert (store["profiles"], store["parity"]) == (0, 0.0)
    assert "wants no users" in store["parity_note"]
    said = story("status")
    assert "100 %" not in said.out


# --- explain ---------------------------------------------------------------------------------------------------------


def test_explain_says_what_the_guard_holds(two: StoryHarness) -> None:
    two.store["guards"] = {"update": {"max": 1}}
    for name in ("ada", "bob"):
        two.user(name, last_name="King")
    two.apply()
    (store,) = two("explain", "user_ada", "--output", "json").json["stores"]
    assert (store["status"], store["reason"]) == ("held", "GuardExceeded")
    assert store["next"]["action"] is None
    (held,) = store["next"]["holds"]
    assert held["action"]["changes"][0]["after"] == "King"


# --- users on the command line ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["nudge", "explain", "plan --user", "apply --yes --user"])
def test_an_unknown_user_is_an_error_and_nothing_is_done(two: StoryHarness, command: str) -> None:
    said = two(*command.split(), "user_typo")
    assert said.code == 1
    assert "unknown: user_typo" in said.err
    assert "hint:" in said.err
    assert {row["status"] for row in two.mappings().values()} == {"in_sync"}


def test_a_user_is_named_by_id_email_or_customer(two: StoryHarness) -> None:
    gid = two.theirs("ada").id
    number = gid.rpartition("/")[2]
    for word in (
        "user_ada",
        mail("ada").upper(),
        gid,
        number,
        f"https://admin.shopify.com/store/acme/customers/{number}",
    ):
        said = two("explain", word, "--output", "json")
        assert said.code == 0, said.err
        assert said.json["clerk_user_id"] == "user_ada", word


def test_an_email_of_two_users_is_ambiguous(two: StoryHarness) -> None:
    two.user("eve", email=mail("ada"))
    said = two("explain", mail("ada"))
    assert said.code == 1
    words = " ".join(said.err.split())
    assert f"error: user_ada (Ada, {mail('ada')}) error: user_eve (Eve, {mail('ada')}) hint" in words
    assert "hint: use one of these Clerk ids" in words


# --- apply and undo --------------------------------------------------------------------------------------------------


def test_apply_of_a_file_says_the_digest_of_the_plan(two: StoryHarness) -> None:
    two.user("ada", last_name="King")
    path = two.folder / "the.plan"
    digest = two("plan", "--output", "json", "--out", str(path)).json["digest"]
    said = two("apply", str(path), "--yes")
    assert said.code == 0
    assert digest in said.out + said.err


@pytest.mark.parametrize("length", ["5x", "1h"])
def test_max_age_without_a_file_is_not_ignored(two: StoryHarness, length: str) -> None:
    said = two("apply", "--yes", "--max-age", length)
    assert said.code == 64
    assert "--max-age" in said.err


def test_undo_since_a_moment_in_the_future_is_refused_and_the_zone_is_said(two: StoryHarness) -> None:
    said = two("undo", "--since", "2999-01-01T00:00", "--yes")
    assert said.code == 64
    assert "future" in said.err
    assert "UTC" in said.err
    said = two("undo", "--since", "2020-01-01T00:00", "--yes")
    assert "2020-01-01 00:00:00 UTC" in said.err


def test_undo_above_a_guard_advises_a_command_that_works(two: StoryHarness) -> None:
    for name in ("ada", "bob"):
        two.user(name, last_name="King")
    digest = two.apply()["digest"]
    two.store["guards"] = {"update": {"max": 1}}
    said = two("undo", "--plan", digest, "--yes")
    line = next(line for line in said.out.split("\n") if " undo --plan" in line)
    words = shlex.split(line.partition("reconciler ")[2])
    assert two(*words, "--yes").code == 0
    assert two.theirs("ada").last_name is None


@pytest.mark.slow
def test_apply_says_what_it_did_though_its_reader_has_gone(two: StoryHarness) -> None:
    two.user("ada", last_name="King")
    two.write_files()
    command = [sys.executable, "-m", "reconciler.cli", *two.files, "apply", "--yes"]
    reader, writer = os.pipe()
    with subprocess.Popen(command, stdout=writer, stderr=subprocess.PIPE, text=True) as process:
        os.close(writer)
        os.close(reader)
        said: Any = process.communicate(timeout=60)
    assert two.theirs("ada").last_name == "King"
    assert "1 updated" in said[1]
    assert process.returncode == 0


@pytest.mark.parametrize("width", [40, 60, 69])
def test_a_narrow_status_keeps_the_name_of_the_store(
    two: StoryHarness, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    said = two("status")
    assert US in said.out
    assert "100 %" in said.out
