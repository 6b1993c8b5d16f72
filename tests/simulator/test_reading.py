"""Reading customers: point lookups see everything immediately, search does not, and pages are Shopify's."""

import base64
import json
import random
from typing import Any

import pytest

from reconciler.simulator.customers.normalisation import Habits
from tests.simulator.harness import FIND, SimulatorHarness, by_link

LIST = """query($first: Int, $last: Int, $after: String, $before: String, $query: String, $sort: CustomerSortKeys,
              $reverse: Boolean) {
  customers(first: $first, last: $last, after: $after, before: $before, query: $query, sortKey: $sort, reverse: $reverse) {
    nodes { id email } edges { cursor node { id } }
    pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } }"""
COUNT = "query($query: String, $limit: Int) { customersCount(query: $query, limit: $limit) { count precision } }"
MAIL = "person{}@example.com"


def emails(page: Any) -> list[str]:
    return [each["email"] for each in page["nodes"]]


def search(sim: SimulatorHarness, query: str) -> set[str]:
    return set(emails(sim(LIST, first=50, query=query)))


@pytest.fixture
def cli() -> SimulatorHarness:
    """Four customers that search knows."""
    sim = SimulatorHarness()
    for fields in (
        {"email": "mail@test.ch", "firstName": "Ada", "lastName": "Lovelace", "tags": ["VIP", "two words"]},
        {"email": "claro@bluewin.ch", "firstName": "Bob", "phone": "+16134505293"},
        {"email": "mail@elsewhere.org", "firstName": "Ada"},
        {"firstName": "Noone", "tags": ["vip"]},
    ):
        sim.set(**fields)
        sim.clock.now += 3600
    return sim


def test_a_new_customer_is_found_immediately_by_identifier_and_later_by_search(sim: SimulatorHarness) -> None:
    made = sim.set(email="ada@example.com")
    both = sim.reply(
        """query { one: customerByIdentifier(identifier: {emailAddress: "ADA@example.com"}) { id }
                   many: customers(first: 5, query: "email:\\"ada@example.com\\"") { nodes { id } } }"""
    )
    assert both["data"] == {"one": {"id": made["id"]}, "many": {"nodes": []}}
    assert emails(sim(LIST, first=5)) == ["ada@example.com"]
    sim.clock.now += sim.shop.search_lag_s
    assert search(sim, 'email:"ada@example.com"') == {"ada@example.com"}


def test_search_still_finds_what_was(cli: SimulatorHarness) -> None:
    ada = cli.find(emailAddress="mail@test.ch")
    cli.set({"id": ada["id"]}, email="new@example.com", tags=[])
    cli.shop.staff_delete(cli.find(emailAddress="claro@bluewin.ch")["id"])
    assert search(cli, 'email:"mail@test.ch"') == {"new@example.com"}
    assert search(cli, "first_name:Bob") == set()
    assert search(cli, 'tag:"two words"') == {"new@example.com"}
    cli.clock.now += 2
    assert search(cli, 'tag:"two words"') == set()
    assert search(cli, 'email:"new@example.com"') == {"new@example.com"}


def test_without_lag_search_knows_immediately() -> None:
    sim = SimulatorHarness(search_lag_s=0)
    sim.set(email="ada@example.com")
    assert search(sim, "email:ada@example.com") == {"ada@example.com"}


def test_an_unquoted_email_finds_others_too(cli: SimulatorHarness) -> None:
    assert search(cli, "email:mail@test.ch") == {"mail@test.ch", "claro@bluewin.ch", "mail@elsewhere.org"}
    assert search(cli, 'email:"mail@test.ch"') == {"mail@test.ch"}
    assert search(cli, 'email:"test.ch"') == {"mail@test.ch"}


def test_a_phone_with_blanks_is_cut_into_terms(cli: SimulatorHarness) -> None:
    assert search(cli, "phone:+16134505293") == {"claro@bluewin.ch"}
    assert search(cli, "phone:+1 613 450 5293") == set()


