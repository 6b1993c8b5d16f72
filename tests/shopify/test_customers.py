"""Reading and writing the customers of one shop: the world afterwards, not the calls."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import reconciler.shopify
from reconciler.core.model.ids import ClerkUserId, CustomerId
from reconciler.core.model.store import Backlink
from reconciler.core.model.write import (
    AddTags,
    Create,
    Delete,
    DeleteMetafields,
    Fields,
    Link,
    RemoveTags,
    SetMetafields,
    Unlink,
    Update,
)
from reconciler.errors import AccessError, AnswerLost, Refused
from reconciler.ports import CustomerReader, CustomerWriter
from reconciler.shopify.api.failures import PROTECTED_DATA
from reconciler.shopify.customers import ShopCustomers
from reconciler.shopify.setup import ShopSetup
from tests.shopify.conftest import ADA, STORE, Acme

AVATAR = "clerk.avatar_url"


def created(shop: ShopCustomers, user: ClerkUserId, fields: Fields) -> CustomerId:
    """The customer that a create made."""
    made = shop.send(Create(user, fields)).customer
    assert made is not None
    return made


PORTS: tuple[type[CustomerReader], type[CustomerWriter]] = (ShopCustomers, ShopCustomers)  # mypy holds it to them


@pytest.fixture
def shop(ready: Acme) -> ShopCustomers:
    return ready.customers()


def backlink(ready: Acme, customer: CustomerId) -> str | None:
    found = ready.customer(customer)["metafield"](namespace="clerk", key="user_id")
    return found["value"] if found else None


def spent(ready: Acme) -> int:
    return sum(call.cost for call in ready.sim.calls)


# --- reading --------------------------------------------------------------------------------------------------------


def test_a_customer_is_seen_whole(ready: Acme, shop: ShopCustomers) -> None:
    made = ready.made(
        email="Ada@Example.com", first_name="Ada", last_name="L", phone="+16134505293", note="n", tags=["b", "a"]
    )
    ready.sim.staff("set_metafield", id=made, namespace="clerk", key="user_id", value=ADA, type="id")
    ready.sim.staff("set_metafield", id=made, namespace="clerk", key="avatar_url", value="https://a/b", type="url")
    ready.sim.staff("set_metafield", id=made, namespace="other", key="thing", value="x", type="single_line_text_field")
    [(found_id, seen)] = shop.by_ids([made]).items()
    assert found_id == seen.id == made
    assert (seen.email, seen.first_name, seen.last_name) == ("Ada@Example.com", "Ada", "L")
    assert (seen.phone, seen.note, seen.tags, seen.locale) == ("+16134505293", "n", ("a", "b"), "en")
    assert seen.backlink == ADA
    assert {name: (m.value, m.type) for name, m in seen.metafields.items()} == {AVATAR: ("https://a/b", "url")}
    assert seen.metafields[AVATAR].digest
    assert seen.can_delete is True
    assert seen.updated_at is not None
    assert seen.updated_at.tzinfo is not None
    assert seen.unknown == {}


def test_who_is_not_there_is_left_out(ready: Acme, shop: ShopCustomers) -> None:
    made = ready.made(email="a@example.com")
    gone = CustomerId("gid://shopify/Customer/4242")
    assert list(shop.by_ids([gone, made, gone])) == [made]
    assert shop.by_ids([]) == {}
    assert shop.by_backlinks([ADA]) == {}
    assert shop.by_emails(["b@example.com", " "]) == {}
    assert shop.by_phones(["+16134505293", ""]) == {}


def test_each_lookup_finds_the_same_customer_under_the_name_that_was_asked(ready: Acme, shop: ShopCustomers) -> None:
    made = created(shop, ADA, {"email": "ada@example.com", "phone": "+16134505293"})
    asked = ["ADA@example.com", " ada@example.com "]
    assert {key: c.id for key, c in shop.by_emails(asked).items()} == dict.fromkeys(asked, made)
    assert shop.by_backlinks([ADA])[ADA].id == made
    assert shop.by_phones(["+16134505293"])["+16134505293"].id == made


@pytest.mark.parametrize("count", [8, 9, 60])
def test_many_are_found_as_well_as_few(ready: Acme, shop: ShopCustomers, count: int) -> None:
    users = [ClerkUserId(f"user_{n}") for n in range(count)]
    made = {u: ready.made(email=f"{u}@example.com", phone=f"+1613450{n:04}") for n, u in enumerate(users)}
    for user, customer in made.items():
        ready.sim.staff("set_metafield", id=customer, namespace="clerk", key="user_id", value=user, type="id")
    absent = ClerkUserId("user_absent")
    assert {u: c.id for u, c in shop.by_backlinks([*users, absent]).items()} == made
    emails = {f"{u}@example.com": c for u, c in made.items()}
    assert {e: c.id for e, c in shop.by_emails([*emails, "absent@example.com"]).items()} == emails
    phones = {f"+1613450{n:04}": made[u] for n, u in enumerate(users)}
    assert {p: c.id for p, c in shop.by_phones(phones).items()} == phones
    assert {i: c.backlink for i, c in shop.by_ids(made.values()).items()} == {c: u for u, c in made.items()}


@pytest.mark.parametrize("per_id", [False, True])
def test_a_read_of_many_stays_far_below_the_ceiling_whatever_an_id_costs(ready: Acme, *, per_id: bool) -> None:
    ready.sim.costs = replace(ready.sim.costs, charge_per_id=per_id)
    shop = ready.customers()
    ids = [ready.made(first_name=f"N{n}") for n in range(600)]
    ready.sim.calls.clear()
    assert set(shop.by_ids(ids)) == set(ids)
    costs = [call.cost for call in ready.sim.calls]
    assert max(costs) <= 500
    assert len(costs) <= (4 if not per_id else 6)
    assert sum(costs) <= (20 if not per_id else 640)
    assert shop.by_emails([f"x{n}@example.com" for n in range(100)]) == {}


def test_many_look_ups_cost_a_point_each_and_a_handful_more(ready: Acme, shop: ShopCustomers) -> None:
    emails = [f"p{n}@example.com" for n in range(100)]
    for email in emails:
        ready.made(email=email)
    ready.sim.calls.clear()
    assert len(shop.by_emails(emails)) == 100
    assert spent(ready) <= 115


def test_a_null_beside_access_denied_is_unknown_and_never_blank(ready: Acme, shop: ShopCustomers) -> None:
    made = created(shop, ADA, {"email": "ada@example.com", "first_name": "Ada", "phone": "+16134505293"})
    ready.sim.shop.unapproved_fields = {"firstName", "defaultEmailAddress", "defaultPhoneNumber", "metafield"}
    hidden = ("first_name", "email", "phone", "backlink", f"metafields.{AVATAR}")
    expected = dict.fromkeys(hidden, PROTECTED_DATA)
    for seen in (
        shop.by_ids([made])[made],
        shop.by_backlinks([ADA])[ADA],
        shop.by_emails(["ada@example.com"])["ada@example.com"],
        shop.by_phones(["+16134505293"])["+16134505293"],
    ):
        assert seen.unknown == expected
        assert (seen.first_name, seen.email, seen.phone, seen.backlink) == (None, None, None, None)
        assert seen.id == made
        assert seen.last_name is None
        assert "last_name" not in seen.unknown


def test_a_customer_that_is_not_shown_is_never_absent(ready: Acme, shop: ShopCustomers) -> None:
    made = created(shop, ADA, {"email": "ada@example.com"})
    ready.sim.shop.unapproved_fields = {"tags"}  # may not be null, so the whole customer is
    for look in (
        lambda: shop.by_ids([made]),
        lambda: shop.by_backlinks([ADA]),
        lambda: shop.by_emails(["ada@example.com"]),
        lambda: shop.by_emails([f"x{n}@example.com" for n in range(20)] + ["ada@example.com"]),
    ):
        with pytest.raises(AccessError):
            look()
    ready.sim.shop.unapproved_fields = set()
    ready.sim.shop.scopes = {"write_orders"}
    with pytest.raises(AccessError, match="read_customers"):
        shop.by_ids([made])


def test_a_hit_that_is_somebody_else_is_never_taken_for_the_user(ready: Acme, shop: ShopCustomers) -> None:
    """Where a shop folds what we hold apart, the hit is not who was asked for."""
    ready.sim.shop.habits.fold_plus_addresses = True
    ready.sim.shop.habits.id_values_case_sensitive = False
    shop.send(Create(ADA, {"email": "ada@example.com"}))
    assert shop.by_emails(["ada+shop@example.com"]) == {}
    assert [c.backlink for c in shop.by_backlinks([ClerkUserId("USER_ADA")]).values()] == [ADA]


def test_an_id_that_is_no_customers_is_refused_as_not_found(shop: ShopCustomers) -> None:
    with pytest.raises(Refused) as caught:
        shop.send(AddTags(CustomerId("gid://shopify/Nonsense/1"), ["x"]))
    assert caught.value.has("NOT_FOUND")


def test_the_rate_is_that_of_the_last_reply(ready: Acme, shop: ShopCustomers) -> None:
    shop.by_ids([ready.made(first_name="A")])
    assert shop.restore_rate() == 1000


# --- writing --------------------------------------------------------------------------------------------------------


def test_creating_writes_customer_and_back_link_in_one_step_of_ten_points(ready: Acme, shop: ShopCustomers) -> None:
    ready.sim.calls.clear()
    made = created(shop, ADA, {"email": "ada@example.com", "first_name": "Ada", "note": None, "tags": ["app-user"]})
    assert spent(ready) == 10
    seen = ready.customer(made)
    assert (seen["email"], seen["firstName"], list(seen["tags"])) == ("ada@example.com", "Ada", ["app-user"])
    assert backlink(ready, made) == ADA


@pytest.mark.parametrize("fault", ["lost_after", "truncated", "internal_error_after"])
def test_a_create_with_a_lost_answer_may_be_sent_again(ready: Acme, shop: ShopCustomers, fault: Any) -> None:
    ready.sim.faults.add(fault, on="customerSet")
    with pytest.raises(AnswerLost):
        shop.send(Create(ADA, {"email": "ada@example.com"}))
    made = created(shop, ADA, {"email": "ada@example.com"})
    assert len(ready.sim.shop.people) == 1
    assert shop.by_backlinks([ADA])[ADA].id == made


def test_updating_touches_only_what_is_named_and_none_clears(ready: Acme, shop: ShopCustomers) -> None:
    made = ready.made(email="a@example.com", first_name="A", last_name="B", note="keep", tags=["theirs"])
    ready.sim.calls.clear()
    shop.send(Update(made, {"email": "new@example.com", "first_name": None, "phone": "+16134505293", "locale": "fr"}))
    assert spent(ready) == 10
    seen = ready.customer(made)
    assert (seen["email"], seen["firstName"], seen["lastName"]) == ("new@example.com", None, "B")
    assert (seen["phone"], seen["note"], seen["locale"]) == ("+16134505293", "keep", "fr")
    assert list(seen["tags"]) == ["theirs"]


def test_tags_are_added_and_removed_beside_those_of_others(ready: Acme, shop: ShopCustomers) -> None:
    made = ready.made(first_name="A", tags=["theirs"])
    shop.send(AddTags(made, ["ours", "more"]))
    shop.send(RemoveTags(made, ["more"]))
    assert list(ready.customer(made)["tags"]) == ["ours", "theirs"]


def test_metafields_are_set_and_deleted(ready: Acme, shop: ShopCustomers) -> None:
    made = ready.made(first_name="A")
    shop.send(
        SetMetafields({made: {AVATAR: ("https://a/b", "url"), "loyalty.tier": ("gold", "single_line_text_field")}})
    )
    assert shop.by_ids([made])[made].metafields[AVATAR].value == "https://a/b"
    assert ready.customer(made)["metafield"](namespace="loyalty", key="tier")["value"] == "gold"
    shop.send(DeleteMetafields(made, [AVATAR]))
    shop.send(DeleteMetafields(made, [AVATAR]))
    assert shop.by_ids([made])[made].metafields == {}


def test_a_back_link_is_written_only_where_there_is_none(ready: Acme, shop: ShopCustomers) -> None:
    made = ready.made(first_name="A")
    shop.send(Link(made, ADA))
    assert backlink(ready, made) == ADA
    for user in (ADA, ClerkUserId("user_eve")):
        with pytest.raises(Refused) as caught:
            shop.send(Link(made, user))
        assert caught.value.has("STALE_OBJECT", "backlink")
    assert backlink(ready, made) == ADA
    shop.send(Unlink(made))
    shop.send(Unlink(made))
    assert backlink(ready, made) is None


@pytest.mark.parametrize("code", ["TAKEN", "CAPABILITY_VIOLATION"])
def test_a_back_link_belongs_to_one_customer(ready: Acme, shop: ShopCustomers, code: Any) -> None:
    ready.sim.shop.habits.unique_metafield_code = code
    shop.send(Create(ADA, {"first_name": "A"}))
    with pytest.raises(Refused) as caught:
        shop.send(Link(ready.made(first_name="B"), ADA))
    assert caught.value.has(code, "backlink")


def test_refusals_name_our_fields(ready: Acme, shop: ShopCustomers) -> None:
    ready.made(email="taken@example.com", phone="+16134505293")
    made = ready.made(first_name="A")
    with pytest.raises(Refused) as both:
        shop.send(Update(made, {"email": "taken@example.com", "phone": "+16134505293"}))
    assert both.value.has("TAKEN", "email")
    assert both.value.has("TAKEN", "phone")
    with pytest.raises(Refused) as created:
        shop.send(Create(ADA, {"email": "taken@example.com"}))
    assert created.value.has("TAKEN", "email")
    with pytest.raises(Refused) as invalid:
        shop.send(Update(made, {"email": "not-an-email"}))
    assert invalid.value.has("INVALID", "email")
    with pytest.raises(Refused) as value:
        shop.send(SetMetafields({made: {"clerk.fine": ("x", "single_line_text_field"), AVATAR: ("no url", "url")}}))
    assert value.value.has("INVALID_VALUE", f"metafields.{AVATAR}")
    with pytest.raises(Refused) as tags:
        shop.send(AddTags(made, ["x" * 256]))
    assert tags.value.has("TOO_LONG", "tags")
    with pytest.raises(Refused) as nothing_left:
        shop.send(Update(made, {"first_name": None}))
    assert nothing_left.value.refusals[0].field is None


def test_a_deleted_customer_is_not_found_by_any_write_and_may_be_deleted_again(
    ready: Acme, shop: ShopCustomers
) -> None:
    made = ready.made(first_name="A")
    shop.send(Delete(made))
    assert ready.customer(made) is None
    shop.send(Delete(made))
    writes: list[Callable[[], object]] = [
        lambda: shop.send(Update(made, {"first_name": "B"})),
        lambda: shop.send(AddTags(made, ["x"])),
        lambda: shop.send(RemoveTags(made, ["x"])),
        lambda: shop.send(SetMetafields({made: {AVATAR: ("https://a/b", "url")}})),
        lambda: shop.send(Link(made, ADA)),
    ]
    for write in writes:
        with pytest.raises(Refused) as caught:
            write()
        assert caught.value.has("NOT_FOUND")


def test_a_buyer_is_never_deleted(ready: Acme, shop: ShopCustomers) -> None:
    made = CustomerId(ready.sim.staff("guest_checkout", email="buyer@example.com")["id"])
    assert shop.by_ids([made])[made].can_delete is False
    with pytest.raises(Refused) as caught:
        shop.send(Delete(made))
    assert caught.value.has("HAS_ORDERS")
    assert ready.customer(made) is not None


def test_another_back_link_than_the_default_is_used_throughout(acme: Acme) -> None:
    store = STORE.model_copy(update={"backlink": Backlink(namespace="identity", key="clerk")})
    client = acme.client()
    ShopSetup(client).create_definition("identity", "clerk")
    shop = acme.customers(client, store)
    made = created(shop, ADA, {"first_name": "A"})
    assert shop.by_backlinks([ADA])[ADA].id == made
    shop.send(Unlink(made))
    assert shop.by_ids([made])[made].backlink is None
    shop.send(Link(made, ADA))
    assert shop.by_ids([made])[made].backlink == ADA


def test_the_simulator_is_not_known_to_the_client() -> None:
    for path in Path(reconciler.shopify.__path__[0]).rglob("*.py"):
        assert not re.search(r"(from|import) reconciler\.(simulator|controller|state|settings)", path.read_text())


def test_values_travel_as_variables(ready: Acme, shop: ShopCustomers) -> None:
    nasty = 'x"}) { id } c9: customer(id: "'
    made = created(shop, ADA, {"first_name": nasty})
    assert ready.customer(made)["firstName"] == nasty
    assert shop.by_emails([f"{json.dumps(nasty)}@example.com"]) == {}


@pytest.mark.parametrize("name", ["Zoë 👩‍🔬", "\u202eevil", "a\x00b", "half a \ud83d"])
def test_any_text_of_a_profile_can_be_sent(ready: Acme, shop: ShopCustomers, name: str) -> None:
    assert ready.customer(created(shop, ADA, {"first_name": name}))["firstName"] == name
