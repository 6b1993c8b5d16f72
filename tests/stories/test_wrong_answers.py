"""Answers that are whole, and wrong: of another customer, of nothing, or of a place that is none."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import FileResponse, Response

from reconciler.simulator.hostile import Hostile
from reconciler.simulator.world import SimShop
from tests import servers
from tests.cli.harness import EU, US
from tests.stories.harness import AVATAR, StoryHarness, mail

Spoil = Callable[[dict[str, Any]], None]


class Answering(Hostile):
    """In place of each reply to calls with this root field: what `spoil` makes of it, or another reply."""

    def __init__(self, root: str | None, spoil: Spoil | Response, *, times: int = 1_000_000) -> None:
        super().__init__("shape", only=root)
        self._spoil, self._left = spoil, times

    def spoilt(self, reply: Response, roots: tuple[str, ...] = ()) -> Response:
        if (self.only is not None and self.only not in roots) or not reply.body or self._left <= 0:
            return reply
        self._left -= 1
        if isinstance(self._spoil, Response):
            return self._spoil
        tree = json.loads(bytes(reply.body))
        self._spoil(tree)
        return Response(json.dumps(tree), reply.status_code, media_type="application/json")


@pytest.fixture
def two(story: StoryHarness) -> Iterator[StoryHarness]:
    """Two shops, two users; the first shop is honest again in the end."""
    story.second_shop()
    for name in ("ada", "bob"):
        story.user(name)
    yield story
    story.shop(US).hostile = None


def part(said: Any, store: str) -> Any:
    return next(s for s in said["stores"] if s["store"] == store)


# --- places ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 308])
@pytest.mark.parametrize(
    "place", ["https://xn--a/", "https://xn--999999999/x", "http://[::1", "//", "https://a\u00ff/"]
)
def test_a_redirect_to_a_place_that_is_none_is_the_error_of_one_store(
    two: StoryHarness, place: str, status: int
) -> None:
    redirect = Response(b"", status)
    redirect.raw_headers.append((b"location", place.encode()))
    two.shop(US).hostile = Answering(None, redirect)
    said = two("plan", "--output", "json")
    assert said.code == 1
    assert "redirect" in part(said.json, US)["error"]
    assert [a["kind"] for a in part(said.json, EU)["actions"]] == ["create", "create"]


# --- another customer -----------------------------------------------------------------------------------------------


def showing(sim: SimShop, customer_id: str, email: str | None) -> Spoil:
    """For each look-up of a customer that is not there: the customer with this id, showing this address."""
    node: dict[str, Any] = {
        "id": customer_id, "updatedAt": "2026-01-01T00:00:00Z", "firstName": "Someone", "lastName": "Else", "locale": "en",
        "note": None, "tags": [], "canDelete": True, "defaultPhoneNumber": None, "m0": None, "m1": None, "m2": None,
        "defaultEmailAddress": None if email is None else {"emailAddress": email},
    }  # fmt: skip
    assert sim.shop.people

    def spoil(tree: dict[str, Any]) -> None:
        data = tree.get("data") or {}
        data.update({name: node for name, value in data.items() if value is None})

    return spoil


@pytest.mark.parametrize(
    ("asked", "shown"),
    [
        (mail("ada"), "someone-else@example.com"),
        (mail("ada"), None),
        ("jos\u00e9@example.com", "jose@example.com"),
        ("strasse@example.com", "stra\u00dfe@example.com"),
        ("ma\u017fk@example.com", "mask@example.com"),
        ("ada@example.com", ".ada@example.com"),
        ("ada@example.com", "ada@example.com.evil.example"),
        ("ada@example.com", "ada@example.con"),
    ],
)
def test_a_customer_with_another_address_than_was_asked_for_is_nobodys_to_take(
    two: StoryHarness, asked: str, shown: str | None
) -> None:
    two.user("ada", email=asked)
    stranger = two.staff("guest_checkout", email="someone-else@example.com")
    two.shop(US).hostile = Answering("customerByIdentifier", showing(two.shop(US), stranger.id, shown))
    plan = two.plan()
    assert [a["kind"] for a in plan["actions"]] == ["create", "create"]
    before = two.everybody()[stranger.id]
    two.apply()
    assert two.everybody()[stranger.id] == before
    assert {two.theirs(name).id for name in ("ada", "bob")} & {stranger.id} == set()


@pytest.mark.parametrize(
    ("asked", "shown"),
    [
        ("ada@m\u00fcnchen.example", "ada@xn--mnchen-3ya.example"),
        ("ada@xn--mnchen-3ya.example", "Ada@M\u00dcNCHEN.example"),
        ("jos\u00e9@example.com", "JOSE\u0301@example.com"),
        ("ada@example.com", "<ada@example.com>"),
        ("ada@example.com", "ada@\uff45xample.com"),
    ],
)
def test_a_guest_with_an_address_shown_in_another_spelling_of_it_is_adopted(
    story: StoryHarness, asked: str, shown: str
) -> None:
    guest = story.staff("guest_checkout", email="guest@example.com")
    story.user("ada", email=asked)
    story.shop().hostile = Answering("customerByIdentifier", showing(story.shop(), guest.id, shown))
    (action,) = story.plan()["actions"]
    story.shop().hostile = None
    assert (action["kind"], action["customer_id"]) == ("adopt", guest.id)


def naming(customer_id: str, root: str, *path: str, **shown: str) -> Spoil:
    """The payload's id is that of another customer, and what is shown beside it too."""

    def spoil(tree: dict[str, Any]) -> None:
        node = tree["data"][root]
        for step in path[:-1]:
            node = node[step]
        node[path[-1]] = customer_id
        node.update(shown)

    return spoil


