"""Saved plans: only what was reviewed is applied, once; what has changed since is refused by name, and the rest is done."""

from __future__ import annotations

import hashlib
import json
import stat
from pathlib import Path
from typing import Any

import pytest

from tests.stories.harness import StoryHarness, mail


@pytest.fixture
def due(story: StoryHarness) -> StoryHarness:
    """Ada is to be made, Bob and Cyd changed, Dee to go, a guest to be linked."""
    story.store["on_leave"] = "tag"
    for name in ("bob", "cyd", "dee"):
        story.user(name)
    story.apply()
    story.user("ada")
    story.user("bob", last_name="Builder")
    story.user("cyd", last_name="Charisse")
    story.gone("dee")
    story.staff("guest_checkout", email=mail("eve"))
    story.user("eve")
    return story


@pytest.fixture
def plan(due: StoryHarness) -> Path:
    """The sealed plan of all that."""
    return saved(due, "the.plan")


def saved(story: StoryHarness, name: str, *words: str) -> Path:
    path = story.folder / name
    assert story("plan", "--out", str(path), *words).code == 0
    return path


def apply(story: StoryHarness, path: Path, *words: str, code: int = 0) -> Any:
    said = story("apply", str(path), "--yes", "--output", "json", *words)
    assert said.code == code, said.out + said.err
    return said.json["stores"][0]


def refused_whole(story: StoryHarness, path: Path, *words: str) -> str:
    before, mutations = story.everybody(), story.mutations
    said = story("apply", str(path), "--yes", *words)
    assert said.code == 1
    assert said.out == ""
    assert "hint: " in said.err
    assert (story.everybody(), story.mutations) == (before, mutations)
    return said.err


def test_a_hold_of_a_saved_plan_is_recorded_only_if_it_is_still_true_when_applied(due: StoryHarness) -> None:
    due.user("fay", email=None)
    due.user("gil", email=None)
    path = saved(due, "held.plan")
    due.user("gil", email=mail("gil"))  # needs another plan by now
    apply(due, path)
    rows = due.mappings()
    assert (rows["fay"]["status"], rows["fay"]["reason"]) == ("held", "NoEmail")
    assert "gil" not in rows
    status = due("status", "--output", "json").json["stores"][0]
    assert status["held"] == {"NoEmail": 1}


def test_a_saved_plan_does_what_was_shown_and_is_applied_once(due: StoryHarness, plan: Path) -> None:
    assert apply(due, plan)["applied"] == {"create": 1, "adopt": 1, "update": 2, "release": 1}
    assert [due.theirs(n).last_name for n in ("bob", "cyd")] == ["Builder", "Charisse"]
    assert due.theirs("eve").orders == 1
    due.settles()
    assert "was already applied" in refused_whole(due, plan)


@pytest.mark.parametrize("moved", ["row", "customer", "row gone", "customer gone", "address taken", "guest taken"])
def test_an_action_with_changed_facts_is_refused_by_name_and_the_others_go_on(
    due: StoryHarness, plan: Path, moved: str
) -> None:
    who, why = "bob", ""
    match moved:
        case "row":
            due.user("bob", last_name="Bauer")
            why = "the profile has changed"
        case "customer":
            due.staff("edit", id=due.theirs("bob").id, note="by staff")
            why = "the customer has changed in Shopify"
        case "row gone":
            due.gone("bob")
        case "customer gone":
            due.staff("delete", id=due.theirs("bob").id)
        case "address taken":
            who = "ada"
            due.staff("guest_checkout", email=mail("ada"))
        case _:
            who = "eve"
            due.staff("set_metafield", id=due.at(mail("eve")).id, namespace="clerk", key="user_id", value="user_zoe",
                      type="id")  # fmt: skip
    result = apply(due, plan, code=1)
    assert [(f["clerk_user_id"], f["result"]) for f in result["failed"]] == [(f"user_{who}", "refused")]
    assert why in result["failed"][0]["message"]
    assert sum(result["applied"].values()) == 4
    assert due.theirs("cyd").last_name == "Charisse"
    due.apply()
    due.settles(held={("eve", "EmailTaken")} if who == "eve" else set())


def test_what_has_been_done_by_somebody_else_since_is_refused_as_done(due: StoryHarness, plan: Path) -> None:
    due.apply()
    mutations = due.mutations
    result = apply(due, plan, code=1)
    assert {f["result"] for f in result["failed"]} == {"refused"}
    assert (result["applied"], due.mutations) == ({}, mutations)
    due.settles()


