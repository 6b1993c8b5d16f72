"""Users, shops and staff at random, with a process that may die at any mutation; judged after every cycle.

It ends with all faults gone: three cycles make everything equal that is not held, and a fourth sends nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from reconciler.controller.mirror.reader import MirrorReader
from reconciler.controller.mirror.refresh import seen_of, shape_of
from reconciler.controller.observe import ObserveOptions
from reconciler.controller.readers import Readers
from reconciler.controller.scan.plan import scan_store
from reconciler.core.model.ids import ClerkUserId, CustomerId, ShopDomain, StoreName
from reconciler.core.model.json import json_of
from reconciler.core.model.store import Ceiling, Guards, MetafieldRule, Store
from reconciler.core.plan.plan import build_plan
from reconciler.errors import ReconcilerError
from tests.explore.oracle import Whole, Witness, guards_were_kept, is_equal_but_for_holds, mappings_are_sound
from tests.inprocess import Cycle, Planned, Rig

USERS = ("user_A", "user_B", "user_C", "user_D")
EMAILS = tuple(f"{name}@x.example.com" for name in ("ada", "bob", "cyd", "dee", "eve", "fay", "gil"))
PHONES = ("+16134505293", "+41446681800", "+442079460958")
NAMES = ("Ada", "  Grace ", "Łukasz-Óg", "Ōe 健三郎", "O’Neil", "x" * 255)
TAGS = ("vip", "App-User", "wholesale", "clerk-left")
STORES = ("left", "right")
AMPLE = Guards(update=Ceiling(max=500), relink=Ceiling(max=25), merge=Ceiling(max=5), release=Ceiling(max=25))
FAULTS = ("lost_before", "lost_after", "internal_error", "internal_error_after", "truncated", "throttled")
MUTATIONS = ("customerSet", "metafieldsSet", "metafieldsDelete", "tagsAdd", "tagsRemove", "customerMerge")
HOME = ({"city": "Ottawa", "countryCode": "CA"},)

users = st.sampled_from(USERS)
emails = st.sampled_from([*EMAILS, EMAILS[0].upper(), f" {EMAILS[1]}"])
maybe_emails = st.sampled_from([*EMAILS, EMAILS[0].upper(), None])
names = st.one_of(st.sampled_from(NAMES), st.none(), st.just("  "))
phones = st.one_of(st.none(), st.sampled_from(PHONES))
stores = st.sampled_from(STORES)
texts = st.one_of(st.none(), st.sampled_from(["a note", "two\nlines "]))
rows = st.fixed_dictionaries(
    {},
    optional={
        "email": maybe_emails,
        "email_verified": st.sampled_from([True] * 6 + [False, None]),
        "first_name": names,
        "last_name": names,
        "phone": phones,
        "note": texts,
        "locale": st.sampled_from([None, "en", "de-CH"]),
        "image_url": st.sampled_from([None, "https://img.example.com/1.png", "https://img.example.com/2.png"]),
    },
)
edits = st.fixed_dictionaries(
    {},
    optional={"email": maybe_emails, "first_name": names, "last_name": names, "phone": phones, "note": texts},
)
policies = st.fixed_dictionaries(
    {},
    optional={
        "on_leave": st.sampled_from(["keep", "tag", "delete"]),
        "on_email_conflict": st.sampled_from(["relink", "hold", "merge"]),
        "on_missing": st.sampled_from(["recreate", "hold"]),
        "heal_drift": st.sampled_from(["auto"] * 5 + ["hold"]),
        "roll_out": st.sampled_from(["auto"] * 5 + ["hold"]),
        "trust_email": st.sampled_from(["verified"] * 4 + ["always", "never"]),
        "require_email": st.booleans(),
        "paused": st.sampled_from([False] * 7 + [True]),
        "tags": st.sampled_from([("app-user",), ("app-user", "Member"), ()]),
        "where": st.sampled_from([{}, {}, {"locale": ["en", "de-CH"]}]),
        "guards": st.sampled_from(
            [AMPLE, AMPLE, AMPLE, Guards(), Guards(create=Ceiling(max=1), release=Ceiling(max=0))]
        ),
        "fields": st.fixed_dictionaries(
            {},
            optional={
                f: st.sampled_from(["enforce", "enforce", "fill", "create_only", "ignore"])
                for f in ("email", "first_name", "last_name", "phone", "locale", "note")
            },
        ),
    },
)
faults = st.lists(
    st.tuples(
        st.sampled_from(FAULTS),
        st.sampled_from([*MUTATIONS, None]),
        st.integers(0, 3),
    ),
    max_size=2,
)


def planned_by(store: Store, readers: Readers, ask: ObserveOptions) -> Planned:
    """One store's plan by these readers."""
    scan_result = scan_store(store, readers, ask)
    return Planned(build_plan([scan_result.plan], created_at=ask.now), {store.name: scan_result})