@pytest.mark.parametrize("shown", ["", "guest@example.com"])
def test_a_create_with_an_answer_about_another_customer_changes_that_customer_in_nothing(
    story: StoryHarness, shown: str
) -> None:
    story.store["metafields"] = {AVATAR: {"from": "image_url", "type": "url"}}
    story.user("bob", image_url="https://img.example.com/b.png")
    story.apply()
    other = story.staff("create", email=shown).id if shown else story.theirs("bob").id
    before = story.everybody()[other]
    story.user("ada", image_url="https://img.example.com/a.png")
    spoil = naming(other, "customerSet", "customer", "id", **({"email": shown} if shown else {}))
    story.shop().hostile = Answering("customerSet", spoil, times=1)
    story.apply()
    story.shop().hostile = None
    assert story.everybody()[other] == before
    assert story.theirs("ada").metafields[AVATAR] == "https://img.example.com/a.png"
    assert {row["status"] for row in story.mappings().values()} == {"in_sync"}
    story.settles()


def test_a_merge_with_an_answer_about_a_third_customer_links_no_one_to_it(story: StoryHarness) -> None:
    story.store["on_email_conflict"] = "merge"
    for name in ("ada", "bob"):
        story.user(name)
    story.apply()
    story.staff("create", email="new@example.com", first_name="Guest")
    story.user("ada", email="new@example.com")
    third = story.theirs("bob")
    story.shop().hostile = Answering("customerMerge", naming(third.id, "customerMerge", "resultingCustomerId"))
    story.apply()
    story.shop().hostile = None
    assert story.theirs("bob") == third
    assert story.mappings()["bob"]["status"] == "in_sync"
    story.settles()


# --- nothing --------------------------------------------------------------------------------------------------------

EMPTY: dict[str, dict[str, Any]] = {
    "customerSet": {"customer": None},
    "tagsAdd": {"node": None},
    "tagsRemove": {"node": None},
    "metafieldsSet": {"metafields": []},
    "customerDelete": {"deletedCustomerId": None},
    "customerRequestDataErasure": {"customerId": None},
}