@pytest.mark.parametrize("old", ["Builder", "user_bob", '"updat', '"sha256:'])
def test_a_file_in_which_one_word_was_changed_is_refused_whole(due: StoryHarness, plan: Path, old: str) -> None:
    text = plan.read_text()
    assert old in text
    plan.write_text(text.replace(old, old[:-1] + "x", 1))
    assert str(plan) in refused_whole(due, plan)
    due.apply()
    due.settles()


def test_a_file_of_another_version_is_refused_whole(due: StoryHarness, plan: Path) -> None:
    head, *lines, _ = plan.read_bytes().splitlines(keepends=True)
    sealed = b"".join([json.dumps({**json.loads(head), "program": "0.0.1"}).encode(), b"\n", *lines])
    plan.write_bytes(sealed + b'{"seal":"sha256:%s"}\n' % hashlib.sha256(sealed).hexdigest().encode())
    assert "made by version 0.0.1" in refused_whole(due, plan)
    due.apply()
    due.settles()


def test_a_file_in_the_format_of_older_versions_is_refused_with_what_to_do(due: StoryHarness, plan: Path) -> None:
    plan.write_text('{"seal":"sha256:0",\n"format":"customer-parity plan 1","narrowed":false,"plan":{"stores":[]}}\n')
    said = refused_whole(due, plan)
    assert "was saved by an older version" in said
    assert "hint: plan again: reconciler plan --out FILE" in said
    due.apply()
    due.settles()


def test_a_file_that_lost_its_end_is_refused_whole(due: StoryHarness, plan: Path) -> None:
    lines = plan.read_bytes().splitlines(keepends=True)
    for kept in range(1, len(lines)):
        plan.write_bytes(b"".join(lines[:kept]))
        assert "it was changed" in refused_whole(due, plan)
    plan.write_bytes(b"".join([*lines, lines[1]]))
    assert "it was changed" in refused_whole(due, plan)
    due.apply()
    due.settles()


@pytest.mark.parametrize(
    "change", [{"tags": ["other"]}, {"on_leave": "keep"}, {"heal_drift": "hold"}, {"guards": {}}, {"paused": True}]
)
def test_a_changed_config_refuses_the_whole_plan(due: StoryHarness, plan: Path, change: dict[str, Any]) -> None:
    kept = dict(due.store)
    due.store.update(change)
    assert "the config of acme-us has changed" in refused_whole(due, plan)
    due.stores["acme-us"] = kept
    apply(due, plan)
    due.settles()


def test_a_token_that_was_renewed_is_no_change_of_the_config(due: StoryHarness, plan: Path) -> None:
    due.shop().tokens.allow("token-renewed")
    due.store["auth"] = {"access_token": "token-renewed"}
    apply(due, plan)
    due.settles()


def test_a_plan_that_is_too_old_is_refused_whole_unless_it_is_allowed(due: StoryHarness, plan: Path) -> None:
    assert "old" in refused_whole(due, plan, "--max-age", "0s")
    apply(due, plan, "--max-age", "1h")
    due.settles()


