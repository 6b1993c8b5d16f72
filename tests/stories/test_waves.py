"""A change of policy reaches the stores wave by wave, and what fails in the first wave reaches no other."""

from __future__ import annotations

from typing import Any

import pytest

from reconciler.core.model.act import Actor
from reconciler.core.report.status import Replica
from reconciler.settings import load
from reconciler.wiring import open_components
from tests.cli.harness import EU, US
from tests.clock import WallClock
from tests.stories.consent import MID, YES, answers, consents
from tests.stories.harness import StoryHarness

TIER = {"type": "number_integer", "namespace": "app", "key": "tier", "ownerType": "CUSTOMER", "name": "Tier"}


@pytest.fixture
def two(story: StoryHarness) -> StoryHarness:
    """Two shops in sync, one in each wave; each next wave waits for an operator, without a soak."""
    story.second_shop()
    story.rollout = {"soak_s": 0}
    for name in ("ada", "bob", "cleo"):
        story.user(name, locale="en")
    story.apply()
    story.stores[US]["wave"], story.stores[EU]["wave"] = 1, 2
    story.apply()
    assert len(story.everybody(US)) == len(story.everybody(EU)) == 3
    return story


def report(story: StoryHarness) -> Any:
    """The rollout, by its JSON."""
    return story("rollout", "status", "--output", "json").json["rollout"]


def waves(story: StoryHarness) -> dict[str, tuple[str, str]]:
    """By store: the state of its wave, and which policy it has."""
    found = story("rollout", "status", "--output", "json").json["waves"]
    return {s["store"]: (wave["state"], s["policy"]) for wave in found for s in wave["stores"]}


def plans(story: StoryHarness) -> dict[str, Any]:
    said = story("plan", "--output", "json")
    assert said.code == 0, said.err
    return {s["store"]: s for s in said.json["stores"]}


def retag(story: StoryHarness, tag: str) -> None:
    for store in story.stores.values():
        store["tags"] = [tag]


def tags(story: StoryHarness, shop: str) -> set[str]:
    return {tag for customer in story.everybody(shop).values() for tag in customer.tags}


def test_first_syncs_go_wave_by_wave_and_a_new_store_alone_begins_at_once(story: StoryHarness) -> None:
    story.second_shop()
    story.stores[US]["wave"], story.stores[EU]["wave"] = 1, 2
    story.rollout = {"soak_s": 0, "pause": "auto"}
    story.user("ada")
    first = plans(story)
    assert [a["kind"] for a in first[US]["actions"]] == ["create"]
    assert [(h["reason"], h["action"]["kind"]) for h in first[EU]["holds"]] == [("RollOutHeld", "create")]
    story.apply()
    assert (len(story.everybody(US)), len(story.everybody(EU))) == (1, 0)
    assert waves(story) == {US: ("done", "new"), EU: ("not begun", "none")}
    story.apply()
    assert len(story.everybody(EU)) == 1
    assert report(story)["phase"] == "finished"
    story.settles()


def test_a_mapping_that_shopify_refuses_stops_after_wave_one(two: StoryHarness) -> None:
    for name in (US, EU):
        assert not two.shop(name).shop.metafield_definition_create(TIER)["userErrors"]
    before = two.everybody(EU)
    for store in two.stores.values():
        store["metafields"] = {"app.tier": {"from": "locale"}}
    planned = plans(two)
    assert {a["kind"] for a in planned[US]["actions"]} == {"update"}
    assert planned[EU]["actions"] == []
    holds = planned[EU]["holds"]
    assert {(h["reason"], h["field"]) for h in holds} == {("RollOutHeld", "metafields.app.tier")}
    assert len({h["message"] for h in holds}) == 1, "one line of the config is one line of the plan"
    assert "wave 1 is in progress" in holds[0]["message"]
    said = two("apply", "--yes")
    assert said.code == 1, "its actions failed"
    assert "stopped: wave 1 exceeds failed_percent 0.5: 3 of 3 touched users failed" in said.err
    assert two.everybody(EU) == before, "the other shop is untouched"
    two.user("ada", first_name="Adah")
    two.apply()
    assert two.theirs("ada", EU).first_name == "Adah", "user changes flow, with the policy that the store had"
    holds = plans(two)[EU]["holds"]
    assert {h["reason"] for h in holds} == {"RollOutHeld"}
    assert "wave 2 does not begin: wave 1 exceeds failed_percent 0.5" in holds[0]["message"]
    (explained,) = two("explain", "user_ada", "--store", EU, "--output", "json").json["stores"]
    assert "wave 2 does not begin" in explained["answer"]
    assert (explained["status"], explained["reason"]) == ("held", "RollOutHeld")
    assert all(field["equal"] for field in explained["fields"]), "by the policy that the store has, nothing differs"


