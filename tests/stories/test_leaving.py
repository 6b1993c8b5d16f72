"""Going away and coming back: by every policy, by edits of staff, by stale rows, and by sources that can't be trusted."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any

import pytest

from reconciler.core.decide.profile_rows.write import ClerkChange
from reconciler.core.model.ids import ClerkUserId
from reconciler.core.model.profile import Profile
from reconciler.state.database.engine import open_engine
from reconciler.state.profile_writes import ProfileWriteTable
from tests.clock import WallClock
from tests.stories.harness import StoryHarness, mail, unlike

HIDDEN = {"email", "defaultEmailAddress"}


@pytest.fixture
def four(story: StoryHarness) -> StoryHarness:
    for name in ("ada", "bob", "cyd", "dee"):
        story.user(name)
    story.apply()
    return story


# --- staff ---------------------------------------------------------------------------------------------------------


def test_a_customer_that_staff_deleted_is_made_again(four: StoryHarness) -> None:
    old = four.theirs("ada").id
    four.staff("delete", id=old)
    (action,) = four.plan()["actions"]
    assert (action["kind"], {c["why"] for c in action["changes"]}) == ("create", {"drift"})
    four.apply()
    assert four.theirs("ada").id != old
    assert four.mappings()["ada"]["shopify_customer_id"] == four.theirs("ada").id
    four.settles()


def test_a_customer_that_staff_deleted_is_held_where_the_policy_says_so(four: StoryHarness) -> None:
    four.store["on_missing"] = "hold"
    four.staff("delete", id=four.theirs("ada").id)
    assert four.held() == {("ada", "CustomerMissing")}
    four.apply()
    assert len(four.everybody()) == 3
    four.settles(held={("ada", "CustomerMissing")})
    four.store["on_missing"] = "recreate"
    four.apply()
    assert four.theirs("ada").email == mail("ada")
    four.settles()


def test_a_deleted_customer_who_bought_again_as_a_guest_is_linked(four: StoryHarness) -> None:
    four.staff("delete", id=four.theirs("ada").id)
    four.staff("guest_checkout", email=mail("ada"))
    assert four.actions() == {"ada": "adopt"}
    four.apply()
    assert four.theirs("ada").orders == 1
    four.settles()


def test_after_a_merge_by_staff_the_mapping_follows_its_back_link_and_nothing_is_sent(four: StoryHarness) -> None:
    guest = four.staff("create", first_name="Ada")
    four.staff("merge", keep=guest.id, other=four.theirs("ada").id)
    assert four.theirs("ada").id == guest.id
    assert four.plan()["actions"] == []
    drift = four("drift", "--output", "json")
    assert drift.code == 3
    assert [(f["clerk_user_id"], f["how"]) for f in drift.json["stores"][0]["drift"]] == [("user_ada", "merged")]
    before = four.mutations
    four.apply()
    assert four.mutations == before
    assert four.mappings()["ada"]["shopify_customer_id"] == guest.id
    assert four("drift").code == 0
    four.settles()


def test_a_back_link_that_staff_moved_to_another_customer_is_reported_as_such_and_not_as_a_merge(
    four: StoryHarness,
) -> None:
    guest, old = four.staff("create", first_name="Ada"), four.theirs("ada").id
    four.staff("delete_metafield", id=old, namespace="clerk", key="user_id")
    four.staff("set_metafield", id=guest.id, namespace="clerk", key="user_id", value="user_ada", type="id")
    found = four("drift", "--output", "json").json["stores"][0]["drift"]
    assert ("user_ada", "moved", guest.id) in [(f["clerk_user_id"], f["how"], f["customer_id"]) for f in found]
    assert "merged" not in {f["how"] for f in found}
    assert "back-link moved to another customer" in four("drift").out
    assert old in four.everybody()


def test_two_users_with_customers_that_staff_merged_both_have_one_again(four: StoryHarness) -> None:
    """One of the two back-links is lost in a merge: its user is made again, with their own address."""
    four.staff("merge", keep=four.theirs("ada").id, other=four.theirs("bob").id)
    four.apply()
    assert (four.theirs("ada").email, four.theirs("bob").email) == (mail("ada"), mail("bob"))
    assert len(four.everybody()) == 4
    four.settles()


def test_a_phone_that_the_user_no_longer_has_goes_from_the_customer_that_staff_merged_it_into(
    four: StoryHarness,
) -> None:
    """Staff merge the customer into a stranger, and before the next run the profile's phone is cleared."""
    four.store["fields"] = {"phone": "enforce"}
    four.user("ada", phone="+12125550142")
    four.apply()
    stranger = four.staff("create", email="stranger@example.com", first_name="Stan")
    four.staff("merge", keep=stranger.id, other=four.theirs("ada").id)
    assert four.theirs("ada").phone == "+12125550142"
    four.user("ada", phone=None)
    four.apply()
    assert (four.theirs("ada").email, four.theirs("ada").phone) == (mail("ada"), None)
    four.settles()


