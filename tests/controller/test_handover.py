"""The release of a user who leaves and the adoption by a successor at the same moment: one of both acts, in every order.

The order is forced: while one request is worked on, something else happens at a named point of it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reconciler.controller.reconcile import reconcile
from reconciler.controller.step import ReconcileResult
from reconciler.core.model.ids import ClerkUserId, CustomerId, StoreName
from reconciler.core.model.mapping import Intent
from reconciler.core.model.profile import Profile
from reconciler.core.model.store import Store
from reconciler.core.model.write import Link, Unlink
from tests.core.people import store
from tests.inprocess import Rig, Rows

ADA, BOB, NEW = "user_ada", "user_bob", "new_ada"
MAIL = "ada@x.example.com"
POLICIES = ["keep", "tag", "delete", "erase"]
DESTRUCTIVE = {"delete": "customerDelete", "erase": "customerRequestDataErasure"}
Happens = Callable[[], object]


def acme(**policy: Any) -> Store:
    guards = {kind: {"max": 99} for kind in ("create", "adopt", "update", "relink", "merge", "release")}
    return store(**{"guards": guards, **policy})


class Meanwhile(Rows):
    """Rows of which one question, once, is answered after something else has happened."""

    def __init__(self) -> None:
        super().__init__()
        self.on: dict[str, Happens] = {}

    def _asked(self, question: str) -> None:
        if (happens := self.on.pop(question, None)) is not None:
            happens()

    def count(self, *, at_most: int | None = None) -> int:
        self._asked("count")
        return super().count(at_most=at_most)

    def sharing_email(self, emails: Collection[str] | None = None, *, enough: int | None = None) -> list[Profile]:
        self._asked("sharing_email")
        return super().sharing_email(emails, enough=enough)


class World(Rig):
    """A rig with these rows, and an account of what was deleted or erased in the shop."""

    def __init__(self, folder: Path, *stores: Store) -> None:
        super().__init__(folder, *stores)
        self.profiles: Meanwhile = Meanwhile()
        self.ended: list[str] = []
        self.transport.seen = self._seen

    def _seen(self, roots: tuple[str, ...], _variables: dict[str, Any]) -> None:
        self.ended += [root for root in roots if root in DESTRUCTIVE.values()]

    def once_before(self, root: str, happens: Happens) -> None:
        """Let something happen before the shop sees the next call with this root field."""

        def coming(roots: tuple[str, ...], _variables: dict[str, Any]) -> None:
            if root in roots:
                self.transport.coming = lambda _roots, _variables: None
                happens()

        self.transport.coming = coming

    def work(self, user: str, name: str = "acme") -> ReconcileResult:
        """One request, as a worker of `run` does it; who is nudged is not reconciled."""
        return reconcile(ClerkUserId(user), self.store_context(self.stores[StoreName(name)]), self.state)

    def at(self, user: str, name: str = "acme") -> str | None:
        """The customer that carries this user's back-link."""
        found = [c.id for c in self.people(name).values() if c.backlink == user]
        assert len(found) <= 1
        return found[0] if found else None


