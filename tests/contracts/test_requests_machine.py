"""The queue against a model of it: whatever is asked, claimed, dropped and taken over, in any order.

The model is a workqueue in a dictionary, with no word of ranks, lanes or rows. After each step: a key is in the queue
once, no owner is given a key that another holds, fencing numbers have only grown, an owner that lost a key learns it, and
nothing that was asked for is forgotten. An owner with claims that have run out gets all that is due, whatever it lost.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from sqlalchemy import Engine

from reconciler.core.model.ids import ClerkUserId, StoreName
from reconciler.core.model.request import Claim, Priority, Request
from reconciler.state.requests.queue import RequestTable
from tests.contracts.queues import holds, queue_database

START = datetime(2026, 11, 23, 9, tzinfo=UTC)
STORES = (StoreName("acme"), StoreName("globex"))
REQUESTS = tuple(Request(store, ClerkUserId(f"user_{n}")) for store in STORES for n in range(3))
OWNERS = ("one", "two")
LEASE_S = 30.0

some_requests = st.lists(st.sampled_from(REQUESTS), min_size=1, max_size=4)
delays_s = st.sampled_from([0.0, 1.0, 4.0, 20.0, 60.0])


@dataclass
class Entry:
    """What the model knows of one key in the queue."""

    due_at: datetime
    again_at: datetime | None = None
    delayed_at: datetime | None = None
    attempts: int = 0
    holder: Claim | None = None
    lease_until: datetime = START
    began_at: datetime = START
    asked: list[datetime] = field(default_factory=list)

    def owed_at(self) -> datetime | None:
        """When another reconcile is owed beside the present one."""
        return min((at for at in (self.again_at, self.delayed_at) if at is not None), default=None)

    def is_free(self, now: datetime) -> bool:
        return self.holder is None or self.lease_until <= now


class Machine(RuleBasedStateMachine):
    """Two owners, six keys, one clock."""

    engine: Engine

    def __init__(self) -> None:
        super().__init__()
        self.queue = RequestTable(self.engine)
        self.now = START
        self.entries: dict[Request, Entry] = {}
        self.claims: list[Claim] = []
        self.fencing: dict[Request, int] = {}
        for store in STORES:
            self.queue.forget(store)

    def mine(self, claim: Claim) -> bool:
        entry = self.entries.get(claim.request)
        return entry is not None and entry.holder == claim

    @rule(seconds=st.sampled_from([0.001, 0.5, 3.0, 10.0, 29.0, 31.0, 301.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    @rule(requests=some_requests, priority=st.sampled_from(Priority), delay_s=delays_s)
    def somebody_asks(self, requests: list[Request], priority: Priority, delay_s: float) -> None:
        due_at = self.now + timedelta(seconds=delay_s)
        self.queue.add(requests, self.now, priority=priority, reason="asked", due_at=due_at)
        for request in set(requests):
            self.asked(request, priority, due_at)

    @rule(store=st.sampled_from(STORES))
    def a_resync_comes(self, store: StoreName) -> None:
        of_store = [request for request in REQUESTS if request.store == store]
        self.queue.add_all(store, [request.clerk_user_id for request in of_store], self.now, interval_s=900)
        for request in of_store:
            self.asked(request, Priority.RESYNC, self.now)

    def asked(self, request: Request, priority: Priority, due_at: datetime) -> None:
        delayed = due_at > self.now
        entry = self.entries.get(request)
        if entry is None:
            self.entries[request] = Entry(due_at, delayed_at=due_at if delayed else None, asked=[due_at])
            return
        if priority is Priority.RESYNC and entry.holder is None and entry.due_at > self.now and entry.attempts:
            return
        if entry.holder is None:
            entry.due_at = min(entry.due_at, due_at)
        elif not delayed:
            entry.again_at = entry.again_at or due_at
        if delayed:
            if entry.delayed_at is not None and entry.delayed_at <= self.now:  # its time has come: owed like any other
                entry.again_at = (entry.again_at or entry.delayed_at) if entry.holder else None
                entry.delayed_at = None
            if entry.delayed_at is not None and entry.delayed_at < due_at:
                return  # of several the earliest
            entry.asked = [at for at in entry.asked if at <= self.now]
            entry.delayed_at = due_at
        entry.asked.append(due_at)

    @rule(owner=st.sampled_from(OWNERS), limit=st.integers(1, 7), caps=st.tuples(st.integers(0, 3), st.integers(0, 3)))
    def somebody_claims(self, owner: str, limit: int, caps: tuple[int, int]) -> None:
        stores = dict(zip(STORES, caps, strict=True))
        held = [
            e.holder for e in self.entries.values() if e.holder and e.holder.owner == owner and not e.is_free(self.now)
        ]
        free = {store: max(0, cap - sum(c.store == store for c in held)) for store, cap in stores.items()}
        due = [r for r, e in self.entries.items() if e.is_free(self.now) and e.due_at <= self.now]
        claims = self.queue.claim(owner, self.now, limit=limit, lease_s=LEASE_S, stores=stores)
        taken = [claim.request for claim in claims]
        assert len(set(taken)) == len(taken)
        assert set(taken) <= set(due), "not due, or held by another"
        for store in STORES:
            assert sum(r.store == store for r in taken) <= free[store]
        wanted = min(limit, sum(min(free[s], sum(r.store == s for r in due)) for s in STORES))
        assert len(taken) == wanted, "what was due was not given"
        for claim in claims:
            self.taken(claim)

    @rule(owner=st.sampled_from(OWNERS), limit=st.integers(1, 7))
    def an_answer_is_lost(self, owner: str, limit: int) -> None:
        """The claim was committed, and the connection went before its answer: no one works on these keys, or says so."""
        before = len(self.claims)
        self.somebody_claims(owner, limit, (3, 3))
        del self.claims[before:]

    def taken(self, claim: Claim) -> None:
        entry = self.entries[claim.request]
        assert claim.fencing > self.fencing.get(claim.request, 0)
        self.fencing[claim.request] = claim.fencing
        entry.attempts += entry.holder is not None
        assert claim.attempts == entry.attempts
        entry.holder = claim
        entry.lease_until = self.now + timedelta(seconds=LEASE_S)
        entry.again_at = None
        if entry.delayed_at is not None and entry.delayed_at <= self.now:
            entry.delayed_at = None
        entry.began_at = self.now
        self.claims.append(claim)

    def pick(self, data: st.DataObject) -> Claim:
        return data.draw(st.sampled_from(self.claims))

    @precondition(lambda self: self.claims)
    @rule(data=st.data())
    def a_reconcile_is_done(self, data: st.DataObject) -> None:
        claims = data.draw(st.lists(st.sampled_from(self.claims), min_size=1, max_size=4, unique_by=id))
        outcomes = self.queue.done(claims, self.now)
        for claim, outcome in zip(claims, outcomes, strict=True):
            if not self.mine(claim):
                assert outcome == "lost"
                continue
            assert outcome == self.finished(claim)

    def finished(self, claim: Claim) -> str:
        """The model's own answer; what was asked for after the reconcile began must still be owed."""
        entry = self.entries.pop(claim.request)
        unheard = [at for at in entry.asked if at > entry.began_at or at == entry.again_at]
        owed_at = entry.owed_at()
        if owed_at is None:
            assert not unheard, "a nudge was lost"
            return "done"
        self.entries[claim.request] = Entry(owed_at, delayed_at=entry.delayed_at, asked=unheard)
        return "again"

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), delay_s=delays_s, failed=st.booleans())
    def a_reconcile_is_put_off(self, data: st.DataObject, delay_s: float, *, failed: bool) -> None:
        claim = self.pick(data)
        due_at = self.now + timedelta(seconds=delay_s)
        if failed:
            kept = self.queue.retry(claim, self.now, delay_s=delay_s, reason="failed")
        else:
            kept = self.queue.postpone(claim, due_at, reason="later")
        assert kept == self.mine(claim)
        if kept:
            entry = self.entries[claim.request]
            entry.holder = None
            entry.attempts = entry.attempts + 1 if failed else 0
            entry.due_at = min(due_at, entry.owed_at() or due_at)
            entry.again_at = None

    @precondition(lambda self: self.claims)
    @rule(data=st.data())
    def a_claim_is_handed_back(self, data: st.DataObject) -> None:
        claim = self.pick(data)
        self.queue.release([claim])
        if self.mine(claim):
            self.entries[claim.request].holder = None
            self.entries[claim.request].again_at = None

    @precondition(lambda self: self.claims)
    @rule(data=st.data())
    def a_lease_is_renewed(self, data: st.DataObject) -> None:
        claim = self.pick(data)
        lost = self.queue.renew([claim], self.now, lease_s=LEASE_S)
        assert lost == (() if self.mine(claim) else (claim,))
        if not lost:
            entry = self.entries[claim.request]
            entry.lease_until = self.now + timedelta(seconds=LEASE_S)

    @invariant()
    def each_key_is_in_it_once_and_is_as_it_should_be(self) -> None:
        tally = self.queue.tally(self.now)
        for store in STORES:
            entries = [e for r, e in self.entries.items() if r.store == store]
            waiting = tally.get(store)
            assert (waiting is None) == (not entries)
            if waiting is not None:
                assert waiting.in_flight == sum(e.holder is not None for e in entries)
                assert waiting.delayed == sum(e.holder is None and e.due_at > self.now for e in entries)
                assert waiting.failing == sum(e.attempts > 0 for e in entries)
                assert waiting.ready + waiting.delayed + waiting.in_flight == len(entries)

    @invariant()
    def only_the_last_holder_holds(self) -> None:
        for claim in self.claims[-3:]:
            assert holds(self.engine, claim) == self.mine(claim)

    def teardown(self) -> None:
        """However it ends: an owner who continues as before sees every key, and then there is nothing left."""
        for _ in range(12):
            if not self.entries:
                break
            self.now += timedelta(seconds=400)
            self.somebody_claims(OWNERS[0], 7, (2, 2))
            last = [c for c in self.claims if c.owner == OWNERS[0] and self.mine(c)]
            for claim, outcome in zip(last, self.queue.done(last, self.now), strict=True):
                assert outcome == self.finished(claim)
        assert not self.entries
        assert self.queue.depth() == 0


@pytest.mark.parametrize(("backend", "examples", "steps"), [("sqlite", 20, 40), ("postgres", 6, 40)])
def test_whatever_happens_the_queue_keeps_its_promises_machine(
    request: pytest.FixtureRequest, tmp_path: Path, backend: str, examples: int, steps: int
) -> None:
    with queue_database(request, backend, tmp_path) as engine:
        machine = type("Machine", (Machine,), {"engine": engine})
        profile = settings()
        if profile.derandomize:  # the quick profile; `make explore` brings its own, larger numbers
            profile = settings(max_examples=examples, stateful_step_count=steps)
        run_state_machine_as_test(machine, settings=profile)