# --- leaving -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["row", "deleted_at", "where"])
def test_by_default_a_user_who_leaves_is_only_released(four: StoryHarness, how: str) -> None:
    four.store["where"] = {"metadata.brand": "acme"}
    for name in ("ada", "bob", "cyd", "dee"):
        four.user(name, metadata='{"brand": "acme"}')
    four.apply()
    before = four.everybody()
    match how:
        case "row":
            four.gone("ada")
        case "deleted_at":
            four.user("ada", deleted_at=four.now())
        case _:
            four.user("ada", metadata='{"brand": "other"}')
    assert four.actions() == {"ada": "release"}
    mutations = four.mutations
    four.apply()
    assert (four.mutations, four.everybody()) == (mutations, before)
    assert four.mappings()["ada"]["status"] == "released"
    four.settles()


def test_a_user_who_leaves_is_tagged_and_the_tag_goes_when_they_are_back(four: StoryHarness) -> None:
    four.store.update(on_leave="tag", leave_tag="ehemalig")
    before = four.theirs("ada")
    four.gone("ada")
    four.apply()
    assert unlike(before, four.theirs("ada")) == {"tags": (("app-user",), ("app-user", "ehemalig"))}
    four.settles()
    four.user("ada")
    four.apply()
    assert four.theirs("ada") == before
    four.settles()


def test_a_user_who_leaves_is_deleted_where_shopify_can(four: StoryHarness) -> None:
    four.store["on_leave"] = "delete"
    four.gone("ada")
    (action,) = four.plan()["actions"]
    assert (action["kind"], action["how"]) == ("release", "delete")
    four.apply()
    assert {c.email for c in four.everybody().values()} == {mail("bob"), mail("cyd"), mail("dee")}
    four.settles()
    four.user("ada")
    four.apply()
    assert four.theirs("ada").email == mail("ada")
    four.settles()


def test_a_user_with_orders_is_tagged_instead_and_that_is_reported(four: StoryHarness) -> None:
    four.store["on_leave"] = "delete"
    four.staff("order", id=four.theirs("ada").id)
    four.gone("ada")
    plan = four.plan()
    assert [(a["kind"], a["how"]) for a in plan["actions"]] == [("release", "tag")]
    assert [(h["reason"], h["who_acts"]) for h in plan["holds"]] == [("CannotDelete", "operator")]
    four.apply()
    assert four.theirs("ada").tags == ("app-user", "clerk-left")
    row = four.mappings()["ada"]
    assert (row["status"], row["reason"]) == ("released", "CannotDelete")
    four.settles()


@pytest.mark.parametrize("tags", [[], [f"foreign-{n:03}" for n in range(249)]], ids=["few tags", "no space"])
def test_a_user_with_a_customer_that_shopify_refuses_to_delete_is_tagged_instead(
    four: StoryHarness, tags: list[str]
) -> None:
    four.store["on_leave"] = "delete"
    at = four.theirs("ada").id
    four.staff("block_merge", id=at, fields=["SUBSCRIPTIONS"])
    four.staff("tag", id=at, tags=tags)
    four.gone("ada")
    four.apply(code=1 if tags else 0)
    assert ("clerk-left" in four.theirs("ada").tags) is not bool(tags)
    row = four.mappings()["ada"]
    assert (row["status"], row["reason"]) == ("held" if tags else "released", "CannotDelete")
    assert "because of subscriptions" in row["message"]
    four.settles(held={("ada", "Rejected"), ("ada", "CannotDelete")} if tags else ())


def test_an_order_between_plan_and_apply_forbids_the_deletion(four: StoryHarness) -> None:
    four.store["on_leave"] = "delete"
    four.gone("ada")
    at = four.theirs("ada").id
    four.shop().faults.add("slow", on="customerDelete", seconds=0.0, when=lambda _v: bool(four.staff("order", id=at)))
    said = four("apply", "--yes", "--output", "json")
    assert said.code in {0, 1}
    four.apply()
    assert four.theirs("ada").tags == ("app-user", "clerk-left")
    four.settles()


