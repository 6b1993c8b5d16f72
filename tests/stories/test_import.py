"""`mappings import`: customers are assigned to users by a table of pairs, under the guards of every plan."""

from __future__ import annotations

import json

import pytest

from tests.cli.harness import US
from tests.stories.harness import TRACE, StoryHarness, mail


def written(story: StoryHarness, kind: str, *pairs: tuple[str, str]) -> str:
    path = story.folder / f"pairs.{kind}"
    rows = [{"clerk_user_id": f"user_{who}", "store": US, "shopify_customer_id": customer} for who, customer in pairs]
    if kind == "json":
        path.write_text(json.dumps(rows))
    else:
        lines = [",".join(row.values()) for row in rows]
        path.write_text(
            "\ufeff" + "\r\n".join(["clerk_user_id,store,shopify_customer_id", *lines]) + "\r\n", encoding="utf-8"
        )
    return str(path)


@pytest.mark.parametrize("kind", ["csv", "json"])
def test_pairs_link_users_to_customers_with_other_addresses(story: StoryHarness, kind: str) -> None:
    guest = story.staff("create", email="old@example.com", first_name="Old")
    story.user("ada")
    story.user("bob")
    said = story("mappings", "import", written(story, kind, ("ada", guest.id)), "--yes", "--output", "json")
    assert said.code == 0, said.err
    assert said.json["stores"][0]["applied"] == {"adopt": 1}
    assert (story.theirs("ada").id, story.theirs("ada").email) == (guest.id, mail("ada"))
    assert story.actions() == {"bob": "create"}, "only the users of the file are looked at"
    again = story("mappings", "import", written(story, kind, ("ada", guest.id)), "--yes")
    assert again.code == 0
    story.apply()
    story.settles()


def test_a_moved_instance_with_a_lost_state_is_mapped_by_its_table(story: StoryHarness) -> None:
    for name in ("ada", "bob"):
        story.user(name)
    story.apply()
    at = {name: story.theirs(name).id for name in ("ada", "bob")}
    for name in ("ada", "bob"):
        story.gone(name)
        story.user(f"{name}2", email=f"{name}2@example.com")
    story.lose_the_state()
    file = written(story, "csv", *((f"{name}2", at[name].rsplit("/", 1)[1]) for name in at))
    assert story("mappings", "import", file, "--yes").code == 0
    assert {name: story.theirs(f"{name}2").id for name in at} == at
    story.settles()


def test_what_can_t_be_assigned_is_held_and_says_why(story: StoryHarness) -> None:
    for name in ("ada", "bob"):
        story.user(name)
    story.apply()
    story.user("cyd")
    before = story.everybody()
    pairs = [("cyd", story.theirs("bob").id), ("ada", "999"), ("gone", story.theirs("ada").id)]
    file = written(story, "json", *pairs)
    said = story("mappings", "import", file, "--yes", "--output", "json")
    assert said.code == 0, said.err
    assert story.everybody() == before
    assert said.json["stores"][0]["applied"] == {}
    assert said.json["stores"][0]["held"] == 3


def test_the_operator_assigns_a_customer_that_a_re_link_left_behind(story: StoryHarness) -> None:
    story.user("ada")
    story.apply()
    left = story.theirs("ada").id
    story.staff("guest_checkout", email="guest@example.com")
    story.user("ada", email="guest@example.com")
    story.apply()
    story.user("new", email=mail("ada"))
    assert story.held() == {("new", "EmailConflict")}
    assert story("mappings", "import", written(story, "csv", ("new", left)), "--yes").code == 0
    assert story.theirs("new").id == left
    assert TRACE not in story.everybody()[left].metafields, "it is no customer any more that was left behind"
    story.settles()


def test_the_guards_hold_an_import_too(story: StoryHarness) -> None:
    guests = [story.staff("create", email=f"g{n}@example.com") for n in range(2)]
    story.store["guards"] = {"adopt": {"max": 1}}
    story.user("ada")
    story.user("bob")
    file = written(story, "csv", ("ada", guests[0].id), ("bob", guests[1].id))
    said = story("mappings", "import", file, "--yes")
    assert said.code == 0
    assert "adopt" in said.out
    assert [c.backlink for c in story.everybody().values()] == [None, None]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("clerk_user_id,store,shopify_customer_id\nuser_a,nowhere,1\n", "row 2: 'nowhere' is not a store"),
        ("clerk_user_id,store,shopify_customer_id\nuser_a,acme-us,x\n", "row 2: 'x' is not a customer"),
        ("clerk_user_id,store,shopify_customer_id\n,acme-us,1\n", "row 2: clerk_user_id is missing"),
        ("clerk_user_id,store,shopify_customer_id\nuser_a,acme-us,1\nuser_b,acme-us,1\n", "row 3: "),
        ("clerk_user_id,shop,shopify_customer_id\nuser_a,acme-us.myshopify.com,1\nuser_a,acme-us,2\n", "row 3: "),
        ("user_a,acme-us,1\n", "the first row lacks the column clerk_user_id, shopify_customer_id, store"),
        ("clerk_user_id,store,customer\nuser_a,acme-us,1\n", "the first row lacks the column shopify_customer_id"),
        (f"clerk_user_id,store,shopify_customer_id\n\nuser_a,acme-us,{'9' * 200_000}\n", "row 3: not valid CSV"),
        ('[{"clerk_user_id": "user_a", "store": {"a": 1}, "shopify_customer_id": 1}]', "is not a store"),
        ("[" * 100_000, "not valid JSON"),
        ("[1, 2]", "not a list of objects"),
        ("[", "not valid JSON"),
        ("", "has no pairs"),
    ],
)
def test_a_file_that_can_t_be_understood_is_refused_by_row(story: StoryHarness, text: str, says: str) -> None:
    path = story.folder / "pairs"
    path.write_text(text)
    said = story("mappings", "import", str(path), "--yes")
    assert said.code == 64
    assert says in said.err
    assert "hint: " in said.err


@pytest.mark.parametrize(
    "text",
    [
        "clerk_user_id;store;shopify_customer_id\r\nuser_ada;acme-us;{id}\r\n",
        "clerk_user_id\tstore\tshopify_customer_id\nuser_ada\tacme-us\t{id}\n",
        "Clerk_User_ID, Shop , Shopify_Customer_ID\n user_ada, acme-us.myshopify.com, {id}\n",
        "clerk_user_id,store,shopify_customer_id,note\n\n,,,\nuser_ada,acme-us,{id}\n,,,\n",
    ],
)
def test_a_table_is_read_as_spreadsheets_write_it(story: StoryHarness, text: str) -> None:
    """With semicolons or tabs, blanks around the values, other letters in the first row, and empty rows."""
    guest = story.staff("create", email="old@elsewhere.example.com", first_name="Ada")["id"]
    story.user("ada")
    path = story.folder / "pairs"
    path.write_text(text.format(id=guest))
    assert story("mappings", "import", str(path), "--yes").code == 0
    assert story.theirs("ada").id == guest