def test_a_key_seals_plans_against_everybody_who_does_not_have_it(
    due: StoryHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    unsigned = saved(due, "unsigned.plan")
    monkeypatch.setenv("RECONCILER_PLAN_KEY", "a key of ours")
    assert "another key" in refused_whole(due, unsigned)
    signed = saved(due, "signed.plan")
    assert json.loads(signed.read_text().splitlines()[-1])["seal"].startswith("hmac-sha256:")
    monkeypatch.setenv("RECONCILER_PLAN_KEY", "another key")
    assert "another key" in refused_whole(due, signed)
    monkeypatch.delenv("RECONCILER_PLAN_KEY")
    assert "another key" in refused_whole(due, signed)
    monkeypatch.setenv("RECONCILER_PLAN_KEY", "a key of ours")
    apply(due, signed)
    due.settles()


def test_a_saved_plan_holds_of_people_only_what_the_plan_shows(due: StoryHarness) -> None:
    """Ada's phone is not ours there, Zoe is in sync, and Bob changes his last name alone."""
    due.user("zoe", last_name="Zzyzx")
    due.apply("--user", "user_zoe")
    due.user("bob", note="his secret", phone="+16134505293")
    due.store["fields"] = {"phone": "create_only"}
    text = saved(due, "the.plan").read_text()
    assert "Builder" in text
    for secret in ("Zzyzx", mail("zoe"), "his secret", "+16134505293", "token-acme-us"):
        assert secret not in text
    due.apply()
    due.settles()


def test_what_the_guards_hold_is_saved_and_goes_by_approval_of_the_saved_plan(due: StoryHarness) -> None:
    due.store["guards"] = {"update": {"max": 1}, "release": {"max": 50}}
    path = saved(due, "the.plan")
    digest = json.loads(path.read_text().splitlines()[0])["plan"]["digest"]
    assert "review the plan again" in refused_whole(due, path, "--approve", "sha256:" + "0" * 64)
    assert apply(due, path, "--approve", digest)["applied"]["update"] == 2
    due.settles()


def test_held_actions_are_re_checked_though_they_are_approved(due: StoryHarness) -> None:
    due.store["guards"] = {"update": {"max": 1}, "release": {"max": 50}}
    path = saved(due, "the.plan")
    digest = json.loads(path.read_text().splitlines()[0])["plan"]["digest"]
    due.user("bob", last_name="Bauer")
    result = apply(due, path, "--approve", digest, code=1)
    assert [f["clerk_user_id"] for f in result["failed"]] == ["user_bob"]
    assert due.theirs("cyd").last_name == "Charisse"
    due.apply()
    assert due.theirs("bob").last_name == "Bauer"
    due.settles()


@pytest.mark.parametrize("who", ["ada", "bob", "cyd"])
def test_a_circle_in_a_saved_plan_is_not_begun_where_one_of_it_has_moved(story: StoryHarness, who: str) -> None:
    for name in ("ada", "bob", "cyd", "dee"):
        story.user(name)
    story.apply()
    for name, following in (("ada", "bob"), ("bob", "cyd"), ("cyd", "ada")):
        story.user(name, email=mail(following))
    story.user("dee", last_name="Day")
    path = saved(story, "the.plan")
    before = {n: story.theirs(n) for n in ("ada", "bob", "cyd")}
    story.user(who, last_name="Moved")
    result = apply(story, path, code=1)
    assert result["applied"] == {"update": 1}
    assert {f["clerk_user_id"]: f["result"] for f in result["failed"]} == {
        f"user_{n}": "refused" for n in ("ada", "bob", "cyd")
    }
    assert {n: story.theirs(n) for n in before} == before
    again = saved(story, "again.plan")
    assert apply(story, again)["applied"] == {"update": 3}
    assert [story.theirs(n).email for n in ("ada", "bob", "cyd")] == [mail("bob"), mail("cyd"), mail("ada")]
    story.settles()


def test_a_store_that_could_not_be_planned_is_reported_when_its_saved_plan_is_applied(due: StoryHarness) -> None:
    due.second_shop()
    due.shop("acme-eu").status = 402
    path = due.folder / "the.plan"
    assert due("plan", "--out", str(path)).code == 1
    due.shop("acme-eu").status = None
    said = due("apply", str(path), "--yes", "--output", "json")
    assert said.code == 1
    assert [bool(s["error"]) for s in said.json["stores"]] == [True, False]
    assert due.everybody("acme-eu") == {}
    due.apply()
    due.settles()


def test_a_plan_is_overwritten_for_its_owner_only_and_never_through_a_link(due: StoryHarness) -> None:
    other = due.folder / "other"
    other.write_text("untouched")
    (due.folder / "the.plan.part").symlink_to(other)
    path = saved(due, "the.plan")
    assert other.read_text() == "untouched"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o644)
    assert stat.S_IMODE(saved(due, "the.plan").stat().st_mode) == 0o600
    assert sorted(p.name for p in due.folder.glob("*the.plan*")) == ["the.plan", "the.plan.part"]
    link = due.folder / "link.plan"
    link.symlink_to(other)
    said = due("plan", "--out", str(link))
    assert said.code == 1
    assert "is not a regular file" in said.err
    assert other.read_text() == "untouched"


def test_the_state_is_made_for_its_owner_only(due: StoryHarness) -> None:
    due.settings["state"]["url"] = f"sqlite:///{due.folder / 'new' / 'state.db'}"
    due.apply(code=0)
    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in (due.folder / "new").iterdir()}
    assert modes["state.db"] == 0o600
    assert set(modes.values()) == {0o600}
    assert stat.S_IMODE((due.folder / "new").stat().st_mode) == 0o700