def test_erasure_is_asked_for_once_and_the_erased_come_back_only_when_forgotten(four: StoryHarness) -> None:
    four.store["on_leave"] = "erase"
    at = four.theirs("ada").id
    four.gone("ada")
    asked = "1 action (irreversible: 1 customer to erase with all personal data) needs a confirmation"
    assert asked in " ".join(four("apply").err.split())
    four.apply()
    assert four.calls()["customerRequestDataErasure"] == 1
    assert four.mappings()["ada"]["status"] == "erased"
    four.settles()
    four.staff("redact", id=at)
    four.user("ada")
    assert four.held() == {("ada", "Erased")}
    four.apply()
    four.settles(held={("ada", "Erased")})
    assert [c for c in four.everybody().values() if c.email == mail("ada")] == []
    assert four("mappings", "forget", "user_ada", "--yes").code == 0
    four.apply()
    assert four.theirs("ada").email == mail("ada")
    four.settles()


# --- coming back ---------------------------------------------------------------------------------------------------


def test_a_row_that_is_older_than_the_leaving_brings_no_one_back_and_a_newer_one_does(four: StoryHarness) -> None:
    at = four.theirs("ada").id
    four.gone("ada")
    four.apply()
    four.user("ada", first_name="Stale", updated_at="2026-01-01T00:00:00Z")
    assert four.held() == {("ada", "Departed")}
    four.apply()
    assert four.theirs("ada").first_name == "Ada"
    four.settles(held={("ada", "Departed")})
    four.user("ada", first_name="Adah", updated_at="2999-01-01T00:00:00Z")
    four.apply()
    assert (four.theirs("ada").id, four.theirs("ada").first_name) == (at, "Adah")
    assert four.mappings()["ada"]["status"] == "in_sync"
    four.settles()


@pytest.mark.matrix
@pytest.mark.parametrize("policy", ["keep", "tag", "delete"])
@pytest.mark.parametrize("how", ["row", "deleted_at", "deleted_at, then row", "where"])
def test_a_row_that_comes_back_as_it_was_undoes_the_release_whatever_its_time(
    four: StoryHarness, how: str, policy: str
) -> None:
    """A table that was restored, a deletion that was taken back: `updated_at` is from before the release."""
    four.store.update(on_leave=policy, where={"note": ["here", None]})
    row = four.read("select * from customers where clerk_user_id = 'user_ada'")[0]
    before = four.theirs("ada")
    if how.startswith("deleted_at"):
        four.user("ada", deleted_at=four.now())
    if how == "where":
        four.user("ada", note="elsewhere")
    if how == "row":
        four.gone("ada")
    assert four.actions() == {"ada": "release"}
    four.apply()
    if how.endswith("then row"):
        four.gone("ada")
        four.apply()
    four.settles()
    four.gone("ada")
    four.sql(f"insert into customers values ({', '.join('?' for _ in row)})", *row)
    assert four.held() == set()
    four.apply()
    now = four.theirs("ada")
    assert (now.email, now.first_name, now.tags) == (before.email, before.first_name, before.tags)
    assert (now.id == before.id) is (policy != "delete")
    assert four.mappings()["ada"]["status"] == "in_sync"
    four.settles()


@pytest.mark.parametrize("how", ["deleted_at", "where"])
def test_a_row_that_was_there_all_the_time_brings_its_user_back_though_updated_at_is_not_maintained(
    four: StoryHarness, how: str
) -> None:
    """By the row's own clock it is not older; by another clock it always looks so, as in an app's local time."""
    made = "2026-01-01T00:00:00Z"
    four.store.update(on_leave="tag", where={"note": ["here", None]})
    four.user("ada", updated_at=made)
    four.apply()
    four.user("ada", updated_at=made, **({"deleted_at": made} if how == "deleted_at" else {"note": "elsewhere"}))
    four.apply()
    four.settles()
    four.user("ada", updated_at=made, first_name="Adah", deleted_at=None, note="here")
    assert four.held() == set()
    four.apply()
    assert four.theirs("ada").first_name == "Adah"
    assert four.mappings()["ada"]["status"] == "in_sync"
    four.settles()