@pytest.mark.parametrize("root", EMPTY)
def test_a_write_with_an_answer_that_names_nothing_is_not_taken_for_done(two: StoryHarness, root: str) -> None:
    two.store.update(tags=["app-user", "old"], metafields={AVATAR: {"from": "image_url", "type": "url"}})
    two.store["on_leave"] = "erase" if root == "customerRequestDataErasure" else "delete"
    two.apply()
    two.store["tags"] = ["app-user", "vip"]
    two.user("ada", first_name="Adah", image_url="https://img.example.com/a.png")
    two.gone("bob")
    sim = two.shop(US)
    sim.faults.add("status", status=500, on=root, times=None)  # nothing is done
    sim.hostile = Answering(root, Response(json.dumps({"data": {root: {"userErrors": [], **EMPTY[root]}}})))
    two.apply(code=1)
    failing = two("status", "--output", "json").json["stores"]
    assert next(s for s in failing if s["store"] == US)["pending"] > 0
    sim.hostile = None
    sim.faults.clear()
    two.apply()
    two.settles()
    assert two.theirs("ada").first_name == "Adah"


def test_a_back_link_with_an_answer_that_names_nothing_is_not_taken_for_written(story: StoryHarness) -> None:
    guest = story.staff("guest_checkout", email=mail("ada"))
    story.user("ada")
    story.shop().faults.add("status", status=500, on="metafieldsSet", times=None)  # nothing is done
    nothing = Response(json.dumps({"data": {"metafieldsSet": {"userErrors": [], "metafields": []}}}))
    story.shop().hostile = Answering("metafieldsSet", nothing)
    story.apply(code=1)
    assert story.everybody()[guest.id].first_name != "Ada"
    story.shop().hostile = None
    story.shop().faults.clear()
    story.apply()
    story.settles()
    assert story.theirs("ada").id == guest.id


@pytest.mark.parametrize("status", [203, 204, 520, 524])
@pytest.mark.parametrize("root", ["customerSet", "tagsAdd", "customerDelete"])
def test_a_write_that_was_executed_behind_a_status_that_says_nothing_is_found_done(
    story: StoryHarness, root: str, status: int
) -> None:
    story.store["on_leave"] = "delete"
    story.user("bob")
    story.apply()
    story.store["tags"] = ["app-user", "vip"]
    story.user("ada")
    if root == "customerDelete":
        story.gone("bob")
    story.shop().hostile = Answering(root, Response(b"", status), times=1)
    story.apply()
    story.shop().hostile = None
    story.settles()
    assert story.theirs("ada").email == mail("ada")


def test_an_address_that_is_taken_by_a_hidden_customer_is_tried_again_when_the_profile_changes(
    story: StoryHarness,
) -> None:
    """Once each: else the user waited for ever, as no read shows when the address becomes free."""
    story.user("ada")
    story.apply()
    story.user("ada", email="new@village.example.com")
    story.user("bob")
    error = {"field": ["input", "email"], "code": "TAKEN", "message": "Email has already been taken"}
    sim = story.shop()
    sim.faults.add("status", status=500, on="customerSet", times=None)  # nothing is done
    refusal = Response(json.dumps({"data": {"customerSet": {"customer": None, "userErrors": [error]}}}))
    sim.hostile = Answering("customerSet", refusal)
    story.apply(code=1)
    story.settles(held={("ada", "Rejected"), ("bob", "Rejected")})
    sim.hostile = None
    sim.faults.clear()
    story.settles(held={("ada", "Rejected"), ("bob", "Rejected")})
    story.user("ada", last_name="King")
    story.user("bob", last_name="Builder")
    story.apply()
    story.settles()
    assert story.theirs("ada").email == "new@village.example.com"
    assert story.theirs("bob").email == mail("bob")


# --- one customer of many -------------------------------------------------------------------------------------------


