"""A shop is known by its gid: another name keeps all that the state stores, and another shop never takes it over."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any

import pytest

from tests.cli.harness import EU, US, Said
from tests.stories.harness import StoryHarness

NEW = "acme-group.myshopify.com"
OLD = f"{US}.myshopify.com"
OTHER = f"{EU}.myshopify.com"


@pytest.fixture
def known(story: StoryHarness) -> StoryHarness:
    """A shop that the state knows: two customers with our tag, one user who was erased and came back, one released."""
    story.store["on_leave"] = "erase"
    for name in ("ada", "bob", "eva"):
        story.user(name)
    story.apply()
    story.gone("eva")
    story.apply()
    story.user("eva")
    story.settles(held={("eva", "Erased")})
    return story


def errors(said: Said) -> dict[str, str]:
    """What is wrong with each store of a plan."""
    return {s["store"]: s["error"] for s in said.json["stores"] if s["error"]}


def names(story: StoryHarness) -> dict[str, tuple[str, str]]:
    """The key and the gid of each name that the state knows, newest last."""
    with closing(sqlite3.connect(story.folder / "state.db")) as connection:
        rows = connection.execute("select name, shopify_shop, gid from reconciler_shop order by named_at").fetchall()
    return {name: (key, gid) for name, key, gid in rows}


def as_before_gids(story: StoryHarness) -> None:
    """The state as an earlier version left it: of its shops it knows the names alone."""
    with closing(sqlite3.connect(story.folder / "state.db")) as connection, connection:
        connection.execute("delete from reconciler_shop")
        connection.execute(
            "insert into reconciler_shop select shopify_shop, '', shopify_shop, max(store), '2026-01-01 00:00:00.000000'"
            " from reconciler_mapping group by shopify_shop"
        )


def test_a_renamed_shop_keeps_its_users_its_tombstones_and_its_tags(known: StoryHarness) -> None:
    known.store["shop"] = NEW
    plan = known.plan()
    assert (plan["actions"], plan["shop"]) == ([], NEW)
    known.settles(held={("eva", "Erased")})
    assert known("drift").code == 0
    assert {row["shopify_shop"] for row in known.mappings().values()} == {NEW}
    known.store["tags"] = ["member"]
    assert known.actions() == {"ada": "update", "bob": "update"}
    known.apply()
    assert {known.theirs(name).tags for name in ("ada", "bob")} == {("member",)}
    known.store["shop"] = OLD
    known.settles(held={("eva", "Erased")})


def test_commands_that_ask_no_shop_show_a_renamed_shop_before_any_other_has(known: StoryHarness) -> None:
    known.store["shop"] = NEW
    assert known.mappings()["eva"]["status"] == "erased"
    status = known("status", "--output", "json").json["stores"][0]
    assert (status["mapped"], status["in_sync"]) == (2, 2)
    assert known("mappings", "forget", "user_eva", "--yes").code == 0
    assert sorted(known.mappings()) == ["ada", "bob"]


def test_a_renamed_shop_of_a_renamed_store_keeps_its_state(known: StoryHarness) -> None:
    known.stores = {"acme-group": known.stores.pop(US) | {"shop": NEW}}
    plan = known("plan", "--output", "json").json["stores"][0]
    assert (plan["actions"], {h["reason"] for h in plan["holds"]}) == ([], {"Erased"})


@pytest.mark.parametrize("is_known", [True, False])
def test_a_known_name_is_refused_where_another_shop_answers(known: StoryHarness, is_known: bool) -> None:  # noqa: FBT001
    if is_known:
        known.second_shop()
        known.apply()
        del known.stores[EU]
    known.store.update({"admin_url": known.server.url(OTHER), "auth": {"access_token": f"token-{EU}"}})
    before = known.mutations
    said = known("plan", "--output", "json")
    assert said.code == 1
    assert "another shop answers now" in errors(said)[US]
    assert "hint: correct shop, admin_url or auth" in said.err
    known.apply(code=1)
    known.apply("--user", "user_ada", code=1)
    assert known("bootstrap", "--yes").code == 1
    assert known.mutations == before
    assert len(known.everybody(EU)) == (3 if is_known else 0)
    known.store.update({"admin_url": known.server.url(OLD), "auth": {"access_token": f"token-{US}"}})
    known.settles(held={("eva", "Erased")})


def test_a_store_that_is_given_another_shop_under_another_name_begins_there_afresh(known: StoryHarness) -> None:
    known.store.update(known.a_store(EU))
    assert known.actions() == {"ada": "create", "bob": "create", "eva": "create"}
    known.apply()
    assert names(known)[OTHER][0] == OTHER
    known.store.update(known.a_store(US))
    known.settles(held={("eva", "Erased")})


def test_two_shops_that_swap_their_names_keep_their_own_state(known: StoryHarness) -> None:
    known.second_shop()
    known.apply()
    known.store["shop"], known.stores[EU]["shop"] = OTHER, OLD
    before = known.mutations
    for _ in range(2):
        said = known("plan", "--output", "json", "--detailed-exitcode")
        assert said.code == 0, said.out + said.err
        held = {s["store"]: [h["reason"] for h in s["holds"]] for s in said.json["stores"]}
        assert held == {US: ["Erased"], EU: []}
        known.apply()
    assert known.mutations == before
    rows = known("mappings", "list", "--output", "json").json
    assert {(row["store"], row["shopify_shop"]) for row in rows} == {(US, OTHER), (EU, OLD)}


@pytest.mark.parametrize("new_first", [True, False])
def test_the_former_name_of_a_shop_may_become_another_shops(known: StoryHarness, new_first: bool) -> None:  # noqa: FBT001
    known.store["shop"] = NEW
    other = {"second": known.a_store(EU) | {"shop": OLD}}
    known.stores = other | known.stores if new_first else known.stores | other
    said = known("plan", "--output", "json")
    assert said.code == 0, said.out + said.err
    plans = {s["store"]: s for s in said.json["stores"]}
    assert plans[US]["actions"] == []
    assert [a["kind"] for a in plans["second"]["actions"]] == ["create"] * 3
    known.apply()
    before = known.mutations
    known.apply()
    assert known.mutations == before
    assert known("plan", "--detailed-exitcode").code == 0
    assert {m.backlink for m in known.everybody(EU).values()} == {"user_ada", "user_bob", "user_eva"}


def test_a_shop_that_two_stores_name_is_refused_to_the_second(known: StoryHarness) -> None:
    known.stores["again"] = known.store | {"shop": NEW}
    said = known("plan", "--output", "json")
    assert said.code == 1
    assert list(errors(said)) == ["again"]
    assert "the same shop" in errors(said)["again"]
    before = known.mutations
    known.apply(code=1)
    assert known.mutations == before


def test_a_state_of_before_gids_knows_its_shop_by_the_customers_in_it(known: StoryHarness) -> None:
    as_before_gids(known)
    known.store["shop"] = NEW
    known.settles(held={("eva", "Erased")})
    assert names(known)[NEW][0] == OLD


def test_a_state_of_before_gids_learns_them_with_the_first_call(known: StoryHarness) -> None:
    as_before_gids(known)
    known.settles(held={("eva", "Erased")})
    known.store["shop"] = NEW
    known.settles(held={("eva", "Erased")})


def test_a_state_of_before_gids_takes_no_other_shop_for_its_own(known: StoryHarness) -> None:
    as_before_gids(known)
    known.store.update(known.a_store(EU))
    assert known.actions() == {"ada": "create", "bob": "create", "eva": "create"}
    known.store.update(known.a_store(US))
    known.settles(held={("eva", "Erased")})


def test_the_gid_comes_with_the_first_query_of_a_process(known: StoryHarness) -> None:
    before, calls = known.calls(), len(known.shop().calls)
    known.plan()
    asked = known.calls() - before
    assert asked["shop"] == 1
    assert [call.roots for call in list(known.shop().calls)[calls:] if call.roots == ("shop",)] == []


def test_doctor_says_that_a_shop_is_another(known: StoryHarness) -> None:
    known.store.update({"admin_url": known.server.url(OTHER), "auth": {"access_token": f"token-{EU}"}})
    said = known("doctor", "--output", "json")
    found: list[Any] = [c for c in said.json["checks"] if c["area"] == US and c["level"] == "failed"]
    assert any("another shop answers now" in c["message"] for c in found)


def test_a_renamed_shop_is_asked_with_the_token_pair_that_it_gave_last(
    known: StoryHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECONCILER_SECRET_KEY", "a key of 32 letters and some more")
    app = {"client_id": "client-id", "client_secret": "client-secret", "refresh_token": "first"}
    known.shop().tokens.refresh_token = "first"
    known.store["auth"] = app
    known.settles(held={("eva", "Erased")})
    known.shop().tokens.revoke_all()
    known.settles(held={("eva", "Erased")})
    assert known.shop().tokens.refresh_token != "first"
    known.store["shop"] = NEW
    known.settles(held={("eva", "Erased")})


def test_a_shop_that_does_not_answer_with_its_new_name_is_not_planned(known: StoryHarness) -> None:
    known.store["shop"] = NEW
    known.shop().faults.add("status", status=502, times=None)
    before = known.mutations
    assert list(errors(known("plan", "--output", "json"))) == [US]
    known.apply(code=1)
    known.shop().faults.clear()
    assert known.mutations == before
    known.settles(held={("eva", "Erased")})


@pytest.mark.slow
def test_three_shops_names_go_round(known: StoryHarness) -> None:
    """Each is given the name of the next, and the last one that no user had."""
    known.second_shop()
    known.apply()
    known.stores[EU]["shop"], known.store["shop"] = NEW, OTHER
    said = known("plan", "--output", "json", "--detailed-exitcode")
    assert said.code == 0, said.out + said.err
    known.stores[EU]["shop"], known.store["shop"] = OLD, NEW
    said = known("plan", "--output", "json", "--detailed-exitcode", "--store", US)
    assert said.code == 0, said.out + said.err
    known.settles(held={("eva", "Erased")})
    assert {key for key, _ in names(known).values()} == {OLD, OTHER}


def test_a_former_name_becomes_another_shops_though_the_former_shop_is_in_no_file_now(known: StoryHarness) -> None:
    known.store["shop"] = NEW
    known.apply()
    known.stores = {"second": known.a_store(EU) | {"shop": OLD}}
    for kinds in (["create"] * 3, []):
        said = known("plan", "--output", "json")
        assert said.code == 0, said.err
        assert [a["kind"] for a in said.json["stores"][0]["actions"]] == kinds
        known.apply()
    assert names(known)[OLD][0] != OLD


def test_of_two_names_of_a_shop_that_the_state_never_met_the_same_one_is_always_refused(story: StoryHarness) -> None:
    """Both are asked side by side: from the first answer on, one of them has the shop, and the other does nothing there."""
    story.user("ada")
    story.stores["again"] = story.store | {"shop": NEW}
    story.shop().faults.add("slow", seconds=0.3, times=2)
    (refused,) = errors(story("plan", "--output", "json"))
    story.apply(code=1)
    assert len(story.everybody()) == 1
    before = story.mutations
    for _ in range(2):
        assert list(errors(story("plan", "--output", "json"))) == [refused]
        story.apply(code=1)
    assert story.mutations == before
    assert {row["store"] for row in story("mappings", "list", "--output", "json").json} == {US, "again"} - {refused}
    assert len(names(story)) == 1
    del story.stores[US if refused == "again" else "again"]  # the refused name is the shop's new one
    plan = story("plan", "--output", "json").json["stores"][0]
    assert (plan["store"], plan["error"], plan["actions"]) == (refused, None, [])