def test_a_back_link_that_moves_waits_as_one_hold_a_user_and_is_shown_as_one_change(two: StoryHarness) -> None:
    link = {"namespace": "identity", "key": "clerk_id"}
    for name in (US, EU):
        definition = {"ownerType": "CUSTOMER", "type": "id", "name": "Clerk", **link}
        assert not two.shop(name).shop.metafield_definition_create(definition)["userErrors"]
        two.stores[name]["backlink"] = link
    holds = plans(two)[EU]["holds"]
    assert [(h["clerk_user_id"], h["field"]) for h in holds] == [
        (f"user_{n}", "backlink") for n in ("ada", "bob", "cleo")
    ]
    changed = {"backlink", "metafields.clerk.user_id"}
    assert all({c["field"] for c in h["action"]["changes"]} == changed for h in holds)
    assert "update, 3 alike" in two("plan").out


def test_changes_of_users_reach_a_later_shop_that_lacks_what_the_new_policy_needs(two: StoryHarness) -> None:
    link = {"namespace": "identity", "key": "clerk_id"}
    definition = {"ownerType": "CUSTOMER", "type": "id", "name": "Clerk", **link}
    assert not two.shop(US).shop.metafield_definition_create(definition)["userErrors"]
    for store in two.stores.values():
        store["backlink"] = link
    two.user("ada", first_name="Adah")
    said = two("plan", "--output", "json")
    found = {s["store"]: s for s in said.json["stores"]}
    assert (said.code, [a["kind"] for a in found[EU]["actions"]], found[EU]["error"]) == (1, ["update"], None)
    assert "no metafield definition" in found[EU]["wave_error"]
    assert "wave_error" not in found[US]
    for output in ("text", "markdown", "html"):
        shown = " ".join(two("plan", "--output", output).out.split())
        assert "hat its wave will write is not known: " in shown, output
    said = two("apply", "--yes")
    assert (said.code, two.theirs("ada", EU).first_name) == (1, "Adah")
    assert f"error: {EU}: what its wave will write is not known" in said.err
    assert "hint: run `reconciler bootstrap`" in said.err
    assert report(two)["phase"] == "waiting"
    quiet = two("plan")
    assert quiet.code == 1
    assert "nothing to do" not in quiet.out, "that is not known"
    two.staff("edit", shop=EU, id=two.theirs("ada", EU).id, first_name="Augusta")
    drift = two("drift", "--output", "json")
    (found,) = (s for s in drift.json["stores"] if s["store"] == EU)
    assert (drift.code, found["error"], [f["how"] for f in found["drift"]]) == (1, None, ["edited"])
    assert "no metafield definition" in found["wave_error"]
    assert f"error: {EU}: what its wave will write is not known" in drift.err
    explained = two("explain", "user_bob")
    assert "what its wave will write is not known: " in " ".join(explained.out.split())
    assert "what its wave will write is not known: " in " ".join(two("drift").out.split())