def test_a_row_that_is_older_than_the_one_of_the_leaving_brings_no_one_back(four: StoryHarness) -> None:
    """As a replica that lags behind shows it, or an app that writes events in the wrong order."""
    four.store["where"] = {"note": ["here", None]}
    four.user("ada", note="elsewhere", updated_at="2026-01-02T00:00:00Z")
    four.apply()
    four.user("ada", note="here", first_name="Stale", updated_at="2026-01-01T00:00:00Z")
    assert four.held() == {("ada", "Departed")}
    four.user("ada", note="here", first_name="Adah", updated_at="2026-01-03T00:00:00Z")
    four.apply()
    assert four.theirs("ada").first_name == "Adah"
    four.settles()


def test_a_row_that_changed_unread_before_the_release_and_is_back_as_it_was_undoes_the_release(
    four: StoryHarness,
) -> None:
    """By its own clock it is newer than the row that was read last: no copy from before that."""
    four.user("ada", first_name="Adah")
    row = four.read("select * from customers where clerk_user_id = 'user_ada'")[0]
    four.gone("ada")
    four.apply()
    four.settles()
    four.sql(f"insert into customers values ({', '.join('?' for _ in row)})", *row)
    assert four.held() == set()
    four.apply()
    assert four.theirs("ada").first_name == "Adah"
    assert four.mappings()["ada"]["status"] == "in_sync"
    four.settles()


def test_users_that_an_older_program_released_by_mistake_are_healed(four: StoryHarness) -> None:
    """Its tombstones lack the digest of the row that was wanted; what was agreed on tells that the row is the same."""
    row = four.read("select * from customers where clerk_user_id = 'user_ada'")[0]
    four.gone("ada")
    four.apply()
    with closing(sqlite3.connect(four.folder / "state.db")) as state, state:
        state.execute("update reconciler_mapping set wanted_digest = null, profile_digest = 'of no row'")
    four.sql(f"insert into customers values ({', '.join('?' for _ in row)})", *row)
    four.apply()
    assert four.mappings()["ada"]["status"] == "in_sync"
    four.settles()


@pytest.mark.parametrize("policy", ["keep", "tag"])
def test_who_left_by_the_config_comes_back_by_the_config(four: StoryHarness, policy: str) -> None:
    before = four.everybody()
    four.store.update(where={"first_name": ["Bob", "Cyd", "Dee"]}, on_leave=policy)
    assert four.actions() == {"ada": "release"}
    four.apply()
    four.settles()
    four.store["where"] = {}
    four.apply()
    assert four.everybody() == before
    assert four.mappings()["ada"]["status"] == "in_sync"
    four.settles()


# --- sources that can't be trusted ---------------------------------------------------------------------------------


def test_an_empty_source_releases_no_one(four: StoryHarness) -> None:
    four.store["on_leave"] = "delete"
    before = four.everybody()
    rows = four.read("select * from customers")
    four.sql("delete from customers")
    said = four("apply", "--yes")
    assert said.code == 1
    assert "the profiles are empty" in said.err
    assert "hint: " in said.err
    assert four.everybody() == before
    for row in rows:
        four.sql(f"insert into customers values ({', '.join('?' for _ in row)})", *row)
    four.settles()


def test_an_empty_source_releases_no_one_by_name_either(four: StoryHarness) -> None:
    four.store["on_leave"] = "delete"
    before = four.everybody()
    four.sql("delete from customers")
    said = four("apply", "--yes", "--user", "user_ada", "--user", "user_bob")
    assert said.code == 1
    assert "the profiles are empty" in said.err
    assert four.everybody() == before


def test_a_customer_with_an_overwritten_back_link_is_held_and_never_made_twice(four: StoryHarness) -> None:
    four.staff("set_metafield", id=four.theirs("ada").id, namespace="clerk", key="user_id", value="user_zed", type="id")
    before = four.everybody()
    assert four.held() == {("ada", "EmailTaken")}
    four.apply()
    assert four.everybody() == before


def test_a_halved_source_is_held_whole(four: StoryHarness) -> None:
    four.store.update(on_leave="delete", guards={"release": {"max": 25, "percent": 5}})
    before = four.everybody()
    four.gone("ada")
    four.gone("bob")
    assert four.held() == {("ada", "GuardExceeded"), ("bob", "GuardExceeded")}
    four.apply()
    assert four.everybody() == before
    four.settles(held={("ada", "GuardExceeded"), ("bob", "GuardExceeded")})


