"""Turns of `run` by bulk: who is taken off the queue, what comes back to it, and whoever dies leaves nobody behind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reconciler.controller.apply import applied
from reconciler.controller.beside import Ended
from reconciler.controller.bulk_turn import BATCH, ONE_BY_ONE, TAKEN, TurnDesk, bulk_turn, is_due
from reconciler.controller.by_mirror import ByMirror
from reconciler.controller.carry import Outcome
from reconciler.controller.reconcile import reconcile
from reconciler.core.model.ids import ClerkUserId
from reconciler.core.model.request import Claim, Priority, Request
from reconciler.errors import AccessError, SourceError
from reconciler.state.requests.queue import RequestTable
from tests.controller.bulk_rig import NAME, BulkRig, at_rest, customers, populate, rows, told, user_of
from tests.inprocess import Rows

PEOPLE = 30
RATE = 1  # a point a second: more than twelve writes one by one take longer than bulk operations
NEVER = 1e-12
HOUR_S = 3600


class TurnRig(BulkRig):
    """The rig with the queue, its turns and its workers."""

    def __init__(self, folder: Path, **policy: Any) -> None:
        super().__init__(folder, rate=RATE, **policy)
        self.queue = RequestTable(self.engine)

    def desk(self) -> TurnDesk:
        hands = self.hands(self.stores[NAME])
        assert hands.bulk is not None
        return TurnDesk(hands, hands.bulk, self.queue, self.state, owner="bulk", interval_s=900)

    def found(self, users: Collection[str], reason: str = "create") -> None:
        """A look at the whole store has found these."""
        asked = [ClerkUserId(user) for user in users]
        self.queue.add_all(NAME, asked, self.clock.now(), interval_s=900, reason=reason)

    def turn(self) -> list[Outcome]:
        return list(bulk_turn(self.desk()))

    def waiting(self) -> dict[str, Claim]:
        """All that is in the queue and due, by user: left as it is but for who holds it."""
        claims = self.queue.claim("eyes", self.clock.now(), limit=1000, lease_s=1, stores={NAME: 1000})
        self.queue.give_back(claims)
        return {c.clerk_user_id: c for c in claims}

    def work(self) -> None:
        """Workers, until nothing is due."""
        while claims := self.queue.claim("one", self.clock.now(), limit=1000, lease_s=HOUR_S, stores={NAME: 1000}):
            for claim in claims:
                done = reconcile(claim.clerk_user_id, self.hands(self.stores[NAME]), self.state)
                assert done.error is None
                self.queue.done([claim], self.clock.now())
                if done.nudge:
                    self.queue.add([Request(NAME, u) for u in done.nudge], self.clock.now(), reason="address")

    def worked_off(self) -> None:
        """What the next processes make of what is there: turns for as long as they are due, then workers."""
        for _ in range(4):
            self.clock.sleep(HOUR_S)
            if is_due(self.desk()):
                self.turn()
        self.work()
        self.clock.sleep(HOUR_S)
        self.work()
        assert self.queue.depth() == 0


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[TurnRig]:
    with TurnRig(tmp_path) as made:
        populate(made, PEOPLE)
        yield made


@pytest.fixture(scope="module")
def wanted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any, Any]:
    """How everything ends where workers do it."""
    with TurnRig(tmp_path_factory.mktemp("worked")) as paced:
        populate(paced, PEOPLE)
        paced.found([user_of(n) for n in range(PEOPLE)])
        paced.work()
        return customers(paced), rows(paced), told(paced)


Wanted = tuple[Any, Any, Any]
EVERYBODY = [user_of(n) for n in range(PEOPLE)]


def test_what_a_look_found_goes_by_bulk_and_ends_as_workers_do_it(rig: TurnRig, wanted: Wanted) -> None:
    rig.found(EVERYBODY)
    assert is_due(rig.desk())
    found = rig.turn()
    assert Counter(o.result for o in found) == {"applied": PEOPLE}
    assert "customerSet" not in rig.acme.counts
    assert rig.queue.depth() == 0
    assert not is_due(rig.desk())
    assert (customers(rig), rows(rig), told(rig)) == wanted
    at_rest(rig)


def test_those_to_be_made_are_looked_for_in_the_mirror_and_one_whom_it_does_not_know_is_adopted(rig: TurnRig) -> None:
    rig.acme.staff("create", email="person1@x.example.com", note="a guest")
    rig.found(EVERYBODY)
    one, desk = rig.stores[NAME], rig.desk()
    nobody = ByMirror(one, rig.state, rig.customers(one))  # filled when the shop had no customers
    before = dict(rig.acme.counts)
    found = list(bulk_turn(replace(desk, bulk=replace(desk.bulk, by_mirror=lambda: nobody))))
    assert Counter(o.result for o in found) == {"applied": PEOPLE}
    hers = rig.acme.counts["customerByIdentifier"] - before.get("customerByIdentifier", 0)
    assert hers <= 3  # once Shopify had refused to make her
    assert [c.note for c in rig.people(NAME).values() if c.backlink == user_of(1)] == ["a guest"]
    rig.worked_off()
    at_rest(rig)


def test_few_are_left_to_the_workers(rig: TurnRig) -> None:
    rig.found(EVERYBODY[:12])
    assert not is_due(rig.desk())
    assert rig.turn() == []
    assert rig.queue.resyncs(NAME, rig.clock.now(), reasons=TAKEN, at_most=99) == 12
    assert rig.acme.counts.get("bulkOperationRunMutation", 0) == 0


def test_nudges_and_who_is_in_hand_are_never_taken(rig: TurnRig) -> None:
    rig.found(EVERYBODY)
    now = rig.clock.now()
    rig.queue.add([Request(NAME, ClerkUserId(user_of(n))) for n in (1, 2, 3)], now, reason="webhook")
    in_hand = rig.queue.claim("one", now, limit=2, lease_s=HOUR_S, stores={NAME: 2})
    found = rig.turn()
    assert {o.action.clerk_user_id for o in found} == set(EVERYBODY) - {user_of(n) for n in (1, 2, 3)}
    assert len(rig.queue.renew(in_hand, rig.clock.now(), lease_s=1)) == 0
    rig.queue.give_back(in_hand)
    rig.work()
    assert len(rig.people(NAME)) == PEOPLE
    at_rest(rig)


def test_who_can_not_ride_comes_back_at_her_turn_and_is_not_taken_again(rig: TurnRig) -> None:
    """Adoptions, releases, half-done steps, who waits for another's address and whose address is waited for."""
    rig.acme.staff("create", email="person1@x.example.com", note="a guest")  # to be adopted
    for n in (2, 3, 4, 5):
        rig.found([user_of(n)])
    rig.work()
    two, three = "person2@x.example.com", "person3@x.example.com"
    rig.user(user_of(2), email=three)
    rig.user(user_of(3), email=two)
    rig.user(user_of(90), email="person4@x.example.com")
    rig.found([user_of(90)])
    rig.work()  # she waits for person4's
    rig.user(user_of(4), email="elsewhere@x.example.com")
    rig.leave(user_of(5))
    with rig.dying(2, after=False):  # half made
        rig.requested(NAME, user_of(6))
    rig.found([*EVERYBODY, user_of(90)], reason="update")
    rig.turn()
    left = rig.waiting()
    assert set(left) == {user_of(n) for n in (1, 2, 3, 4, 5, 6, 90)}
    assert {(c.reason, c.priority) for c in left.values()} == {(ONE_BY_ONE, Priority.RESYNC)}
    assert not is_due(rig.desk())
    rig.worked_off()
    emails = {c.backlink: c.email for c in rig.people(NAME).values()}
    assert (emails[user_of(2)], emails[user_of(3)], emails[user_of(90)]) == (three, two, "person4@x.example.com")
    assert rig.mapping(NAME, user_of(5)).status == "released"  # type: ignore[union-attr]
    at_rest(rig)