def test_an_apply_ends_with_the_limit_that_its_wave_exceeded_and_what_to_do_next(two: StoryHarness) -> None:
    retag(two, "vip")
    two.sql("alter table customers add column nick text")
    two.sql("update customers set nick = 'www.example.com'")
    two.settings["profiles"]["columns"]["first_name"] = "nick"
    said = two("apply", "--yes", "--output", "json")
    assert said.code == 0, "what Shopify refuses of an action is a hold"
    *_, stopped, then = said.err.splitlines()
    assert stopped == "rollout: stopped: wave 1 exceeds failed_percent 0.5: 3 of 3 touched users failed (100.0 %)"
    assert "`reconciler rollout continue`" in then
    assert said.json["rollout"] == report(two)
    assert (said.json["rollout"]["phase"], tags(two, US), tags(two, EU)) == ("stopped", {"vip"}, {"app-user"})
    two.shop(US).faults.add("status", status=402, times=None)
    failed = two("apply", "--yes")
    assert (failed.code, failed.err.splitlines()[-1]) == (1, then), "the rollout comes last, after what failed"


def test_an_operator_continues_and_later_shops_follow(two: StoryHarness) -> None:
    retag(two, "vip")
    two.apply()
    assert (tags(two, US), tags(two, EU)) == ({"vip"}, {"app-user"})
    assert report(two)["phase"] == "waiting"
    assert two("rollout", "continue").code == 1, "it asks"
    step = report(two)["step"]
    assert two("rollout", "continue", "--yes", "--step", step).code == 0
    again = two("rollout", "continue", "--yes", "--step", step)
    assert (again.code, "the rollout has moved on" in again.err) == (1, True), "the wave that has begun"
    assert waves(two) == {US: ("done", "new"), EU: ("open", "new")}
    assert "rollout: finished: all waves have the policy" in two("apply", "--yes").err
    assert tags(two, EU) == {"vip"}
    assert report(two)["phase"] == "finished"
    assert two("rollout", "continue", "--yes").code == 1
    assert two("rollout", "abort", "--yes").code == 1
    two.settles()


def test_an_aborted_rollout_leaves_later_shops_as_they_were_until_the_file_changes(two: StoryHarness) -> None:
    retag(two, "vip")
    two.apply()
    assert two("rollout", "abort", "--yes").code == 0
    two.user("dora")
    two.apply()
    assert (tags(two, US), tags(two, EU)) == ({"vip"}, {"app-user"})
    holds = plans(two)[EU]["holds"]
    assert {h["action"]["changes"][0]["why"] for h in holds} == {"config changed"}
    assert "the rollout was aborted at wave 1" in holds[0]["message"]
    other = Replica(owner="old", config_digest="another", since=WallClock().now(), seen_at=WallClock().now())
    with open_components(
        load(two.folder / "reconciler.yaml", two.folder / "stores.yaml", {}), warn=lambda _: None
    ) as components:
        components.state.replicas.put_replica(other)
    said = " ".join(two("rollout", "status").out.split())
    assert "run old has used different files since" in said
    assert "and was last seen" in said
    retag(two, "app-user")
    two.apply()
    assert (tags(two, US), tags(two, EU)) == ({"app-user"}, {"app-user"})
    assert report(two)["phase"] == "finished"
    two.settles()


def test_the_status_of_a_rollout_shows_what_is_new_for_later_waves(two: StoryHarness) -> None:
    retag(two, "vip")
    two.apply()
    assert "  earlier policy: acme-eu\n    tags: + vip, - app-user\n" in two("rollout", "status").out
    shown = two("rollout", "status", "--output", "json").json["waves"]
    assert [store["changes"] for wave in shown for store in wave["stores"]] == [
        [],
        [{"key": "tags", "before": ["app-user"], "after": ["vip"]}],
    ]
    assert two("rollout", "continue", "--yes").code == 0
    two.apply()
    assert "app-user" not in two("rollout", "status").out
    two.settles()