@pytest.fixture
def world(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[World]:
    policy: dict[str, Any] = getattr(request, "param", {})
    with World(tmp_path, acme(**policy)) as made:
        made.user(ADA, email=MAIL, first_name="Ada")
        made.user(BOB, email="bob@x.example.com", first_name="Bob")
        made.requested("acme", ADA, BOB)
        yield made


def arrives(world: World, **values: Any) -> None:
    """The same person signs up again: another id, the same verified email."""
    world.user(NEW, **{"email": MAIL, "first_name": "Ada", **values})


def settles(world: World) -> None:
    """Each user is reconciled until nothing is left to do; then a plan is empty."""
    world.requested("acme", ADA, BOB, NEW)
    world.requested("acme", ADA, BOB, NEW)
    assert world.plan().plan.summary.actions == 0


def check_succeeded(world: World, customer: str | None) -> None:
    """The new user has the customer of the user who left, and nothing was deleted, erased or marked."""
    settles(world)
    assert world.at(NEW) == customer
    assert world.ended == []
    assert world.people("acme")[customer].tags == world.people("acme")[world.at(BOB)].tags  # type: ignore[index]
    former, successor = world.mapping("acme", ADA), world.mapping("acme", NEW)
    assert former is not None
    assert successor is not None
    assert (former.status, former.customer_id) == ("released", None)
    assert (successor.status, successor.customer_id) == ("in_sync", customer)


def by_policy(how: str) -> dict[str, Any]:
    return {"on_leave": how}


each_policy = pytest.mark.parametrize("world", [by_policy(how) for how in POLICIES], indirect=True, ids=POLICIES)


@each_policy
def test_a_successor_who_adopts_after_the_mapping_of_the_former_user_was_read_keeps_the_customer(world: World) -> None:
    customer = world.at(ADA)
    world.leave(ADA)
    arrives(world)
    world.once_before("nodes", lambda: world.work(NEW))
    world.work(ADA)
    check_succeeded(world, customer)


@each_policy
def test_a_successor_who_adopts_after_the_customer_of_the_former_user_was_read_keeps_it(world: World) -> None:
    customer = world.at(ADA)
    world.leave(ADA)
    arrives(world)
    world.profiles.on["sharing_email"] = lambda: world.work(NEW)
    world.work(ADA)
    check_succeeded(world, customer)


@each_policy
def test_a_successor_who_arrives_and_adopts_between_decision_and_release_keeps_the_customer(world: World) -> None:
    customer = world.at(ADA)
    world.leave(ADA)

    def meanwhile() -> None:
        arrives(world)
        world.work(NEW)

    world.profiles.on["count"] = meanwhile
    world.work(ADA)
    check_succeeded(world, customer)


@each_policy
def test_a_successor_with_a_row_that_comes_between_decision_and_release_gets_the_customer(world: World) -> None:
    customer = world.at(ADA)
    world.leave(ADA)
    world.profiles.on["count"] = lambda: arrives(world, email="ADA@X.example.com")
    found = world.work(ADA)
    assert world.ended == []
    if world.stores[StoreName("acme")].on_leave in DESTRUCTIVE:
        assert (found.result, found.nudge) == ("waiting", (NEW,))
    settles(world)
    assert world.at(NEW) == customer
    assert world.ended == []


@pytest.mark.parametrize("world", [by_policy(how) for how in DESTRUCTIVE], indirect=True, ids=list(DESTRUCTIVE))
def test_a_successor_who_is_reconciled_while_the_deletion_is_under_way_takes_no_customer_that_is_about_to_go(
    world: World,
) -> None:
    customer = world.at(ADA)
    world.leave(ADA)
    how = world.stores[StoreName("acme")].on_leave
    seen: list[ReconcileResult] = []

    def meanwhile() -> None:
        arrives(world)
        seen.append(world.work(NEW))
        assert world.at(NEW) is None

    world.once_before(DESTRUCTIVE[how], meanwhile)
    found = world.work(ADA)
    assert [one.reasons for one in seen] == [("EmailTaken",)]
    assert NEW in found.nudge, "who waits for the address is reconciled as soon as it is free"
    assert world.ended == [DESTRUCTIVE[how]]
    settles(world)
    if how == "delete":
        assert world.at(NEW) not in {None, customer}
    else:
        assert world.at(NEW) is None, "an erased user is succeeded by no one"


@each_policy
def test_a_mapped_customer_that_another_user_has_by_its_back_link_is_not_released(world: World) -> None:
    """The shop says who has a customer. The plan must not delete or mark it for a user who merely had it."""
    customer = world.at(ADA)
    assert customer is not None
    world.leave(ADA)
    context = world.store_context(world.stores[StoreName("acme")])
    context.writer.send(Unlink(CustomerId(customer)))
    context.writer.send(Link(CustomerId(customer), ClerkUserId(NEW)))
    assert [(a.kind, a.clerk_user_id) for a in world.plan().plan.stores[0].actions] == []
    arrives(world, email="other@x.example.com")
    world.cycle()
    settles(world)
    assert world.at(NEW) == customer
    assert world.ended == []


@pytest.mark.parametrize("world", [by_policy(how) for how in DESTRUCTIVE], indirect=True, ids=list(DESTRUCTIVE))
def test_a_user_with_an_unverified_email_or_one_that_this_store_does_not_want_succeeds_no_user(world: World) -> None:
    customer = world.at(ADA)
    world.leave(ADA)
    world.profiles.on["count"] = lambda: arrives(world, email_verified=False)
    world.work(ADA)
    assert world.ended == [DESTRUCTIVE[world.stores[StoreName("acme")].on_leave]]
    assert world.at(NEW) is None
    assert customer is not None


@pytest.mark.parametrize("world", [by_policy("delete")], indirect=True)
def test_a_successor_in_one_store_alone_keeps_the_customer_there_and_no_other(world: World) -> None:
    first = world.at(ADA)
    world.add(acme(name="else", shop="else.myshopify.com", on_leave="delete", where={"locale": "fr-FR"}))
    world.user(ADA, locale="fr-FR")
    world.requested("acme", ADA)
    world.requested("else", ADA)
    assert world.at(ADA, "else") is not None
    world.leave(ADA)
    world.profiles.on["count"] = lambda: arrives(world, locale="en-US")
    world.work(ADA, "else")
    assert (world.at(ADA, "else"), world.ended) == (None, ["customerDelete"])
    world.work(ADA)
    settles(world)
    assert world.at(NEW) == first
    assert world.ended == ["customerDelete"]


@pytest.mark.matrix
@pytest.mark.parametrize("arrival", ["before", "never"])
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("world", [by_policy(how) for how in ("tag", *DESTRUCTIVE)], indirect=True)
def test_a_process_that_dies_in_a_release_leaves_nothing_that_needs_a_person(
    world: World, arrival: str, *, after: bool
) -> None:
    customer = world.at(ADA)
    world.leave(ADA)
    with world.dying(1, after=after):
        world.cycle()
    if arrival == "before":
        arrives(world)
    world.cycle()
    world.cycle()
    how = world.stores[StoreName("acme")].on_leave
    assert world.plan().plan.summary.actions == 0
    row = world.mapping("acme", ADA)
    assert row is not None
    assert row.status in {"released", "erased"}
    if arrival == "before" and not (after and how in DESTRUCTIVE):
        assert world.at(NEW) == customer


@pytest.mark.parametrize("world", [by_policy("delete")], indirect=True)
def test_a_successor_who_arrives_while_a_plan_deletes_others_gets_the_customer(world: World) -> None:
    customer = world.at(BOB)
    world.leave(ADA)
    world.leave(BOB)
    world.user("user_cyd", email="cyd@x.example.com")
    planned = world.plan()
    world.once_before("customerDelete", lambda: world.user("new_bob", email="bob@x.example.com"))
    outcomes = {o.action.clerk_user_id: (o.result, o.message) for o in world.apply(planned, fresh=False)}
    assert outcomes[ClerkUserId(ADA)][0] == "applied"
    result, message = outcomes[ClerkUserId(BOB)]
    assert result == "refused"
    assert "new_bob has the same verified email" in message
    assert world.ended == ["customerDelete"]
    assert [(a.kind, a.clerk_user_id) for a in world.plan().plan.stores[0].actions] == [("adopt", "new_bob")]
    world.cycle()
    assert world.at("new_bob") == customer
    assert world.plan().plan.summary.actions == 0


@pytest.mark.matrix
@pytest.mark.parametrize("late", [False, True])
@each_policy
def test_a_customer_that_several_successors_claim_is_kept_until_one_is_left_to_adopt_it(
    world: World, *, late: bool
) -> None:
    customer = world.at(ADA)
    world.leave(ADA)

    def both() -> None:
        arrives(world)
        world.user("new_2", email=MAIL)

    if late:
        world.profiles.on["count"] = both
    else:
        both()
    world.work(ADA)
    world.requested("acme", NEW, "new_2")
    assert (world.at(ADA), world.ended) == (customer, [])
    row = world.mapping("acme", ADA)
    assert row is not None
    if world.stores[StoreName("acme")].on_leave in DESTRUCTIVE:
        assert (row.status, row.reason) == ("held", "EmailTaken")
    world.user("new_2", email="else@x.example.com")
    world.requested("acme", "new_2")
    settles(world)
    assert world.at(NEW) == customer
    assert world.ended == []


@pytest.mark.parametrize("known", [None, "gid://shopify/Customer/1"], ids=["first", "after one that is gone"])
@each_policy
def test_a_customer_with_an_unrecorded_create_is_released_with_its_user(world: World, known: str | None) -> None:
    customer = world.at(ADA)
    row = world.mapping("acme", ADA)
    assert row is not None
    intent = Intent(kind="create", changes=())
    world.state.put(replace(row, customer_id=CustomerId(known) if known else None, status="pending", intent=intent))
    world.leave(ADA)
    assert world.work(ADA).result == "applied"
    after = world.mapping("acme", ADA)
    assert after is not None
    assert (after.status in {"released", "erased"}, after.customer_id) == (True, customer)
