"""`Components`: the stores of one load of the settings files, connected to the controller."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from collections.abc import Mapping as MappingOf
from contextlib import closing, contextmanager, suppress
from difflib import get_close_matches
from functools import cached_property, partial
from typing import TYPE_CHECKING

from reconciler.controller.parallel import NEVER, Cancellation
from reconciler.controller.shop_keys import ShopKeys, check_shop, has_customers_of
from reconciler.core.decide.leaving.absence import PLANNED, Absence
from reconciler.core.fields.policy import has_waves
from reconciler.core.model.act import Actor, Pause
from reconciler.core.model.ids import ClerkUserId, CustomerId, ShopDomain, StoreName
from reconciler.core.model.request import ADDRESS, Claim, Request
from reconciler.core.model.rollout import Rollout
from reconciler.core.plan import waves
from reconciler.errors import ConfigError, ReconcilerError, SourceError, UsageError
from reconciler.ports import Clock
from reconciler.settings import Loaded, StoreSettings
from reconciler.state.database.engine import WAIT_S
from reconciler.wiring.connections import Connections

if TYPE_CHECKING:
    from reconciler.controller.acts import Acts
    from reconciler.controller.bulk.context import BulkContext, BulkRunProgress
    from reconciler.controller.context import StoreContext
    from reconciler.controller.leaving.completeness import Samples
    from reconciler.controller.mirror.refresh import MirrorContext, Progress
    from reconciler.controller.readers import Readers
    from reconciler.controller.rollouts import Rollouts
    from reconciler.shopify.api.client import ShopClient
    from reconciler.shopify.api.clients import Place
    from reconciler.shopify.api.pace import Lane, Pace
    from reconciler.shopify.customers import ShopCustomers
    from reconciler.shopify.setup import ShopSetup
    from reconciler.state.processes.clock import DatabaseClock
    from reconciler.state.profile_writes import ProfileWriteTable
    from reconciler.state.repositories import Repositories
    from reconciler.state.requests.queue import RequestTable
    from reconciler.supabase.reading.profiles import TableProfiles

NAMES_MAX = 10  # stores that an error names


@contextmanager
def open_components(
    loaded: Loaded,
    *,
    warn: Callable[[str], None],
    state_key: str | None = None,
    clock: Clock | None = None,
    wait_s: float = WAIT_S,
    outage_s: float = 0.0,
) -> Iterator[Components]:
    """The components of these files, with connections of their own that are closed at the end. See Connections."""
    with Connections(
        loaded.settings, warn=warn, state_key=state_key, clock=clock, wait_s=wait_s, outage_s=outage_s
    ) as connections:
        yield Components(loaded, connections)


class Components:
    """The stores of the loaded files, with the connections of the process, which the caller closes."""

    def __init__(self, loaded: Loaded, connections: Connections) -> None:
        self.loaded = loaded
        self.connections = connections

    # --- the connections that most callers use ------------------------------------------------------------------------

    @property
    def clock(self) -> Clock:
        return self.connections.clock

    @property
    def state(self) -> Repositories:
        return self.connections.state

    @property
    def state_clock(self) -> DatabaseClock:
        return self.connections.state_clock

    @property
    def queue(self) -> RequestTable:
        return self.connections.queue

    @property
    def profiles(self) -> TableProfiles:
        return self.connections.profiles

    @property
    def profile_writes(self) -> ProfileWriteTable:
        return self.connections.profile_writes

    # --- stores -------------------------------------------------------------------------------------------------------

    @cached_property
    def shop_keys(self) -> ShopKeys[StoreSettings]:
        """The keys of the stores' shops in the state."""
        return ShopKeys(self.loaded.stores, self.state.shops, self.state_clock)

    def configured_stores(self, names: Iterable[str] = ()) -> tuple[StoreSettings, ...]:
        """The stores with these names, or all, as in the file. UsageError for an unknown name."""
        wanted = list(names)
        known = {str(s.name): s for s in self.loaded.stores}
        for name in wanted:
            if name not in known:
                raise UsageError(f"there is no store '{name}'", hint=f"stores.yaml has {_named(name, list(known))}")
        return tuple(known[name] for name in dict.fromkeys(wanted or known))

    def stores(self, names: Iterable[str] = ()) -> tuple[StoreSettings, ...]:
        """The stores with these names, or all, each with the key of its shop in the state, and with its pause there."""
        rollouts = self.rollouts
        return self._with_pauses(
            names, self.shop_keys.stores if rollouts is None else rollouts.in_force(rollouts.read())
        )

    def upcoming_stores(self, actor: Actor, names: Iterable[str] = ()) -> tuple[StoreSettings, ...]:
        """The same with the policies that are in force after the next step of the rollout, which `apply` makes."""
        wanted = [*names]
        self.identify_stores(wanted)
        if (rollouts := self.rollouts) is None:
            return self.stores(wanted)
        state = rollouts.upcoming(rollouts.read(), actor=actor, named=[StoreName(name) for name in wanted])
        return self._with_pauses(wanted, rollouts.in_force(state))

    def targeted_stores(self, names: Iterable[str] = ()) -> tuple[StoreSettings, ...]:
        """The same with the policies of stores.yaml, for the setup of shops that a rollout has not reached yet."""
        wanted = [*names]
        self.identify_stores(wanted)
        return self._with_pauses(wanted, self.shop_keys.stores)

    def assignable_stores(self, names: Iterable[str]) -> tuple[StoreSettings, ...]:
        """The stores to which an operator assigns customers: also one that waits for its first sync, which comes after it.

        Records first which policies the stores have: by an assigned user, a store would count as synced.
        """
        wanted = [*names]
        if (rollouts := self.rollouts) is None:
            return self.stores(wanted)
        rollouts.record()
        targeted = {store.name: store for store in self._with_pauses(wanted, self.shop_keys.stores)}
        stores = self.stores(wanted)
        return tuple(targeted[s.name] if s.held_back is not None and s.held_back.is_first else s for s in stores)

    def _with_pauses(self, names: Iterable[str], stores: Iterable[StoreSettings]) -> tuple[StoreSettings, ...]:
        wanted = self.configured_stores(names)
        found = {store.name: store for store in with_pauses(stores, self.state.acts.pauses())}
        return tuple(found[store.name] for store in wanted)

    @property
    def rollouts(self) -> Rollouts[StoreSettings] | None:
        """The rollouts of these stores; None where all are in one wave. StateError."""
        return self._rollouts() if has_waves(self.loaded.stores) else None

    @property
    def rollouts_to_steer(self) -> Rollouts[StoreSettings] | None:
        """The same; also of stores in one wave while a rollout is under way in shops that their files lack. StateError."""
        if (rollouts := self.rollouts) is not None:
            return rollouts
        rollout = self.state.rollouts.rollout_state().rollout
        return self._rollouts() if rollout is not None and rollout.is_under_way and self._lacking(rollout) else None

    def end_waves(self) -> None:
        """Delete the policies kept for these stores, which are in one wave, and finish a rollout. ConfigError, StateError.

        An error if a rollout is under way and these files lack shops of it: a part of the stores, without their waves.
        """
        shops = [store.shop for store in self.shop_keys.stores]
        rollout = self.state.rollouts.rollout_state().rollout
        ended = waves.end(rollout)
        missing = self._lacking(ended) if ended is not None else []
        if missing and rollout is not None and rollout.is_under_way:
            raise ConfigError(
                f"a rollout in waves is under way, and these files have one wave and lack {_some(missing)}",
                hint="use the files that the rollout began with, or end it: reconciler rollout abort",
            )
        self.state.rollouts.forget_policies(shops)
        if ended is not None and not missing:
            # False: another process has made a step, and the next start ends it.
            self.state.rollouts.put_rollout(ended, rollout, [])

    def _lacking(self, rollout: Rollout) -> list[ShopDomain]:
        """The shops of a rollout that these files lack."""
        return sorted(rollout.target.keys() - {store.shop for store in self.shop_keys.stores})

    def keep_policies(self) -> None:
        """Record the policies of these stores, which are in one wave, as those that they have."""
        self._rollouts().keep()

    def _rollouts(self) -> Rollouts[StoreSettings]:
        from reconciler.controller.rollouts import Rollouts

        return Rollouts(
            stores=self.shop_keys.stores,
            limits=self.loaded.rollout,
            columns=self.loaded.settings.profiles.columns,
            book=self.state.rollouts,
            mappings=self.state.mappings,
            scans=self.state.scans,
            pauses=self.state.acts,
            clock=self.state_clock,
            column_problem=self._column_problem,
        )

    def _column_problem(self, columns: MappingOf[str, str]) -> str:
        """Why the profiles can't be read by an earlier mapping of columns; empty where they can."""
        try:
            self.connections.profiles_by(columns)
        except SourceError as error:
            return error.message
        return ""

    def identify_stores(self, names: Iterable[str] = ()) -> tuple[StoreSettings, ...]:
        """The stores with these names, or all, after querying the gids of shops that may have been renamed.

        Errors of these queries are ignored: they occur again at the first call to the shop.
        """
        names = [*names]
        for _ in range(2):  # the domain of one may become free only after another was identified
            for name in self.shop_keys.unsure():
                with suppress(ReconcilerError):
                    self.identify(name)
        return self.stores(names)

    def identify(self, name: StoreName) -> None:
        """Query the gid of a store's shop and record it. AccessError if the shop belongs to another store."""
        from reconciler.shopify.customers import ShopCustomers

        store = next(s for s in self.shop_keys.stores if s.name == name)
        with closing(self.connections.open_shop(store)) as client:

            def has_customers(was: StoreSettings) -> bool:
                return has_customers_of(was, ShopCustomers(client, was, lane="nudge"), self.state.mappings)

            self.shop_keys.identify(name, client.gid(), has_customers)

    # --- clients of shops ---------------------------------------------------------------------------------------------

    def client(self, store: StoreSettings, *, by_state: bool = True) -> ShopClient:
        """The shop's one client. `by_state` False: one that does not check the shop's identity, without the state."""
        place, way = _way_to(store, by_state=by_state)
        check = partial(check_shop, store, book=self.state.shops, clock=self.state_clock) if by_state else None

        def open_(pace: Pace) -> ShopClient:
            return self.connections.open_shop(store, check_shop=check, pace=pace)

        return self.connections.shop_clients.of(self, place, way, open_)

    def hold_clients(self) -> None:
        """Keep the open clients of unchanged shops when the components before these let go of them. StateError."""
        for store in self.shop_keys.stores:
            self.connections.shop_clients.hold(self, *_way_to(store))

    def release_clients(self) -> None:
        """Close the clients that no other components use."""
        self.connections.shop_clients.release(self)

    def points_left(self) -> dict[StoreName, float]:
        """The estimated points in the bucket of each shop that this process has called."""
        left = self.connections.shop_clients.points_left()
        return {store.name: left[store.domain] for store in self.loaded.stores if store.domain in left}

    # --- for the controller -------------------------------------------------------------------------------------------

    @property
    def absence(self) -> Absence:
        """When a missing row proves to `run` that the user has left."""
        return Absence(self.loaded.settings.controller.absence_grace_s)

    def readers(
        self,
        store: StoreSettings,
        *,
        customers: ShopCustomers | None = None,
        by_mirror: bool = False,
        absence: Absence = PLANNED,
        assigned: MappingOf[ClerkUserId, CustomerId] | None = None,
    ) -> Readers:
        """The readers of a plan. `customers`: read by these, and not as scans do.

        `by_mirror`: the mirror is valid, and may prove that users are in sync.
        """
        from reconciler.controller.mirror.reader import MirrorReader
        from reconciler.controller.readers import Readers

        customers = customers or self._customers(store, "scan")
        return Readers(
            profiles=self._profiles_of(store),
            customers=customers,
            mappings=self.state.mappings,
            pairs=self.state.mappings if by_mirror else None,
            by_mirror=MirrorReader(store, self.state.mappings, customers) if by_mirror else None,
            absence=absence,
            assigned=assigned or {},
            unwritten=self.profile_writes,
        )

    def _profiles_of(self, store: StoreSettings) -> TableProfiles:
        """The profiles, by the mapping of columns that the store's policy rests on."""
        earlier = store.held_back.columns if store.held_back is not None else None
        return self.profiles if earlier is None else self.connections.profiles_by(earlier)

    def store_context(
        self,
        store: StoreSettings,
        *,
        plan_digest: str,
        run_id: int,
        insists: bool = False,
        bulk: BulkContext | None = None,
        assigned: MappingOf[ClerkUserId, CustomerId] | None = None,
        cancellation: Cancellation | None = None,
    ) -> StoreContext:
        """The context of `apply`. `cancellation`: that of all stores together."""
        from reconciler.controller.context import StoreContext

        return StoreContext(
            store=store,
            readers=self.readers(store, assigned=assigned),
            writer=self._customers(store, "scan"),
            state=self.state.mappings,
            clock=self.state_clock,
            warn=self.connections.warn,
            plan_digest=plan_digest,
            run_id=run_id,
            insists=insists,
            bulk=bulk,
            cancellation=Cancellation(cancellation),
        )

    @cached_property
    def _samples(self) -> Samples:
        """Shared by the workers of `run`."""
        from reconciler.controller.leaving.completeness import Samples

        return Samples()

    def claimed_store_context(self, store: StoreSettings, claim: Claim) -> StoreContext:
        """The context of a worker of `run` under this claim: its calls go before those of scans at the same shop.

        No operator reads its plans, so a missing row must be absent for the grace period.
        """
        from reconciler.controller.context import StoreContext
        from reconciler.state.requests.fenced import FencedMappings

        state = FencedMappings(self.connections.engine, claim)
        customers = self._customers(store, "nudge")
        return StoreContext(
            store=store,
            readers=self.readers(store, customers=customers, absence=self.absence),
            writer=customers,
            state=state,
            clock=self.state_clock,
            warn=self.connections.warn,
            explicit=claim.explicit,
            samples=self._samples,
            fence=state,
            losers=state.losers,
            cancellation=NEVER,
        )

    def mirror(
        self,
        store: StoreSettings,
        *,
        wait: Callable[[float], bool],
        progress: Callable[[Progress], None] = lambda _progress: None,
    ) -> MirrorContext:
        """The context that updates this store's mirror. `wait` waits for seconds, and is False if the process must stop."""
        from reconciler.controller.mirror.refresh import MirrorContext
        from reconciler.shopify.bulk.reader import ShopBulkReader
        from reconciler.shopify.listing import ShopCustomerLists

        client = self.client(store)
        return MirrorContext(
            store=store,
            mirror=self.state.mappings,
            bulk=ShopBulkReader(client, store),
            lists=ShopCustomerLists(client, store),
            customers=self._customers(store, "scan"),
            clock=self.state_clock,
            wait=wait,
            progress=progress,
        )

    def bulk(
        self,
        store: StoreSettings,
        *,
        always: bool = False,
        tell: Callable[[BulkRunProgress], None] = lambda _progress: None,
    ) -> BulkContext:
        """The context of bulk writes. `always`: also for small plans."""
        from reconciler.controller.bulk.context import BulkContext
        from reconciler.controller.mirror.reader import MirrorReader
        from reconciler.controller.mirror.refresh import check_mirror
        from reconciler.shopify.bulk.writer import ShopBulkWriter

        def by_mirror() -> MirrorReader | None:
            mirror_check = check_mirror(self.mirror(store, wait=lambda _seconds: False))
            return (
                MirrorReader(store, self.state.mappings, self._customers(store, "scan"))
                if mirror_check.as_of is not None
                else None
            )

        def nudge(users: Collection[ClerkUserId]) -> None:
            requests = [Request(store.name, user) for user in sorted(users)]
            self.queue.add(requests, self.state_clock.now(), reason=ADDRESS)

        return BulkContext(
            shop=ShopBulkWriter(self.client(store), store),
            book=self.state.bulk,
            leases=self.state.leases,
            sleep=time.sleep,
            always=always,
            tell=tell,
            by_mirror=by_mirror,
            nudge=nudge,
        )

    def acts(self, actor: Actor) -> Acts:
        """The acts of this operator."""
        from reconciler.controller.acts import Acts

        return Acts(actor, self.state.acts, self.queue, self.state.mappings, self.state_clock)

    def setup(self, store: StoreSettings, *, by_state: bool = True) -> ShopSetup:
        """The shop's setup for `doctor` and `bootstrap`. `by_state`: see `client`."""
        from reconciler.shopify.setup import ShopSetup

        return ShopSetup(self.client(store, by_state=by_state))

    def _customers(self, store: StoreSettings, lane: Lane) -> ShopCustomers:
        from reconciler.shopify.customers import ShopCustomers

        return ShopCustomers(self.client(store), store, lane=lane)


def with_pauses(stores: Iterable[StoreSettings], pauses: MappingOf[ShopDomain, Pause]) -> tuple[StoreSettings, ...]:
    """The stores with the pauses that are set in the state."""
    return tuple(store.with_pause(pauses.get(store.shop)) for store in stores)


def _named(wanted: str, known: Sequence[str]) -> str:
    """The known stores in words: all if they are few, otherwise the nearest names."""
    if len(known) <= NAMES_MAX:
        return ", ".join(known) or "none"
    near = get_close_matches(wanted, known, n=3)
    return f"{len(known)} stores" + (f", such as {', '.join(near)}" if near else "")


def _some(shops: Sequence[ShopDomain]) -> str:
    return ", ".join(shops[:NAMES_MAX]) + (f" and {len(shops) - NAMES_MAX} more" if len(shops) > NAMES_MAX else "")


def _way_to(store: StoreSettings, *, by_state: bool = True) -> tuple[Place, object]:
    """The place of a shop, and the other settings that its connection depends on."""
    return (store.domain, store.admin_url), (store.name, store.shop, store.api_version, store.auth, by_state)