def test_two_edits_during_a_rollout_lead_to_the_newest_policy_from_wave_one(two: StoryHarness) -> None:
    retag(two, "vip")
    two.apply()
    for tag in ("gold", "platinum"):
        retag(two, tag)
        assert two.actions() == dict.fromkeys(("ada", "bob", "cleo"), "update")
    two.apply()
    assert (tags(two, US), tags(two, EU)) == ({"platinum"}, {"app-user"})
    assert two("rollout", "continue", "--yes").code == 0
    two.apply()
    assert tags(two, EU) == {"platinum"}
    two.settles()


def test_a_shop_that_fails_in_the_middle_is_waited_for_and_left_out_only_by_an_operator(two: StoryHarness) -> None:
    retag(two, "vip")
    two.shop(US).faults.add("status", status=402, times=None)
    said = two("apply", "--yes")
    assert (said.code, report(two)["phase"], tags(two, EU)) == (1, "rolling", {"app-user"})
    assert f"{US} waits for: a full resync, or `reconciler apply`" in two("rollout", "status").out
    two("apply", "--yes")
    assert tags(two, EU) == {"app-user"}, "the rollout does not go on without it"
    two("rollout", "continue", "--yes")
    two("apply", "--yes")
    assert (tags(two, US), tags(two, EU)) == ({"app-user"}, {"vip"})
    two.shop(US).faults.clear()
    two.apply()
    assert tags(two, US) == {"vip"}
    two.settles()


def test_a_sealed_plan_opens_its_wave_and_is_refused_once_the_rollout_has_moved(two: StoryHarness) -> None:
    retag(two, "vip")
    sealed = str(two.folder / "plan.json")
    assert two("plan", "--out", sealed).code == 0
    assert two("apply", "--yes", sealed).code == 0
    assert (tags(two, US), tags(two, EU)) == ({"vip"}, {"app-user"})
    stale = str(two.folder / "stale.json")
    assert two("plan", "--out", stale).code == 0
    two("rollout", "continue", "--yes")
    refused = two("apply", "--yes", stale)
    assert refused.code == 1
    assert "has changed" in refused.err


def test_what_was_done_or_changed_between_the_plan_and_its_turn_has_not_failed(two: StoryHarness) -> None:
    retag(two, "vip")
    sealed = str(two.folder / "plan.json")
    assert two("plan", "--out", sealed).code == 0
    two.staff("edit", id=two.theirs("ada").id, tags=["vip"])  # as another process would have written it
    two.user("bob", first_name="Robert")
    said = two("apply", "--yes", sealed)
    assert said.code == 1
    assert "there is nothing left to do" in said.err
    assert report(two)["phase"] == "waiting", "neither counts as failed in the wave"
    statuses = {name: (row["status"], row["reason"]) for name, row in two.mappings().items()}
    assert statuses == {"ada": ("in_sync", None), "bob": ("pending", "Outdated"), "cleo": ("in_sync", None)}
    two.apply()
    assert (two.theirs("bob").first_name, two.theirs("bob").tags) == ("Robert", ("vip",))


@pytest.mark.slow
def test_an_earlier_mapping_of_columns_is_read_until_the_wave_and_held_where_it_is_gone(two: StoryHarness) -> None:
    two.sql("alter table customers add column nick text")
    two.sql("update customers set nick = 'Nick'")
    columns = two.settings["profiles"]["columns"]
    columns["first_name"] = "nick"
    two.apply()
    assert {two.theirs("ada", shop).first_name for shop in (US, EU)} == {"Nick", "Ada"}
    two.user("ada", last_name="Lovelace")
    two.apply()
    assert two.theirs("ada", EU).last_name == "Lovelace"
    two.sql("alter table customers drop column first_name")
    two.sql("update customers set last_name = 'Byron' where clerk_user_id = 'user_ada'")
    two.apply()
    assert (two.theirs("ada", US).last_name, two.theirs("ada", EU).last_name) == ("Byron", "Lovelace")
    holds = plans(two)[EU]["holds"]
    assert {h["reason"] for h in holds} == {"RollOutHeld"}
    assert "first_name" in holds[0]["message"]