def failing_at(customer_id: str) -> Spoil:
    """An error of the shop's own at this one customer; its place is null."""

    def spoil(tree: dict[str, Any]) -> None:
        nodes = (tree.get("data") or {}).get("nodes") or []
        for at, node in enumerate(nodes):
            if node is not None and node["id"] == customer_id:
                nodes[at] = None
                error = {"message": "Internal error", "extensions": {"code": "INTERNAL_SERVER_ERROR"}}
                tree["errors"] = [{**error, "path": ["nodes", at]}]

    return spoil


def odd_at(customer_id: str) -> Spoil:
    """This one customer's tags are no list."""

    def spoil(tree: dict[str, Any]) -> None:
        for node in (tree.get("data") or {}).get("nodes") or []:
            if node is not None and node["id"] == customer_id:
                node["tags"] = {"nodes": []}

    return spoil


@pytest.mark.parametrize("spoil", [failing_at, odd_at])
def test_one_customer_that_the_shop_fails_to_show_holds_that_user_alone(
    story: StoryHarness, spoil: Callable[[str], Spoil]
) -> None:
    for name in ("ada", "bob", "cleo", "dora", "eve"):
        story.user(name)
    story.apply()
    for name in ("ada", "bob", "cleo"):
        story.user(name, last_name="King")
    story.shop().hostile = Answering("nodes", spoil(story.theirs("cleo").id))
    plan = story.plan()
    assert {a["clerk_user_id"]: a["kind"] for a in plan["actions"]} == {"user_ada": "update", "user_bob": "update"}
    assert [(h["clerk_user_id"], h["reason"]) for h in plan["holds"]] == [("user_cleo", "Unreadable")]
    story.apply()
    assert (story.theirs("bob").last_name, story.theirs("cleo").last_name) == ("King", None)
    assert story("drift").code == 1
    story.shop().hostile = None
    story.apply()
    story.settles()


def test_a_shop_that_fails_to_show_anybody_is_an_error_of_the_store(two: StoryHarness) -> None:
    for n in range(20):
        two.user(f"user{n}")
    two.apply()

    def fail(tree: dict[str, Any]) -> None:
        nodes = (tree.get("data") or {}).get("nodes") or []
        error = {"message": "Internal error", "extensions": {"code": "INTERNAL_SERVER_ERROR"}}
        tree["errors"] = [{**error, "path": ["nodes", at]} for at in range(len(nodes))]
        tree.setdefault("data", {})["nodes"] = [None] * len(nodes)

    two.shop(US).hostile = Answering("nodes", fail)
    said = two("plan", "--output", "json")
    assert said.code == 1
    assert "Internal error" in part(said.json, US)["error"]
    assert part(said.json, EU)["error"] is None
    assert part(said.json, US)["actions"] == []


# --- bulk results ---------------------------------------------------------------------------------------------------


class Telling(Hostile):
    """What a bulk operation says of itself once it is complete, and what becomes of each line of its result."""

    def __init__(self, node: dict[str, Any], line: Spoil | None = None) -> None:
        super().__init__("shape")
        self._node, self._line = node, line

    def spoilt(self, reply: Response, roots: tuple[str, ...] = ()) -> Response:
        if isinstance(reply, FileResponse):
            lines = [json.loads(line) for line in Path(reply.path).read_text("utf-8").splitlines()]
            for line in lines:
                if self._line is not None:
                    self._line(line)
            return Response("\n".join(map(json.dumps, lines)), media_type="application/jsonl")
        if "bulkOperation" not in roots:
            return reply
        tree = json.loads(bytes(reply.body))
        if tree["data"]["bulkOperation"]["status"] == "COMPLETED":
            tree["data"]["bulkOperation"].update(self._node)
        return Response(json.dumps(tree), media_type="application/json")