def test_an_unknown_field_is_ignored_and_only_a_warning_says_so(cli: SimulatorHarness) -> None:
    reply = cli.reply(LIST, first=50, query='metafields.clerk.user_id:"user_1"')
    assert len(reply["data"]["customers"]["nodes"]) == 4
    assert reply["extensions"]["search"][0]["path"] == ["customers"]
    warning = reply["extensions"]["search"][0]["warnings"][0]
    assert (warning["field"], warning["code"]) == ("metafields.clerk.user_id", "invalid_field")


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("first_name:ada", {"mail@test.ch", "mail@elsewhere.org"}),
        ("first_name:ada AND last_name:lovelace", {"mail@test.ch"}),
        ("first_name:ada -last_name:lovelace", {"mail@elsewhere.org"}),
        ("first_name:ada NOT email:*org*", {"mail@test.ch", "mail@elsewhere.org"}),
        ("(first_name:bob OR last_name:lovelace) phone:*", {"claro@bluewin.ch"}),
        ("email:clar*", {"claro@bluewin.ch"}),
        ("love*", {"mail@test.ch"}),
        ("ada lovelace", {"mail@test.ch"}),
        ('"bob"', {"claro@bluewin.ch"}),
        ("tag:vip email:*", {"mail@test.ch"}),
        ("tag_not:vip", {"claro@bluewin.ch", "mail@elsewhere.org"}),
        ("state:enabled", set()),
        ("orders_count:>0", {"claro@bluewin.ch"}),
        ("total_spent:0 first_name:ada", {"mail@test.ch", "mail@elsewhere.org"}),
        ("accepts_marketing:true", set()),
        ("accepts_marketing:perhaps country:CH", set()),
    ],
)
def test_the_search_syntax(cli: SimulatorHarness, query: str, found: set[str]) -> None:
    cli.shop.staff_order(cli.find(emailAddress="claro@bluewin.ch")["id"])
    cli.clock.now += 10
    assert search(cli, query) == found


def test_updated_at_takes_later_as_same_or_later(cli: SimulatorHarness) -> None:
    moment = cli.find(emailAddress="claro@bluewin.ch")["updatedAt"]
    newer = {"claro@bluewin.ch", "mail@elsewhere.org", None}
    assert search(cli, f"updated_at:>'{moment}'") == newer
    assert search(cli, f'updated_at:>="{moment}"') == newer
    assert search(cli, f"updated_at:'{moment}'") == {"claro@bluewin.ch"}
    assert search(cli, f"updated_at:<'{moment}'") == {"mail@test.ch", "claro@bluewin.ch"}
    assert len(search(cli, f"updated_at:{moment[:10]}")) == 4
    cli.shop.habits.updated_at_whole_days = True
    assert len(search(cli, f"updated_at:'{moment}'")) == 4


def test_counts_know_three_fields_and_count_all_for_others(cli: SimulatorHarness) -> None:
    reply = cli.reply(COUNT, query='email:"mail@test.ch"')
    assert reply["data"]["customersCount"] == {"count": 4, "precision": "EXACT"}
    assert reply["extensions"]["search"][0]["warnings"][0]["code"] == "invalid_field"
    assert cli(COUNT, limit=3) == {"count": 3, "precision": "AT_LEAST"}
    number = cli.find(emailAddress="mail@test.ch")["id"].rpartition("/")[2]
    assert cli(COUNT, query=f"id:{number}")["count"] == 1


def test_a_list_wants_one_of_first_and_last(sim: SimulatorHarness) -> None:
    assert sim.error(LIST) == ("BAD_REQUEST", "you must provide one of first or last")
    assert sim.error(LIST, first=1, last=1) == ("BAD_REQUEST", "providing both first and last is not supported")
    assert sim.error(LIST, first=251)[0] == "BAD_REQUEST"
    assert sim.error(LIST, first=-1)[0] == "BAD_REQUEST"
    assert sim.error(LIST, first=1, after="nonsense")[0] == "BAD_REQUEST"