def test_waves_that_come_with_a_change_hold_stores_of_which_the_policy_is_not_known(story: StoryHarness) -> None:
    story.second_shop()
    story.user("ada")
    story.apply()
    story.stores[US]["wave"], story.stores[EU]["wave"] = 1, 2
    story.rollout = {"soak_s": 0}
    retag(story, "vip")
    story.user("ada", first_name="Adah")
    story.apply()
    assert (story.theirs("ada").first_name, story.theirs("ada", EU).first_name) == ("Adah", "Ada")
    assert "is not known, so everything waits" in plans(story)[EU]["holds"][0]["message"]
    story("rollout", "continue", "--yes")
    story.apply()
    assert story.theirs("ada", EU).first_name == "Adah"
    story.settles()


def test_without_waves_a_change_reaches_all_stores_and_the_rollout_under_way_is_over(two: StoryHarness) -> None:
    retag(two, "vip")
    two.apply()
    assert report(two)["phase"] == "waiting"
    for store in two.stores.values():
        del store["wave"]
    two.apply()
    assert tags(two, EU) == {"vip"}
    assert "all stores are in one wave" in two("rollout", "status").out
    two.stores[EU]["wave"] = 2
    two.settles()
    assert waves(two)[EU] == ("nothing to do", "new"), "what an earlier rollout kept does not come back"
    found = report(two)
    assert (found["phase"], found["next_step"]) == ("finished", ""), "no operator is asked to continue what is done"


@pytest.mark.slow
@pytest.mark.parametrize("is_aborted", [False, True], ids=["under way", "aborted"])
def test_the_policy_of_a_former_rollout_comes_back_by_a_rollout_after_a_time_without_waves(
    two: StoryHarness,
    is_aborted: bool,  # noqa: FBT001  a case
) -> None:
    retag(two, "vip")
    two.apply()
    if is_aborted:
        assert two("rollout", "abort", "--yes").code == 0
    for store in two.stores.values():
        del store["wave"]
    retag(two, "gold")
    two.apply()
    two.stores[US]["wave"], two.stores[EU]["wave"] = 1, 2
    retag(two, "vip")
    assert "`reconciler apply`, or a reload of `reconciler run`" in report(two)["next_step"]
    two.apply()
    assert (tags(two, US), tags(two, EU)) == ({"vip"}, {"gold"})
    two("rollout", "continue", "--yes")
    two.apply()
    assert tags(two, EU) == {"vip"}
    two.settles()


def test_files_with_a_part_of_the_stores_do_not_pass_by_a_rollout(two: StoryHarness) -> None:
    before = tags(two, EU)
    retag(two, "vip")
    two.apply()
    first = two.stores.pop(US)
    said = two("apply", "--yes")
    assert (said.code, tags(two, EU)) == (1, before)
    assert f"a rollout in waves is under way, and these files have one wave and lack {US}.myshopify.com" in said.err
    two.stores = {US: first, **two.stores}
    assert two("rollout", "continue", "--yes").code == 0
    two.apply()
    assert tags(two, EU) == {"vip"}


def test_an_operator_ends_a_rollout_although_the_stores_that_are_left_are_in_one_wave(two: StoryHarness) -> None:
    retag(two, "vip")
    two.apply()
    del two.stores[EU]
    assert f"stores.yaml lacks {EU}.myshopify.com" in " ".join(two("rollout", "status").out.split())
    refused = two("rollout", "continue", "--yes")
    assert (refused.code, "stores.yaml has changed" in refused.err) == (1, True)
    assert two("apply", "--yes").code == 1
    assert two("rollout", "abort", "--yes").code == 0
    retag(two, "gold")
    two.apply()
    assert tags(two, US) == {"gold"}
    assert "all stores are in one wave" in two("rollout", "status").out
    two.settles()