def store(name: str, **policy: Any) -> Store:
    avatar = MetafieldRule.model_validate({"from": "image_url", "type": "url"})
    tags = policy.pop("tags", ("app-user",))
    return Store(
        name=StoreName(name),
        shop=ShopDomain(f"{name}.myshopify.com"),
        tags=tags,
        metafields={"clerk.avatar_url": avatar},
        guards=AMPLE,
        **policy,
    )


class Parity(RuleBasedStateMachine):
    """The whole, at random."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = TemporaryDirectory()
        self.rig = Rig(
            Path(self.folder.name), store("left"), store("right", on_email_conflict="merge", on_leave="delete")
        )
        self.rig.user("user_Z", email="zoe@last.example.com", locale="en")  # an empty table is another story
        self.witnesses = {name: Witness() for name in STORES}
        self._before: dict[str, Whole] = {}
        self._kinds: dict[str, set[str]] = {}

    # --- people ---------------------------------------------------------------------------------------------------

    @initialize(given=st.lists(st.tuples(users, rows, emails), max_size=4))
    def some_are_there(self, given: Sequence[tuple[str, dict[str, Any], str]]) -> None:
        for user, row, email in given:
            self.rig.user(user, **{"email": email, **row})

    @rule(user=users, row=rows)
    def a_profile_is_written(self, user: str, row: dict[str, Any]) -> None:
        if user in self.rig.profiles.rows or "email" in row:
            self.rig.user(user, **row)

    @rule(user=users, email=emails)
    def an_address_changes(self, user: str, email: str) -> None:
        self.rig.user(user, email=email)

    @rule(user=users, name=stores, pick=st.integers(0, 5))
    def a_user_takes_the_address_of_a_customer(self, user: str, name: str, pick: int) -> None:
        if (at := self._one(name, pick)) is not None and (email := self.rig.people(name)[at].email):
            self.rig.user(user, email=email)

    @rule(user=users)
    def a_profile_goes(self, user: str) -> None:
        self.rig.leave(user)

    @rule(user=users, deleted=st.booleans())
    def a_profile_is_marked_deleted_or_comes_back(self, user: str, *, deleted: bool) -> None:
        if user in self.rig.profiles.rows:
            self.rig.user(user, deleted=deleted)

    @rule(circle=st.permutations(USERS), size=st.integers(2, 4))
    def addresses_go_round(self, circle: Sequence[str], size: int) -> None:
        there = [u for u in circle[:size] if u in self.rig.profiles.rows]
        held = [self.rig.profiles.rows[ClerkUserId(u)].email for u in there]
        for user, email in zip(there, [*held[1:], *held[:1]], strict=True):
            self.rig.user(user, email=email)

    # --- staff ----------------------------------------------------------------------------------------------------

    def _one(self, name: str, pick: int) -> CustomerId | None:
        there = sorted(self.rig.people(name))
        return there[pick % len(there)] if there else None

    def _staff(self, name: str, action: str, **details: Any) -> None:
        try:
            self.rig.sim(name).staff(action, **details)
        except ValueError as error:
            note(f"the shop does not let staff do that: {error}")

    @rule(name=stores, email=emails, phone=phones)
    def a_guest_checks_out(self, name: str, email: str, phone: str | None) -> None:
        self._staff(name, "guest_checkout", email=email, phone=phone, first_name="Guest")

    @rule(user=users, email=st.sampled_from(EMAILS))
    def a_user_buys_as_a_guest_and_then_takes_that_address(self, user: str, email: str) -> None:
        for name in STORES:
            self._staff(name, "guest_checkout", email=email)
        if user in self.rig.profiles.rows:
            self.rig.user(user, email=email)

    @rule(name=stores, fields=edits, tags=st.lists(st.sampled_from(TAGS), max_size=2))
    def staff_make_a_customer(self, name: str, fields: dict[str, Any], tags: list[str]) -> None:
        self._staff(
            name, "create", **fields, tags=tags, tax_exempt=True, addresses=[{"city": "Ottawa", "countryCode": "CA"}]
        )

    @rule(name=stores, pick=st.integers(0, 5), fields=edits)
    def staff_edit_a_customer(self, name: str, pick: int, fields: dict[str, Any]) -> None:
        if (at := self._one(name, pick)) is not None:
            self._staff(name, "edit", id=at, **fields)

    @rule(name=stores, pick=st.integers(0, 5), tag=st.sampled_from(TAGS), add=st.booleans())
    def staff_tag_a_customer(self, name: str, pick: int, tag: str, *, add: bool) -> None:
        if (at := self._one(name, pick)) is not None:
            self._staff(name, "tag" if add else "untag", id=at, tags=[tag])

    @rule(name=stores, pick=st.integers(0, 5))
    def staff_delete_a_customer(self, name: str, pick: int) -> None:
        if (at := self._one(name, pick)) is not None:
            self._staff(name, "delete", id=at)

    @rule(name=stores, keep=st.integers(0, 5), other=st.integers(0, 5))
    def staff_merge_two(self, name: str, keep: int, other: int) -> None:
        one, two = self._one(name, keep), self._one(name, other)
        if one is not None and two is not None and one != two:
            self._staff(name, "merge", keep=one, other=two)

    @rule(name=stores, pick=st.integers(0, 5))
    def staff_take_a_backlink_off(self, name: str, pick: int) -> None:
        if (at := self._one(name, pick)) is not None:
            self._staff(name, "delete_metafield", id=at, namespace="clerk", key="user_id")

    @rule(name=stores, pick=st.integers(0, 5))
    def another_app_keeps_a_metafield(self, name: str, pick: int) -> None:
        if (at := self._one(name, pick)) is not None:
            details = {"namespace": "loyalty", "key": "points", "value": "7", "type": "number_integer"}
            self._staff(name, "set_metafield", id=at, **details)

    # --- operators ------------------------------------------------------------------------------------------------

    @rule(name=stores, policy=policies)
    def the_config_changes(self, name: str, policy: dict[str, Any]) -> None:
        self.rig.rotate(name, **policy)

    @rule()
    def the_state_is_lost(self) -> None:
        self.rig.lose_state()

    @rule(hours=st.sampled_from([1, 30]))
    def time_passes(self, hours: int) -> None:
        self.rig.clock.sleep(hours * 3600)

    @rule()
    def a_look_changes_nothing(self) -> None:
        before = self._seen()
        self.rig.plan()
        assert self._seen() == before, "a plan has changed something"

    @rule(name=stores, carry=st.booleans())
    def a_plan_by_the_mirror_says_what_a_live_one_does(self, name: str, *, carry: bool) -> None:
        self._mirror_is_filled(name)
        store = self.rig.stores[StoreName(name)]
        live = self.rig.readers(store)
        readers = replace(live, by_mirror=MirrorReader(store, self.rig.state, live.customers))
        ask = ObserveOptions(now=self.rig.clock.now(), explicit=False)
        fast, whole = (planned_by(store, each, ask) for each in (readers, live))
        assert fast.plan.digest == whole.plan.digest, f"{fast.plan!r} is not {whole.plan!r}"
        if carry:
            self._cycle([name], planned=fast)

    def _mirror_is_filled(self, name: str) -> None:
        """As by a bulk query that has just ended."""
        store, state, now = self.rig.stores[StoreName(name)], self.rig.state, self.rig.clock.now()
        there = self.rig.customers(store).by_ids(sorted(self.rig.people(name)))
        state.begin_mirror(store.shop, "gid://shopify/BulkOperation/1", now=now, expected=None, shape=shape_of(store))
        state.put_seen(store.shop, [seen_of(c) for c in there.values()], as_of=now, now=now, source="bulk")
        state.end_mirror(store.shop, complete=True, now=now)

    @rule(name=stores, wanted=faults)
    def a_cycle_under_faults(self, name: str, wanted: Sequence[tuple[Any, Any, int]]) -> None:
        sim = self.rig.sim(name)
        for kind, on, after in wanted:
            sim.faults.add(kind, on=on, after=after)
        self._cycle([name])
        sim.faults.clear()

    @rule(name=stores, at=st.integers(1, 6), after=st.booleans())
    def the_process_dies(self, name: str, at: int, *, after: bool) -> None:
        with self.rig.dying(at, after=after):
            self._cycle([name])
        self._judged(name)

    @rule(name=stores, some=st.lists(users, min_size=1, max_size=2, unique=True))
    def some_are_looked_at(self, name: str, some: list[str]) -> None:
        self._cycle([name], some)

    @rule()
    def a_cycle(self) -> None:
        cycle = self._cycle(STORES)
        if not cycle.failures and all(p.error is None for p in cycle.planned.plan.stores):
            for name in STORES:
                mappings_are_sound(self.rig, name)

    @rule(name=stores, some=st.lists(users, min_size=1, max_size=4, unique=True))
    def a_worker_takes_requests(self, name: str, some: list[str]) -> None:
        self._watch([name])
        for _, found in self.rig.requested(name, *some):
            self._kinds[name].add(found.kind or "")
            if found.kind == "release":
                self._kinds[name].add(self.rig.stores[StoreName(name)].on_leave)
        self._judged(name)

    @rule(
        name=stores,
        some=st.lists(users, min_size=1, max_size=4, unique=True),
        at=st.integers(1, 4),
        after=st.booleans(),
    )
    def a_worker_dies(self, name: str, some: list[str], at: int, *, after: bool) -> None:
        self._watch([name])
        self._kinds[name] = {"merge", "delete"}
        with self.rig.dying(at, after=after):
            self.rig.requested(name, *some)
        self._judged(name)

    # --- the end --------------------------------------------------------------------------------------------------

    def teardown(self) -> None:
        try:
            self._comes_to_rest()
        finally:
            self.rig.close()
            self.folder.cleanup()

    def _comes_to_rest(self) -> None:
        for _ in range(3):
            self.rig.clock.sleep(60)  # a merge that was begun ends in its own time
            self._cycle(STORES)
        last = self._cycle(STORES)
        assert last.mutations == 0, f"it does not come to rest: {json_of(last.planned.plan)}"
        assert not last.planned.plan.summary.actions
        is_equal_but_for_holds(self.rig, last)
        for name in STORES:
            mappings_are_sound(self.rig, name)

    def _cycle(
        self, names: Sequence[str], some: Sequence[str] | None = None, *, planned: Planned | None = None
    ) -> Cycle:
        rig = self.rig
        self._watch(names)
        counts = {name: rig.state.count(rig.stores[StoreName(name)].shop) for name in names}
        cycle = Cycle(planned or rig.plan(names, some))
        for part in cycle.planned.plan.stores:
            guards_were_kept(rig.stores[part.store], part, counts[part.store])
        self._kinds = {p.store: {a.how or a.kind for a in p.actions} for p in cycle.planned.plan.stores}
        mutations = rig.mutations()
        try:
            cycle.outcomes = rig.apply(cycle.planned)
        except ReconcilerError as error:
            raise AssertionError(f"an apply ended with {error!r}") from error
        cycle.mutations = rig.mutations() - mutations
        for name in names:
            self._judged(name)
        return cycle

    def _watch(self, names: Sequence[str]) -> None:
        """Remember how things are, to be judged against."""
        self._before = {name: self.rig.people(name) for name in names}
        self._kinds = {name: set() for name in names}
        for name in names:
            rows = self.rig.mappings(name)
            self.witnesses[name].mapped = frozenset((m.clerk_user_id, m.customer_id) for m in rows if m.customer_id)

    def _judged(self, name: str) -> None:
        rig, store = self.rig, self.rig.stores[StoreName(name)]
        kinds = self._kinds[store.name]
        self.witnesses[name].judge(
            rig,
            store,
            self._before[name],
            rig.people(name),
            may_vanish=bool(kinds & {"merge", "delete"}),
            merged="merge" in kinds,
        )

    def _seen(self) -> object:
        return (
            self.rig.mutations(),
            [self.rig.people(name) for name in STORES],
            [self.rig.mappings(name) for name in STORES],
        )