@pytest.mark.parametrize("sort", ["ID", "NAME", "UPDATED_AT"])
@pytest.mark.parametrize("seed", range(6))
def test_pages_put_together_are_the_whole_list(sort: str, seed: int) -> None:
    rand = random.Random(seed)
    sim = SimulatorHarness(search_lag_s=0)
    for number in range(23):
        sim.set(email=MAIL.format(number), lastName=rand.choice("abc"))
        sim.clock.now += rand.randrange(3)
    for gone in rand.sample(range(23), 5):
        sim.shop.staff_delete(sim.find(emailAddress=MAIL.format(gone))["id"])
    reverse = rand.random() < 0.5
    whole = emails(sim(LIST, first=50, sort=sort, reverse=reverse))
    assert len(whole) == 18
    for way, mark, more, cursor in (
        ("first", "after", "hasNextPage", "endCursor"),
        ("last", "before", "hasPreviousPage", "startCursor"),
    ):
        found: list[str] = []
        place: dict[str, Any] = {}
        size = rand.randrange(1, 7)
        while True:
            page = sim(LIST, **{way: size}, **place, sort=sort, reverse=reverse)
            found = found + emails(page) if way == "first" else emails(page) + found
            assert [each["node"] for each in page["edges"]] == [{"id": each["id"]} for each in page["nodes"]]
            if not page["pageInfo"][more]:
                break
            place = {mark: page["pageInfo"][cursor]}
        assert found == whole


def test_the_first_page_says_what_lies_on_both_sides(sim: SimulatorHarness) -> None:
    for number in range(4):
        sim.set(email=MAIL.format(number))
    first = sim(LIST, first=2)["pageInfo"]
    assert (first["hasNextPage"], first["hasPreviousPage"]) == (True, False)
    second = sim(LIST, first=2, after=first["endCursor"])["pageInfo"]
    assert (second["hasNextPage"], second["hasPreviousPage"]) == (False, True)
    assert set(json.loads(base64.urlsafe_b64decode(first["endCursor"]))) == {"last_id", "last_value"}
    nothing = sim(LIST, first=0)
    assert (nothing["nodes"], nothing["pageInfo"]["endCursor"]) == ([], None)


def test_new_customers_between_two_pages_are_neither_lost_nor_doubled(sim: SimulatorHarness) -> None:
    for number in range(4):
        sim.set(email=MAIL.format(number))
    page = sim(LIST, first=2)
    sim.shop.staff_delete(page["nodes"][1]["id"])
    sim.set(email="late@example.com")
    rest = sim(LIST, first=10, after=page["pageInfo"]["endCursor"])
    assert emails(rest) == [MAIL.format(2), MAIL.format(3), "late@example.com"]


def test_nodes_keep_their_places(sim: SimulatorHarness) -> None:
    sim.define()
    one = sim.set(by_link("user_1"), firstName="Ada")["id"]
    nodes = "query($ids: [ID!]!) { nodes(ids: $ids) { id ... on Customer { firstName } } }"
    found = sim(nodes, ids=["gid://shopify/Customer/404", one, "gid://shopify/Order/1"])
    assert found == [None, {"id": one, "firstName": "Ada"}, None]
    assert sim.error(nodes, ids=["nonsense"]) == (
        "INVALID_VARIABLE",
        "Variable $ids of type [ID!]! was provided invalid value for 0 (Invalid global id 'nonsense')",
    )
    code, message = sim.error(nodes, ids=[one] * 251)
    assert (code, message) == (
        "MAX_INPUT_SIZE_EXCEEDED", "The input array size of 251 is greater than the maximum allowed of 250."
    )  # fmt: skip
    link = sim.linked("user_1")["link"]["id"]
    text = """query($id: ID!) { node(id: $id) { id ... on Metafield {
      value ownerType owner { ... on Customer { id } } definition { key } } } }"""
    shown = sim(text, id=link)
    assert shown == {
        "id": link,
        "value": "user_1",
        "ownerType": "CUSTOMER",
        "owner": {"id": one},
        "definition": {"key": "user_id"},
    }