def test_pairs_are_imported_into_a_store_that_waits_for_its_first_sync(story: StoryHarness) -> None:
    story.second_shop()
    story.stores[US]["wave"], story.stores[EU]["wave"] = 1, 2
    guest = story.staff("create", shop=EU, email="guest@elsewhere.example.com")
    user = story.user("ada")
    pairs = story.folder / "pairs.csv"
    pairs.write_text(f"clerk_user_id,store,shopify_customer_id\n{user},{EU},{guest.id}\n")
    said = story("mappings", "import", str(pairs), "--yes")
    assert said.code == 0, said.out + said.err
    assert story.theirs("ada", EU).id == guest.id
    assert [(h["reason"], h["action"]["kind"]) for h in plans(story)[EU]["holds"]] == []
    story.user("bob")
    assert {h["action"]["kind"] for h in plans(story)[EU]["holds"]} == {"create"}, "the first sync waits for its wave"


def test_a_first_sync_waits_for_the_consents_that_a_guard_withholds_and_says_so(news: StoryHarness) -> None:
    news.second_shop()
    news.rollout = {"soak_s": 0}
    news.stores[US]["guards"]["consent"] = {"max": 1}
    news.stores[US]["wave"], news.stores[EU]["wave"] = 1, 2
    for name in ("ada", "bob"):
        answers(news, name, yes=True, at=MID)
    news.apply()
    assert len(news.everybody(US)) == 2
    said = " ".join(news("rollout", "status").out.split())
    assert f"{US} waits for: 2 held by GuardExceeded (2 consent grant actions are above the ceiling of 1;" in said
    news.apply("--approve", news("plan", "--output", "json").json["digest"])
    assert (consents(news)["ada"], report(news)["phase"]) == ((YES, MID), "waiting")


@pytest.mark.slow
def test_a_wave_waits_for_what_a_guard_withholds_until_it_is_approved(two: StoryHarness) -> None:
    for store in two.stores.values():
        store["guards"] = {"update": {"max": 2}}
    retag(two, "vip")
    two.apply()
    assert report(two)["phase"] == "rolling"
    assert f"{US} waits for: 3 held by GuardExceeded" in two("rollout", "status").out
    digest = two("plan", "--output", "json").json["digest"]
    two.apply("--approve", digest)
    assert (tags(two, US), tags(two, EU), report(two)["phase"]) == ({"vip"}, {"app-user"}, "waiting")


def test_a_change_of_where_releases_in_wave_one_and_is_held_with_the_release_in_wave_two(two: StoryHarness) -> None:
    for store in two.stores.values():
        store["where"] = {"first_name": ["Ada", "Bob"]}
        store["on_leave"] = "tag"
    planned = plans(two)
    assert [(a["kind"], a["clerk_user_id"]) for a in planned[US]["actions"]] == [("release", "user_cleo")]
    (held,) = planned[EU]["holds"]
    assert (held["action"]["kind"], held["message"]) == (
        "release",
        "release is held: wave 2 has not begun: wave 1 is in progress",
    )
    two.apply()
    assert ("clerk-left" in tags(two, US), "clerk-left" in tags(two, EU)) == (True, False)


def test_users_of_a_command_open_no_wave(two: StoryHarness) -> None:
    retag(two, "vip")
    two.user("ada", first_name="Adah")
    two.apply("--user", "user_ada")
    two.apply("--store", EU)
    assert (tags(two, US), tags(two, EU)) == ({"app-user"}, {"app-user"})
    assert two.theirs("ada").first_name == two.theirs("ada", EU).first_name == "Adah"
    assert report(two) is None


