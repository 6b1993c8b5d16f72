"""Filling a simulated shop: fast, repeatable, and no different from customers who came over the API."""

import gc
from pathlib import Path

from reconciler.simulator.bulk.files import Depot
from reconciler.simulator.customers.people.populate import person
from tests.simulator.harness import SimulatorHarness, by_link
from tests.simulator.test_reading import check_indexes


def test_people_are_there_by_back_link_email_and_phone(sim: SimulatorHarness) -> None:
    assert sim.shop.populate(200, seed=3, tags=("b", "A")) == 200
    somebody = person(150, seed=3)
    found = sim.linked(somebody["user_id"])
    assert (found["firstName"], found["lastName"]) == (somebody["first_name"], somebody["last_name"])
    assert found["tags"] == ["A", "b"]
    assert sim.find(emailAddress=somebody["email"].upper())["id"] == found["id"]
    assert sim.find(phoneNumber=somebody["phone"])["id"] == found["id"]
    check_indexes(sim)


def test_what_was_filled_in_is_what_the_api_would_have_made(sim: SimulatorHarness) -> None:
    sim.shop.populate(1)
    somebody = person(0)
    filled = sim.linked(somebody["user_id"])
    other = SimulatorHarness()
    other.define()
    other.set(
        by_link(somebody["user_id"]), email=somebody["email"], firstName=somebody["first_name"],
        lastName=somebody["last_name"], phone=somebody["phone"],
    )  # fmt: skip
    made = other.linked(somebody["user_id"])
    for each in (filled, made):
        for name in ("id", "updatedAt"):
            del each[name]
        del each["link"]["id"]
    assert filled == made


def test_it_continues_where_it_stopped_and_may_leave_some_without_a_link(sim: SimulatorHarness) -> None:
    sim.shop.populate(50)
    sim.shop.populate(50, first=50, unlinked=0.5)
    emails = {each.email for each in sim.shop.people}
    assert emails == {person(index)["email"] for index in range(100)}
    linked = sum(1 for each in sim.shop.people if each.metafields)
    assert 50 < linked < 100
    assert gc.isenabled()
    check_indexes(sim)


def test_the_same_seed_gives_the_same_people() -> None:
    assert [person(index, 5) for index in range(20)] == [person(index, 5) for index in range(20)]
    assert person(1, 5)["email"] != person(1, 6)["email"]


def test_no_search_goes_further_than_25000(sim: SimulatorHarness) -> None:
    sim.shop.populate(25_010, tags=("x",))
    text = "query($q: String) { customers(last: 1, query: $q) { nodes { email } pageInfo { hasNextPage } } }"
    last = sim(text, q="tag:x")
    assert last == {"nodes": [{"email": person(24_999)["email"]}], "pageInfo": {"hasNextPage": False}}
    assert sim(text, q=None)["nodes"] == [{"email": person(25_009)["email"]}]


def test_files_go_with_their_world_unless_a_folder_was_named(tmp_path: Path) -> None:
    made = Depot()
    path = made.place("a/b.jsonl")
    path.write_text("x")
    named = Depot(tmp_path / "kept").place("a/b.jsonl")
    named.write_text("x")
    del made
    gc.collect()
    assert (path.exists(), named.exists()) == (False, True)
