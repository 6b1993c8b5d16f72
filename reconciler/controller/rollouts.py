"""Rollouts on the state: which policy each store has, how a rollout continues, and what operators do to it.

Every process that shares the state takes the policy of a store from there, whatever its files say. A transition names the
one before it (compare and set), so that of two processes one makes it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Generic

from pydantic import JsonValue

from reconciler.controller.scan.standing import FULL
from reconciler.core.fields.desired import config_digest
from reconciler.core.fields.policy import (
    columns_of,
    holding_back,
    kept_digest,
    kept_document,
    policy_differences,
    policy_digest,
    policy_document,
)
from reconciler.core.model.act import Act, ActKind, Actor
from reconciler.core.model.frozen import frozen
from reconciler.core.model.ids import ShopDomain, StoreName
from reconciler.core.model.rollout import (
    KeptPolicy,
    PolicyDifference,
    Rollout,
    RolloutSettings,
    RolloutState,
    StoreProgress,
)
from reconciler.core.model.store import HeldBack, Store, StoreT
from reconciler.core.plan import waves
from reconciler.core.plan.waves import WaveStore, why_held_back
from reconciler.core.report.rollout import RolloutReport, rollout_report
from reconciler.errors import PlanRefused
from reconciler.ports import Clock, MappingReader, PauseReader, ScanRepository
from reconciler.ports.rollouts import RolloutRepository, WaveFacts

TRIES = 3
NOT_KNOWN = "the policy that the store had is not known, so everything waits"


@frozen
class Rollouts(Generic[StoreT]):
    """The rollouts of stores in several waves.

    `stores` have the policies of stores.yaml, and `columns` is the present mapping of columns. `column_problem` says why the
    profiles can't be read by an earlier mapping; it is empty where they can.
    """

    stores: tuple[StoreT, ...]
    limits: RolloutSettings
    columns: Mapping[str, str]
    book: RolloutRepository
    mappings: MappingReader
    scans: ScanRepository
    pauses: PauseReader
    clock: Clock
    column_problem: Callable[[Mapping[str, str]], str]

    # --- which policy is in force -------------------------------------------------------------------------------------

    def read(self) -> RolloutState:
        """The newest rollout and the policy of each store. Changes nothing."""
        state = self.book.rollout_state()
        return RolloutState(state.rollout, {**state.policies, **{each.shop: each for each in self._first(state)}})

    def in_force(self, state: RolloutState) -> tuple[StoreT, ...]:
        """The stores with the policies that are in force."""
        mine = state.rollout if self.is_ours(state) else None
        return tuple(self._in_force(store, state.policies.get(store.shop), mine) for store in self.stores)

    def upcoming(self, state: RolloutState, *, actor: Actor, named: Collection[StoreName] = ()) -> RolloutState:
        """What the state will say after the transition that is due; the same where none is. Changes nothing."""
        after = self._next(state, actor, named=named)
        return state if after is None else RolloutState(after, {**state.policies, **self._opened(after, state)})

    def is_due(self, actor: Actor) -> bool:
        """Whether stores.yaml differs from the newest rollout, so that another one would begin. Changes nothing."""
        state = self.read()
        after = self.upcoming(state, actor=actor).rollout
        return after is not None and (state.rollout is None or after.id != state.rollout.id)

    def keep(self) -> None:
        """Record the policies of these stores as those that they have."""
        now = self.clock.now()
        self.book.keep_policies(
            [KeptPolicy(shop=s.shop, policy=policy_document(s, self.columns), since=now) for s in self.stores]
        )

    # --- how it continues -----------------------------------------------------------------------------------------------

    def advance(
        self, actor: Actor, *, named: Collection[StoreName] = (), may_begin: bool = True, may_open: bool = True
    ) -> RolloutState:
        """Make the transition that is due, and return the state after it.

        `named`: only a transition that opens a wave with one of these stores. `may_begin` False: no new rollout begins.
        `may_open` False: no next wave is opened.
        """
        state = self.record()
        for _ in range(TRIES):  # another process may make a transition meanwhile
            after = self._next(state, actor, named=named, may_begin=may_begin, may_open=may_open)
            if after is None:
                break
            opens = bool(self._opened(after, state))
            done = self._put(after, state)
            state = self.record()
            if done:
                return self._record_opening(state) if opens else state
        return state

    def record(self) -> RolloutState:
        """What `read` gives, after the policies of stores that the state knows none of were recorded.

        Before any user of them is recorded: by the users it is known which policy a store has.
        """
        state = self.book.rollout_state()
        first = self._first(state)
        if first:
            self.book.keep_policies(first)
        return RolloutState(state.rollout, {**state.policies, **{each.shop: each for each in first}})

    def is_ours(self, state: RolloutState) -> bool:
        """Whether the newest rollout leads to the policies of stores.yaml. True without a rollout."""
        return state.rollout is None or state.rollout.target == self._target()

    def is_blocked(self, state: RolloutState) -> bool:
        """Whether a rollout is under way in shops that stores.yaml lacks: this file can neither begin nor continue one."""
        return bool(waves.missing(state.rollout, self.wave_stores(state)))

    def note_synced(self, shops: Collection[ShopDomain], *, since: datetime) -> None:
        """Record that these stores were passed over whole, by the policies that they had at `since`."""
        self.book.note_synced(shops, since)

    def unsynced(self, state: RolloutState) -> list[StoreName]:
        """The stores of the open wave that no scan and no `apply` has passed over since it was opened."""
        rollout = state.rollout
        if rollout is None or rollout.phase != "rolling":
            return []
        theirs = (store for store in self.stores if store.shop in rollout.current)
        return [s.name for s in theirs if not self._is_synced_since(s, state.policies[s.shop], rollout.opened_at)]

    # --- what operators do --------------------------------------------------------------------------------------------

    def resume(self, actor: Actor, *, seen: str | None = None) -> RolloutState | None:
        """Open the next wave now, or finish; None where there is no rollout to continue. PlanRefused.

        `seen`: the step at which the operator decided, who may not have seen a limit that was exceeded since.
        """
        state = self.read()
        if seen is not None and (state.rollout is None or state.rollout.step != seen):
            raise _moved_on()
        after = waves.resume(
            state.rollout, self.wave_stores(state), lambda shops: self._progress(shops, state), now=self.clock.now()
        )
        if after is None or state.rollout is None:
            return None
        if after.target != self._target():
            hint = self.report(state).next_step.replace("`", "")
            raise PlanRefused("stores.yaml has changed since this rollout began", hint=hint)
        return self._act(replace(after, version=state.rollout.version + 1), state, actor, "continue")

    def abort(self, actor: Actor) -> RolloutState | None:
        """End the rollout; None where none is under way. PlanRefused."""
        state = self.read()
        after = waves.abort(state.rollout, lambda shops: self._progress(shops, state))
        if after is None or state.rollout is None:
            return None
        return self._act(replace(after, version=state.rollout.version + 1), state, actor, "abort")

    def report(self, state: RolloutState, *, with_changes: bool = False) -> RolloutReport:
        """The report for operators; `with_changes`: also how earlier policies differ from those of stores.yaml."""
        rollout = state.rollout
        under_way = rollout is not None and rollout.is_under_way
        progress = self._progress(rollout.current, state) if rollout is not None and under_way else {}
        changes = self._changes(state) if with_changes else {}
        return rollout_report(rollout, self.wave_stores(state), progress, self.limits, changes)

    def wave_stores(self, state: RolloutState) -> list[WaveStore]:
        """The stores as the state machine knows them."""
        return [
            WaveStore(
                name=store.name,
                shop=store.shop,
                wave=store.wave,
                target=policy_digest(store, self.columns),
                kept=kept_digest(store, state.policies[store.shop].policy),
            )
            for store in self.stores
        ]

    # --- parts --------------------------------------------------------------------------------------------------------

    def _changes(self, state: RolloutState) -> dict[ShopDomain, tuple[PolicyDifference, ...]]:
        """How the policies that stores have differ from those of stores.yaml, as this version reads both."""
        found = {}
        for store in self.stores:
            before = kept_document(store, state.policies[store.shop].policy)
            after = policy_document(store, self.columns)
            if before is not None and before != after:
                found[store.shop] = policy_differences(before, after)
        return found

    def _target(self) -> dict[ShopDomain, str]:
        return {store.shop: policy_digest(store, self.columns) for store in self.stores}

    def _in_force(self, store: StoreT, kept: KeptPolicy | None, rollout: Rollout | None) -> StoreT:
        policy = kept.policy if kept is not None else None
        if policy and kept_digest(store, policy) == policy_digest(store, self.columns):
            return store
        words = why_held_back(rollout, store.wave)
        columns = columns_of(policy) if policy else None
        if policy is None:
            return store.held_back_by(HeldBack(words, is_first=True))
        if columns is None:
            return holding_back(store, None, f"{words}; {NOT_KNOWN}")
        if columns != self.columns and (problem := self.column_problem(columns)):
            return holding_back(store, None, f"{words}; by the mapping of columns that it had, {problem}")
        waiting = holding_back(store, policy, words)
        if waiting.held_back is not None and waiting.held_back.target is None:
            return holding_back(store, None, f"{words}; {NOT_KNOWN}")
        return waiting

    def _first(self, state: RolloutState) -> list[KeptPolicy]:
        """The policies of stores that the state knows none of: recorded before anything changes them."""
        now = self.clock.now()
        return [
            KeptPolicy(shop=store.shop, policy=self._present(store), since=now)
            for store in self.stores
            if store.shop not in state.policies
        ]

    def _present(self, store: Store) -> dict[str, JsonValue] | None:
        """The policy by which the users of this store were last observed, as far as it is known."""
        digests = [config_digest(store.changed(paused=paused)) for paused in (False, True)]
        match self.book.seen_by(store.shop, digests):
            case "none":
                return None
            case "this policy":
                return policy_document(store, self.columns)
            case _:
                return {}

    def _next(
        self,
        state: RolloutState,
        actor: Actor,
        *,
        named: Collection[StoreName] = (),
        may_begin: bool = True,
        may_open: bool = True,
    ) -> Rollout | None:
        """The rollout after the transition that is due; None where none is."""
        before = state.rollout
        if not may_begin and (before is None or before.phase not in {"rolling", "soaking"}):
            return None
        now, stores = self.clock.now(), self.wave_stores(state)
        if waves.missing(before, stores):
            return None
        after = waves.begin(before, stores, actor=actor, now=now) if may_begin else None
        if after is None:
            if before is None or before.target != {store.shop: store.target for store in stores}:
                return None
            after = waves.advance(
                before, stores, lambda shops: self._progress(shops, state), self.limits, now=now, may_open=may_open
            )
            if after == before:
                return None
            after = replace(after, version=before.version + 1)
        opened = self._opened(after, state)
        if named and opened and not any(s.shop in opened for s in stores if s.name in named):
            return None
        return after

    def _opened(self, after: Rollout, state: RolloutState) -> dict[ShopDomain, KeptPolicy]:
        """The policies of the stores that this transition opens."""
        before = state.rollout if state.rollout is not None and state.rollout.id == after.id else None
        shops = set(after.opened) - set(before.opened if before is not None else ())
        return {
            store.shop: replace(
                state.policies[store.shop],
                policy=policy_document(store, self.columns),
                since=state.policies[store.shop].since if store.shop in after.unproven else after.opened_at,
            )
            for store in self.stores
            if store.shop in shops
        }

    def _put(self, after: Rollout, state: RolloutState, act: Act | None = None) -> bool:
        return self.book.put_rollout(after, state.rollout, list(self._opened(after, state).values()), act)

    def _act(self, after: Rollout, state: RolloutState, actor: Actor, kind: ActKind) -> RolloutState:
        act = Act(self.clock.now(), actor, kind, detail={"rollout": after.id, "wave": after.wave, "phase": after.phase})
        opens = bool(self._opened(after, state))
        if not self._put(after, state, act):
            raise _moved_on()
        return self._record_opening(self.read()) if opens else self.read()

    def _record_opening(self, state: RolloutState) -> RolloutState:
        """Record when every process could read the policies of the wave just opened, and return the state after that.

        A scan that began before may have used the policies before them, and does not count as a pass of the wave.
        """
        rollout = state.rollout
        if rollout is None or rollout.phase != "rolling":
            return state
        after = replace(rollout, opened_at=self.clock.now(), version=rollout.version + 1)
        self.book.put_rollout(after, rollout, [])  # False: another process has made the next step
        return self.read()

    def _progress(self, shops: Collection[ShopDomain], state: RolloutState) -> dict[ShopDomain, StoreProgress]:
        pauses = self.pauses.pauses()
        found = {}
        for store in self.stores:
            if store.shop in shops:
                kept, rollout = state.policies[store.shop], state.rollout
                # Before the facts and their time: what a scan has queued by its end is then among them.
                scanned_at = self._scanned_since(store, rollout.opened_at) if rollout is not None else None
                is_synced = rollout is None or scanned_at is not None or self._is_applied_since(kept, rollout.opened_at)
                since = kept.since if rollout is None else min(kept.since, rollout.opened_at)
                facts = self.book.wave_facts(
                    store.name, store.shop, since=since, passed_at=scanned_at, now=self.clock.now()
                )
                paused = store.with_pause(pauses.get(store.shop)).pause_words
                held, waits = self._waits_for(store, facts, is_synced=is_synced)
                found[store.shop] = StoreProgress(
                    waits_for=paused or held or waits, asks=bool(paused or held), counts=facts.counts
                )
        return found

    def _waits_for(self, store: Store, facts: WaveFacts, *, is_synced: bool) -> tuple[str, str]:
        """What the store waits for: an operator; and what ends by itself."""
        known = self.mappings.facts(store.shop)
        if known is not None and known.suspended_reason is not None:
            return f"the shop refuses access: {known.suspended_reason}", ""
        if known is not None and known.failing_reason is not None:
            return "", f"the shop fails: {known.failing_reason}"
        if not is_synced:
            return "", "a full resync, or `reconciler apply`"
        if facts.withheld:
            held = ", ".join(f"{count:,} held by {name}" for name, count in sorted(facts.withheld.items()))
            return f"{held} ({facts.guard})" if facts.guard else held, ""
        return "", f"{facts.untried:,} requests" if facts.untried else ""

    def _is_synced_since(self, store: Store, kept: KeptPolicy, at: datetime) -> bool:
        """Whether a pass that began since then has ended."""
        return self._is_applied_since(kept, at) or self._scanned_since(store, at) is not None

    def _is_applied_since(self, kept: KeptPolicy, at: datetime) -> bool:
        """Whether an `apply` that began since then has ended. A time in the future was written by another clock."""
        return kept.synced_at is not None and at <= kept.synced_at <= self.clock.now()

    def _scanned_since(self, store: Store, at: datetime) -> datetime | None:
        """When a scan that began since then has ended. A time in the future was written by another clock."""
        mark = self.scans.mark(store.shop, FULL)
        return mark.finished_at if mark is not None and at <= mark.started_at <= self.clock.now() else None


def _moved_on() -> PlanRefused:
    return PlanRefused("the rollout has moved on", hint="see reconciler rollout status, and repeat")