def test_the_hours_budget_holds(tmp_path: Path) -> None:
    with TurnRig(tmp_path, guards={"create": {"max": 20}}) as rig:
        populate(rig, PEOPLE)
        rig.clock.sleep(-rig.clock.at % HOUR_S)  # an hour begins
        rig.found(EVERYBODY)
        assert len(rig.turn()) == 20
        assert len(rig.people(NAME)) == 20
        held = [m for m in rig.mappings(NAME) if m.reason == "GuardExceeded"]
        assert len(held) == PEOPLE - 20
        assert (rig.queue.depth(), rig.waiting()) == (PEOPLE - 20, {})
        rig.clock.sleep(HOUR_S + 60)
        rig.work()
        assert len(rig.people(NAME)) == PEOPLE
        at_rest(rig)


def test_who_has_nothing_to_do_is_done(rig: TurnRig) -> None:
    rig.cycle()
    before = rig.mutations()
    rig.found(EVERYBODY, reason="profile")
    assert rig.turn() == []
    assert (rig.queue.depth(), rig.mutations()) == (0, before)


def test_a_nudge_in_between_is_served_before_the_operation_ends(rig: TurnRig) -> None:
    rig.found(EVERYBODY)
    shown: list[Any] = []

    def nudged() -> None:
        if rig.state.bulk_files(rig.stores[NAME].shop) and not shown:
            rig.user(user_of(7), first_name="Nudged")
            rig.queue.add([Request(NAME, ClerkUserId(user_of(7)))], rig.clock.now(), reason="webhook")
            rig.work()
            shown.append(rig.of_user(NAME, user_of(7)))
            rig.acme.shop.bulk_rows_per_s = None

    rig.acme.shop.bulk_rows_per_s = NEVER
    rig.while_waiting = nudged
    assert Counter(o.result for o in rig.turn()) == {"applied": PEOPLE}
    assert [c.first_name for c in shown] == ["Nudged"]
    after = rig.of_user(NAME, user_of(7))
    assert after is not None
    assert (after.id, after.first_name) == (shown[0].id, "Nudged")
    assert len(rig.people(NAME)) == PEOPLE
    at_rest(rig)