@pytest.fixture(params=["sqlite", "postgres"])
def kept_in(request: pytest.FixtureRequest, two: StoryHarness) -> StoryHarness:
    if request.param == "postgres":
        server: servers.Server = request.getfixturevalue("postgres")
        database: Callable[..., str] = request.getfixturevalue("postgres_database")
        two.settings["state"] = {"url": server.url(database(migrated=True))}
    return two


NOISE = "".join(chr(97 + (n * n * 7919 + n) % 26) for n in range(9_000))


def too_long(line: dict[str, Any]) -> None:
    line["defaultEmailAddress"] = {"emailAddress": f"{NOISE}@example.com"}
    line["defaultPhoneNumber"] = {"phoneNumber": f"+1{NOISE}"}
    line["m0"] = {"value": NOISE, "type": "id"}


def test_values_that_no_index_can_hold_are_one_shops_and_end_no_command(kept_in: StoryHarness) -> None:
    kept_in.apply()
    kept_in.shop(US).hostile = Telling({"fileSize": None}, too_long)
    said = kept_in("backfill", "shopify")
    assert (said.code, said.err) == (0, "")
    kept_in.shop(US).hostile = None
    kept_in.settles()


def far_off(line: dict[str, Any]) -> None:
    line["__lineNumber"] = 10**12


def test_line_numbers_that_no_file_has_are_no_answers(kept_in: StoryHarness) -> None:
    kept_in.shop(US).hostile = Telling({"fileSize": None}, far_off)
    kept_in.apply("--bulk", "always")
    kept_in.shop(US).hostile = None
    kept_in.settles()
    assert len(kept_in.everybody()) == 2


def test_a_result_that_is_said_to_have_lines_and_lies_nowhere_is_none(two: StoryHarness) -> None:
    two.apply()
    two.shop(US).hostile = Telling({"url": None})
    said = two("backfill", "shopify")
    assert said.code == 1
    assert "has 2 lines, but no address to fetch them from" in said.err
    assert "acme-eu: 2 customers read" in said.out
    two.shop(US).hostile = None
    assert "0 deleted" in two("backfill", "shopify", "--store", US).out
    two.settles()


def test_answers_of_a_bulk_operation_under_the_numbers_of_other_lines_are_no_answers(story: StoryHarness) -> None:
    story.store["metafields"] = {AVATAR: {"from": "image_url", "type": "url"}}
    for n in range(4):
        story.user(f"user{n}", image_url=f"https://img.example.com/{n}.png")

    def next_line(line: dict[str, Any]) -> None:
        line["__lineNumber"] = (line["__lineNumber"] + 1) % 4

    story.shop().hostile = Telling({"fileSize": None}, next_line)
    story.apply("--bulk", "always")
    story.shop().hostile = None
    events = story("explain", "user_user0", "--all", "--output", "json").json["stores"][0]["events"]
    assert {event["customer_id"] for event in events} == {story.theirs("user0").id}
    for n in range(4):
        assert story.theirs(f"user{n}").metafields[AVATAR] == f"https://img.example.com/{n}.png"
    story.settles()


def test_a_line_of_a_create_without_an_email_that_names_another_customer_changes_that_one_in_nothing(
    story: StoryHarness,
) -> None:
    story.store["require_email"] = False
    story.store["metafields"] = {AVATAR: {"from": "image_url", "type": "url"}}
    story.user("bob", image_url="https://img.example.com/b.png")
    story.apply()
    other = story.theirs("bob")
    story.user("ada", email=None, phone="+4930901820", image_url="https://img.example.com/a.png")

    def name_other(line: dict[str, Any]) -> None:
        if "customerSet" in line["data"]:
            line["data"]["customerSet"]["customer"]["id"] = other.id

    story.shop().hostile = Telling({"fileSize": None}, name_other)
    story.apply("--bulk", "always")
    story.shop().hostile = None
    assert story.theirs("bob") == other
    assert story.theirs("ada").metafields[AVATAR] == "https://img.example.com/a.png"
    assert {row["status"] for row in story.mappings().values()} == {"in_sync"}
    story.settles()