@pytest.mark.parametrize("column", ["email", "first_name", "email_verified"])
def test_a_source_with_columns_that_are_all_null_clears_nothing_above_the_ceiling(
    four: StoryHarness, column: str
) -> None:
    four.store["guards"] = {}
    before = four.everybody()
    four.sql(f"update customers set {column} = null")
    four.apply()
    assert four.everybody() == before
    held = {"email": "NoEmail", "first_name": "GuardExceeded", "email_verified": "EmailUnverified"}[column]
    four.settles(held={(name, held) for name in ("ada", "bob", "cyd", "dee")})


# --- who comes after a user with a customer that would be deleted -----------------------------------------------------


def announce(story: StoryHarness, user: str, **values: Any) -> None:
    """Clerk's webhook tells of this user, and the row is not written yet."""
    engine = open_engine(story.settings["state"]["url"])
    try:
        now = WallClock().now()
        profile = Profile(clerk_user_id=ClerkUserId(user), mapped=frozenset(values), **values)
        ProfileWriteTable(engine).accept(
            [ClerkChange(profile.clerk_user_id, at=now, profile=profile, created=True)], now=now
        )
    finally:
        engine.dispose()


@pytest.mark.matrix
@pytest.mark.parametrize("where", [{}, {"note": ["here", None]}], ids=["all", "by a column of the app"])
@pytest.mark.parametrize("on_leave", ["delete", "erase"])
def test_a_successor_with_a_row_still_to_be_written_keeps_the_customer(
    four: StoryHarness, on_leave: str, where: dict[str, Any]
) -> None:
    four.store.update(on_leave=on_leave, where=where)
    before = four.theirs("ada")
    four.gone("ada")
    announce(four, "user_again", email=mail("ada"), email_verified=True, first_name="Ada")
    assert four.actions() == {}
    four.apply()
    four.apply("--user", "user_ada")
    assert four.theirs("ada").id == before.id
    four.user("again", email=mail("ada"), first_name="Ada")
    four.apply()
    assert four.theirs("again").id == before.id
    four.settles()


@pytest.mark.parametrize("on_leave", ["delete", "erase"])
def test_the_deletion_comes_after_all_where_the_successor_goes_before_the_adoption(
    four: StoryHarness, on_leave: str
) -> None:
    four.store["on_leave"] = on_leave
    four.gone("ada")
    four.user("again", email=mail("ada"), first_name="Ada")
    four.apply("--user", "user_ada")
    assert four.mappings()["ada"]["status"] == "pending"
    four.gone("again")
    (action,) = four.plan()["actions"]
    assert (action["kind"], action["how"], action["clerk_user_id"]) == ("release", on_leave, "user_ada")
    four.apply()
    assert four.mappings()["ada"]["status"] == {"delete": "released", "erase": "erased"}[on_leave]
    assert four.actions() == {}


def test_a_user_who_is_back_before_the_successor_adopts_keeps_the_customer(four: StoryHarness) -> None:
    four.store["on_leave"] = "delete"
    before = four.theirs("ada")
    four.gone("ada")
    four.user("again", email=mail("ada"), first_name="Ada")
    four.apply("--user", "user_ada")
    four.gone("again")
    four.user("ada")
    four.apply()
    assert four.theirs("ada") == before
    four.settles()


@pytest.mark.parametrize("on_leave", ["delete", "erase"])
def test_where_the_e_mail_is_hidden_a_claimant_of_the_known_one_keeps_the_customer(
    four: StoryHarness, on_leave: str
) -> None:
    four.store["on_leave"] = on_leave
    before = four.theirs("ada")
    four.shop().shop.unapproved_fields = HIDDEN
    four.gone("ada")
    four.user("again", email=mail("ada"), first_name="Ada")
    four("apply", "--yes")
    assert four.everybody()[before.id].email == mail("ada")
    four.shop().shop.unapproved_fields = set()
    four.apply()
    assert four.theirs("again").id == before.id
    four.settles()


@pytest.mark.parametrize("on_leave", ["delete", "erase"])
def test_a_customer_with_an_e_mail_that_is_neither_shown_nor_known_is_kept(four: StoryHarness, on_leave: str) -> None:
    four.shop().shop.unapproved_fields = HIDDEN
    four.lose_the_state()
    four.apply()
    four.store["on_leave"] = on_leave
    four.gone("ada")
    assert ("ada", "CannotDelete") in four.held()
    four.apply()
    assert four.theirs("ada").email == mail("ada")
    four.shop().shop.unapproved_fields = set()
    (action,) = four.plan("--user", "user_ada")["actions"]
    assert (action["kind"], action["how"]) == ("release", on_leave)