def test_it_ends_when_it_should_and_the_next_turn_goes_on(rig: TurnRig, wanted: Wanted) -> None:
    rig.found(EVERYBODY)
    rig.acme.shop.bulk_rows_per_s = NEVER
    desk = rig.desk()
    rig.while_waiting = desk.hands.ending.end
    with pytest.raises(Ended):
        list(bulk_turn(desk))
    rig.while_waiting = lambda: None
    rig.acme.shop.bulk_rows_per_s = None
    assert is_due(rig.desk())
    assert len(rig.turn()) == PEOPLE
    assert "customerSet" not in rig.acme.counts
    assert (customers(rig), rows(rig), told(rig)) == wanted


def test_where_another_process_is_at_it_nothing_happens(rig: TurnRig) -> None:
    rig.found(EVERYBODY)
    rig.state.acquire(f"bulk {rig.stores[NAME].shop}", "another", ttl_s=590, now=rig.clock.now())
    before = (rig.clock.at, rig.mutations())
    assert rig.turn() == []
    assert (rig.clock.at, rig.mutations()) == before
    assert rig.queue.resyncs(NAME, rig.clock.now(), reasons=TAKEN, at_most=99) == PEOPLE


def test_a_shop_that_closes_ends_it_and_is_gone_on_with_once_it_opens(rig: TurnRig, wanted: Wanted) -> None:
    def closes() -> None:
        rig.acme.status = 402

    rig.found(EVERYBODY)
    rig.acme.shop.bulk_rows_per_s = NEVER
    rig.while_waiting = closes
    with pytest.raises(AccessError):
        rig.turn()
    rig.while_waiting = lambda: None
    rig.acme.status = None
    rig.acme.shop.bulk_rows_per_s = None
    rig.worked_off()
    assert (customers(rig), rows(rig), told(rig)) == wanted


def test_a_shop_that_fails_for_a_moment_ends_the_taking_and_nobody_is_lost(rig: TurnRig) -> None:
    rig.found(EVERYBODY)
    rig.acme.faults.add("internal_error", times=3)
    assert rig.turn() == []
    assert rig.queue.resyncs(NAME, rig.clock.now(), reasons=TAKEN, at_most=99) == PEOPLE
    assert any("no more is taken" in said for said in rig.warnings)
    rig.acme.faults.clear()
    assert len(rig.turn()) == PEOPLE