def test_drift_calls_what_waits_for_a_wave_intent_and_an_edit_drift(two: StoryHarness) -> None:
    retag(two, "vip")
    two.apply()
    two.staff("edit", shop=EU, id=two.theirs("ada", EU).id, first_name="Eve")
    said = two("drift", "--output", "json")
    assert said.code == 4, said.out
    found = {s["store"]: s for s in said.json["stores"]}
    assert found[US]["summary"] == {"drift": 0, "intent": 0, "accepted": 0, "not_read": 0}
    assert [(f["clerk_user_id"], [c["field"] for c in f["changes"]]) for f in found[EU]["drift"]] == [
        ("user_ada", ["first_name"])
    ]
    assert {(f["clerk_user_id"], f["kind"], f["changes"][0]["field"]) for f in found[EU]["intent"]} == {
        (user, "update", "tags") for user in ("user_ada", "user_bob", "user_cleo")
    }


def test_drift_calls_a_first_sync_that_waits_for_its_wave_intent(story: StoryHarness) -> None:
    story.second_shop()
    story.stores[US]["wave"], story.stores[EU]["wave"] = 1, 2
    story.user("ada")
    story.apply()
    said = story("drift", "--output", "json")
    found = {s["store"]: [f["kind"] for f in s["intent"]] for s in said.json["stores"]}
    assert (said.code, found) == (2, {US: [], EU: ["create"]})


@pytest.mark.parametrize("switch", [{"roll_out": "hold"}, {"paused": True}])
def test_a_switch_of_a_later_shop_does_not_hide_what_its_wave_will_do(
    two: StoryHarness, switch: dict[str, Any]
) -> None:
    two.stores[EU].update(switch)
    two.user("ada", first_name="Adah")
    retag(two, "vip")
    two.apply("--store", US)
    held = [(h["clerk_user_id"], h["action"]["changes"]) for h in plans(two)[EU]["holds"]]
    fields = [(user, change["field"]) for user, changes in held for change in changes]
    assert sorted(fields) == [
        ("user_ada", "first_name"), ("user_ada", "tags"), ("user_bob", "tags"), ("user_cleo", "tags")
    ]  # fmt: skip
    (explained,) = two("explain", "user_bob", "--store", EU, "--output", "json").json["stores"]
    assert (explained["status"], explained["reason"]) == ("held", "RollOutHeld")


def test_an_apply_that_began_before_a_wave_was_opened_is_no_pass_of_that_wave(two: StoryHarness) -> None:
    retag(two, "vip")
    began: list[str] = []

    def edit_meanwhile(_variables: dict[str, Any]) -> bool:
        """Another process begins a rollout to a newer policy, while this one writes."""
        if not began:
            stores = two.folder / "stores.yaml"
            stores.write_text(stores.read_text().replace("vip", "gold"))
            with open_components(load(two.folder / "reconciler.yaml", stores, {}), warn=began.append) as components:
                assert components.rollouts is not None
                rollout = components.rollouts.advance(Actor("run", "schedule")).rollout
                assert rollout is not None
                began.append(rollout.step)
        return False

    two.shop(US).faults.add("slow", when=edit_meanwhile, on="customerSet")
    two.shop(US).faults.add("slow", when=edit_meanwhile, on="tagsAdd")
    two.apply()
    assert began == ["2.1"]
    retag(two, "gold")
    found = two("rollout", "status", "--output", "json").json
    assert (found["rollout"]["phase"], found["rollout"]["step"]) == ("rolling", "2.1")
    assert found["waves"][0]["stores"][0]["waits_for"] == "a full resync, or `reconciler apply`"
    two.apply()
    assert (tags(two, US), tags(two, EU), report(two)["phase"]) == ({"gold"}, {"app-user"}, "waiting")


@pytest.mark.slow
def test_a_finished_rollout_asks_for_none_where_nothing_is_left(two: StoryHarness) -> None:
    retag(two, "vip")
    two.apply()
    two("rollout", "continue", "--yes")
    two.apply()
    for store in two.stores.values():
        del store["wave"]
    retag(two, "gold")
    two.apply()
    two.stores[US]["wave"], two.stores[EU]["wave"] = 1, 2
    two.apply()
    found = report(two)
    assert (found["phase"], found["is_current"], found["next_step"]) == ("finished", False, "")