def test_no_one_is_null_and_no_error(sim: SimulatorHarness) -> None:
    sim.define()
    assert sim.find(id="gid://shopify/Customer/404") is None
    assert sim.find(emailAddress="noone@example.com") is None
    assert sim.find(phoneNumber="+16134505293") is None
    assert sim.linked("user_404") is None


def test_a_lookup_by_custom_id_needs_the_definition(sim: SimulatorHarness) -> None:
    given = {"customId": {"namespace": "clerk", "key": "user_id", "value": "user_1"}}
    code, message = sim.error(FIND, n=given)
    assert (code, message) == ("NOT_FOUND", "Metafield definition of type 'id' is required when using custom ids.")


def test_a_phone_is_looked_up_however_it_is_written(sim: SimulatorHarness) -> None:
    made = sim.set(phone="+16134505293")
    assert sim.find(phoneNumber="+1 (613) 450-5293")["id"] == made["id"]


def test_the_shop_says_who_it_is() -> None:
    shown = SimulatorHarness(country="GB")(
        "{ shop { myshopifyDomain currencyCode shopAddress { countryCodeV2 } primaryDomain { host } } }"
    )
    assert shown == {
        "myshopifyDomain": "harness.myshopify.com",
        "currencyCode": "GBP",
        "shopAddress": {"countryCodeV2": "GB"},
        "primaryDomain": {"host": "harness.myshopify.com"},
    }


def test_two_shops_give_different_numbers_and_the_same_seed_the_same() -> None:
    assert SimulatorHarness().set(firstName="Ada")["id"] == SimulatorHarness(habits=Habits()).set(firstName="Ada")["id"]


@pytest.mark.parametrize("seed", range(5))
def test_the_indexes_are_right_after_anything(seed: int) -> None:
    rand = random.Random(seed)
    sim = SimulatorHarness()
    sim.define()
    for _ in range(400):
        user, number = f"user_{rand.randrange(12)}", rand.randrange(12)
        what = rand.random()
        people = list(sim.shop.people)
        someone = rand.choice(people) if people else None
        if what < 0.5 or someone is None:
            sim.shop.customer_set(
                identifier=by_link(user),
                input={
                    "email": rand.choice([None, MAIL.format(number)]),
                    "phone": f"+161345052{number:02}",
                    "firstName": "A",
                },
            )
        elif what < 0.6:
            sim.shop.people.take_metafield(someone, ("clerk", "user_id"))
        elif what < 0.7:
            sim.shop.staff_delete(f"gid://shopify/Customer/{someone.number}")
        elif what < 0.8 and len(people) > 1:
            other = rand.choice([each for each in people if each is not someone])
            sim.shop.staff_merge(str(someone.number), str(other.number))
        else:
            given = {
                "ownerId": f"gid://shopify/Customer/{someone.number}",
                "namespace": "clerk",
                "key": "user_id",
                "value": user,
            }
            sim.shop.metafields_set(metafields=[given])
        check_indexes(sim)


def check_indexes(sim: SimulatorHarness) -> None:
    """Every index holds exactly what the customers say, and no two share what is unique."""
    people = sim.shop.people
    assert sorted(people.by_number) == [each.number for each in people.after(0)]
    for field, index in (("email", people.by_email), ("phone", people.by_phone)):
        having = {getattr(each, field): each for each in people if getattr(each, field)}
        assert index == having
        assert len(having) == sum(1 for each in people if getattr(each, field))
    links = {each.metafields[0].value: each for each in people if each.metafields}
    assert people.unique["clerk", "user_id"] == links
    assert len(links) == sum(1 for each in people if each.metafields)
