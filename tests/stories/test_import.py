"""`mappings import`: customers are assigned to users by a table of pairs, under the guards of every plan."""

from __future__ import annotations

import json

import pytest

from tests.cli.town import US
from tests.stories.village import TRACE, Village, mail


def written(village: Village, kind: str, *pairs: tuple[str, str]) -> str:
    path = village.folder / f"pairs.{kind}"
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
def test_pairs_link_users_to_customers_with_other_addresses(village: Village, kind: str) -> None:
    guest = village.staff("create", email="old@example.com", first_name="Old")
    village.user("ada")
    village.user("bob")
    said = village("mappings", "import", written(village, kind, ("ada", guest.id)), "--yes", "--output", "json")
    assert said.code == 0, said.err
    assert said.json["stores"][0]["applied"] == {"adopt": 1}
    assert (village.theirs("ada").id, village.theirs("ada").email) == (guest.id, mail("ada"))
    assert village.actions() == {"bob": "create"}, "only the users of the file are looked at"
    again = village("mappings", "import", written(village, kind, ("ada", guest.id)), "--yes")
    assert again.code == 0
    village.apply()
    village.settles()


def test_a_moved_instance_whose_state_was_lost_is_mapped_by_its_table(village: Village) -> None:
    for name in ("ada", "bob"):
        village.user(name)
    village.apply()
    at = {name: village.theirs(name).id for name in ("ada", "bob")}
    for name in ("ada", "bob"):
        village.gone(name)
        village.user(f"{name}2", email=f"{name}2@example.com")
    village.lose_the_state()
    file = written(village, "csv", *((f"{name}2", at[name].rsplit("/", 1)[1]) for name in at))
    assert village("mappings", "import", file, "--yes").code == 0
    assert {name: village.theirs(f"{name}2").id for name in at} == at
    village.settles()


def test_what_can_t_be_assigned_is_held_and_says_why(village: Village) -> None:
    for name in ("ada", "bob"):
        village.user(name)
    village.apply()
    village.user("cyd")
    before = village.everybody()
    pairs = [("cyd", village.theirs("bob").id), ("ada", "999"), ("gone", village.theirs("ada").id)]
    file = written(village, "json", *pairs)
    said = village("mappings", "import", file, "--yes", "--output", "json")
    assert said.code == 0, said.err
    assert village.everybody() == before
    assert said.json["stores"][0]["applied"] == {}
    assert said.json["stores"][0]["held"] == 3


def test_the_operator_assigns_a_customer_that_a_re_link_left_behind(village: Village) -> None:
    village.user("ada")
    village.apply()
    left = village.theirs("ada").id
    village.staff("guest_checkout", email="guest@example.com")
    village.user("ada", email="guest@example.com")
    village.apply()
    village.user("new", email=mail("ada"))
    assert village.held() == {("new", "EmailConflict")}
    assert village("mappings", "import", written(village, "csv", ("new", left)), "--yes").code == 0
    assert village.theirs("new").id == left
    assert TRACE not in village.everybody()[left].metafields, "it is no customer any more that was left behind"
    village.settles()


def test_the_guards_hold_an_import_too(village: Village) -> None:
    guests = [village.staff("create", email=f"g{n}@example.com") for n in range(2)]
    village.store["guards"] = {"adopt": {"max": 1}}
    village.user("ada")
    village.user("bob")
    file = written(village, "csv", ("ada", guests[0].id), ("bob", guests[1].id))
    said = village("mappings", "import", file, "--yes")
    assert said.code == 0
    assert "adopt" in said.out
    assert [c.backlink for c in village.everybody().values()] == [None, None]


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
def test_a_file_that_can_t_be_understood_is_refused_by_row(village: Village, text: str, says: str) -> None:
    path = village.folder / "pairs"
    path.write_text(text)
    said = village("mappings", "import", str(path), "--yes")
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
def test_a_table_is_read_as_spreadsheets_write_it(village: Village, text: str) -> None:
    """With semicolons or tabs, blanks around the values, other letters in the first row, and empty rows."""
    guest = village.staff("create", email="old@elsewhere.example.com", first_name="Ada")["id"]
    village.user("ada")
    path = village.folder / "pairs"
    path.write_text(text.format(id=guest))
    assert village("mappings", "import", str(path), "--yes").code == 0
    assert village.theirs("ada").id == guest