def test_profiles_that_are_away_end_it_and_nobody_is_lost(rig: TurnRig) -> None:
    class Away(Rows):
        def get(self, users: Collection[ClerkUserId]) -> Any:
            raise SourceError(f"{len(users)} rows can't be read")

    rig.found(EVERYBODY)
    there, rig.profiles = rig.profiles, Away()
    with pytest.raises(SourceError):
        rig.turn()
    rig.profiles = there
    assert rig.queue.resyncs(NAME, rig.clock.now(), reasons=TAKEN, at_most=99) == PEOPLE
    assert len(rig.turn()) == PEOPLE


def test_a_shop_that_lets_nobody_in_has_all_requests_back(rig: TurnRig) -> None:
    rig.found(EVERYBODY)
    rig.acme.status = 402
    with pytest.raises(AccessError):
        rig.turn()
    assert rig.queue.resyncs(NAME, rig.clock.now(), reasons=TAKEN, at_most=99) == PEOPLE


def test_a_turn_that_is_full_leaves_the_rest_to_the_next(tmp_path: Path) -> None:
    """And those of many whom a killed one left on the way are looked at once more."""
    people = 2 * BATCH + 20
    with TurnRig(tmp_path) as rig:
        populate(rig, people)
        rig.found([user_of(n) for n in range(people)])
        rig.acme.shop.bulk_rows_per_s = NEVER
        desk = replace(rig.desk(), lines_max=BATCH + 1)
        rig.while_waiting = desk.hands.ending.end
        with pytest.raises(Ended):
            list(bulk_turn(desk))
        assert rig.queue.depth() == 20
        rig.while_waiting = lambda: None
        rig.acme.shop.bulk_rows_per_s = None
        found = Counter(o.action.clerk_user_id for o in rig.turn())
        assert found == {user_of(n): 1 for n in range(people)}
        assert rig.queue.depth() == 0
        at_rest(rig)


def test_who_waits_for_an_address_that_a_line_gives_up_is_nudged(rig: TurnRig) -> None:
    rig.found(EVERYBODY)
    rig.turn()
    for n in range(PEOPLE):
        rig.user(user_of(n), email=f"moved{n}@x.example.com")
    rig.found(EVERYBODY, reason="update")

    def waits() -> None:
        rig.user(user_of(90), email="person4@x.example.com")
        assert [found.result for _, found in rig.requested(NAME, user_of(90), turns=1)] == ["waiting"]
        rig.acme.shop.bulk_rows_per_s = None
        rig.while_waiting = lambda: None

    rig.acme.shop.bulk_rows_per_s = NEVER
    rig.while_waiting = waits
    assert len(rig.turn()) == PEOPLE
    assert {user: c.reason for user, c in rig.waiting().items()} == {user_of(90): "address"}
    rig.worked_off()
    assert rig.of_user(NAME, user_of(90)).email == "person4@x.example.com"  # type: ignore[union-attr]
    at_rest(rig)


def test_phones_change_hands_beside_lines_and_a_line_that_gives_one_up_wakes_who_waits(tmp_path: Path) -> None:
    with TurnRig(tmp_path, fields={"phone": "enforce"}) as rig:
        populate(rig, PEOPLE)
        rig.found(EVERYBODY)
        rig.turn()
        two, three, four = (str(rig.of_user(NAME, user_of(n)).phone) for n in (2, 3, 4))  # type: ignore[union-attr]
        for n in range(PEOPLE):
            rig.user(user_of(n), last_name="New")
        rig.user(user_of(2), phone=three)
        rig.user(user_of(3), phone=two)
        rig.user(user_of(4), phone="+16134505999")
        rig.user(user_of(90), email="person90@x.example.com", phone=four)
        assert [found.result for _, found in rig.requested(NAME, user_of(90), turns=1)] == ["waiting"]
        rig.found(EVERYBODY, reason="update")
        rig.turn()
        assert {*rig.waiting()} == {user_of(n) for n in (2, 3, 4)}, "who waits and who is waited for goes one by one"
        rig.worked_off()
        phones = {n: rig.of_user(NAME, user_of(n)).phone for n in (2, 3, 4, 90)}  # type: ignore[union-attr]
        assert phones == {2: three, 3: two, 4: "+16134505999", 90: four}
        at_rest(rig)


def test_whoever_loses_a_customer_to_a_line_is_looked_at(rig: TurnRig) -> None:
    """Staff write another user's back-link on her customer, while the other's line is under way: the line finds it."""
    rig.found([user_of(1)])
    rig.work()
    hers = rig.of_user(NAME, user_of(1))
    assert hers is not None

    def relinked() -> None:
        rig.acme.staff("set_metafield", id=hers.id, namespace="clerk", key="user_id", value=user_of(2))
        rig.acme.shop.bulk_rows_per_s = None
        rig.while_waiting = lambda: None

    rig.found([user_of(n) for n in range(2, PEOPLE)])
    rig.acme.shop.bulk_rows_per_s = NEVER
    rig.while_waiting = relinked
    rig.turn()
    assert {user: c.reason for user, c in rig.waiting().items()} == {user_of(1): "address"}
    rig.worked_off()
    links = Counter(c.backlink for c in rig.people(NAME).values())
    assert {links[user_of(n)] for n in range(1, PEOPLE)} == {1}


def test_an_apply_that_goes_on_with_a_run_puts_back_whom_it_drops(rig: TurnRig) -> None:
    rig.found(EVERYBODY)
    with rig.killed_after(14):
        rig.turn()
    unsent = {line.user for line in rig.state.unsent_lines(rig.stores[NAME].shop, limit=99)}
    assert unsent
    rig.clock.sleep(HOUR_S)
    asked: list[tuple[set[str], str]] = []
    hands = rig.hands(rig.stores[NAME])
    assert hands.bulk is not None
    bulk = replace(hands.bulk, look_again=lambda users, why: asked.append((set(users), why)))
    planned = rig.plan(users=[user_of(0)])
    list(applied(planned.swept[NAME], replace(hands, plan_digest="sha256:plan", bulk=bulk), fresh=True))
    assert asked == [(unsent, "dropped")]


def test_what_an_apply_left_unsent_is_looked_at(rig: TurnRig) -> None:
    with rig.killed_after(14):
        rig.cycle()
    assert rig.state.bulk_waiting(rig.stores[NAME].shop)
    rig.worked_off()
    assert len(rig.people(NAME)) == PEOPLE
    at_rest(rig)


def test_what_can_not_be_carried_out_is_the_workers(rig: TurnRig) -> None:
    """Single calls for refused lines fail for a while: the request comes back, and no turn takes it."""
    rig.found(EVERYBODY)
    rig.acme.staff("create", email="person2@x.example.com", note="a guest")

    def late() -> None:
        rig.acme.staff("create", email="person3@x.example.com", note="a guest")
        rig.acme.faults.add("internal_error", on="customerByIdentifier", times=None)
        rig.acme.shop.bulk_rows_per_s = None
        rig.while_waiting = lambda: None

    rig.acme.shop.bulk_rows_per_s = NEVER
    rig.while_waiting = late
    failed = [o.action.clerk_user_id for o in rig.turn() if o.result == "failed"]
    assert failed == [user_of(3)]
    rig.acme.faults.clear()
    assert rig.queue.depth() == 2
    rig.worked_off()
    assert {c.backlink for c in rig.people(NAME).values()} == set(EVERYBODY)
    at_rest(rig)


def test_whoever_dies_at_any_moment_leaves_nobody_behind(tmp_path: Path, wanted: Wanted) -> None:
    """Between claim and line, between line and done, while operations run, between an answer and its row."""

    def begun(folder: Path) -> TurnRig:
        rig = TurnRig(folder)
        populate(rig, PEOPLE)
        rig.found(EVERYBODY)
        return rig

    with begun(tmp_path / "counted") as rig:
        before = rig.files.crossings
        rig.turn()
        moments = rig.files.crossings - before
    assert moments > 60
    for moment in [*range(12), *range(12, moments, 19)]:
        with begun(tmp_path / f"dies-{moment}") as rig:
            with rig.killed_after(moment):
                rig.turn()
            rig.worked_off()
            assert (customers(rig), rows(rig)) == wanted[:2], moment
            at_rest(rig)
