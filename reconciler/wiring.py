"""Builds the components of a command: connects shops, profiles and state to the controller. Opens lazily."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Collection, Iterable
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property, partial
from typing import TYPE_CHECKING, Self

from reconciler.controller.bulk.context import BulkContext, BulkProgress
from reconciler.controller.context import StoreContext
from reconciler.controller.mirror.reader import MirrorReader
from reconciler.controller.mirror.refresh import MirrorContext, Progress, check_mirror
from reconciler.controller.observe import Readers
from reconciler.controller.shop_keys import ShopKeys, check_shop, has_customers_of
from reconciler.core.decide.leaving.absence import Absence
from reconciler.core.model.ids import ClerkUserId, StoreName
from reconciler.core.model.request import ADDRESS, Request
from reconciler.errors import ConfigError, ReconcilerError, UsageError
from reconciler.settings import Loaded, StoreSettings
from reconciler.shopify.api.auth import ClientCredentials, FixedToken, NoToken, RefreshingToken, TokenSource
from reconciler.shopify.api.client import ShopClient
from reconciler.shopify.api.clients import Place, ShopClients
from reconciler.shopify.api.pace import Lane, Pace
from reconciler.shopify.bulk.reader import ShopBulkReader
from reconciler.shopify.bulk.writer import ShopBulkWriter
from reconciler.shopify.customers import ShopCustomers
from reconciler.shopify.listing import ShopCustomerLists
from reconciler.shopify.setup import ShopSetup
from reconciler.state.database.engine import Engine, open_engine
from reconciler.state.database.version import is_current
from reconciler.state.processes.clock import DatabaseClock
from reconciler.state.profile_writes import ProfileWriteTable
from reconciler.state.requests.queue import RequestTable
from reconciler.state.store import StateStore
from reconciler.supabase.reading.profiles import TableProfiles

if TYPE_CHECKING:
    from reconciler.clerk.users import ClerkUsers
    from reconciler.supabase.writing.upsert import ProfileUpserts


class SystemClock:
    """The wall clock, aware and UTC."""

    def now(self) -> datetime:
        return datetime.now(UTC)  # noqa: TID251  the one clock


class Components:
    """The state, profiles and shops of the loaded settings, for one command. Close it when done."""

    def __init__(self, loaded: Loaded, *, warn: Callable[[str], None], state_key: str | None = None) -> None:
        self.loaded = loaded
        self.clock = SystemClock()
        self._warn = warn
        self._state_key = state_key
        self._open = ExitStack()
        self._clients = ShopClients()
        self._base: Components | None = None
        self._me = object()  # as a holder of clients

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.cut_off()
        self._open.close()

    @cached_property
    def state_clock(self) -> DatabaseClock:
        """The time of all that the state stores: the same for every process that shares it. StateError."""
        return DatabaseClock(self.engine, self.clock)

    @cached_property
    def engine(self) -> Engine:
        """The state's database; creates or migrates its schema."""
        engine = open_engine(self.loaded.settings.state.url)
        with ExitStack() as unless_it_opens:
            unless_it_opens.callback(engine.dispose)
            if not is_current(engine):
                from reconciler.state.schema import ensure_schema  # noqa: PLC0415  brings Alembic

                ensure_schema(engine)
            self._open.push(unless_it_opens.pop_all())
        return engine

    @cached_property
    def state(self) -> StateStore:
        """The state."""
        return StateStore(self.engine, secret_key=self._state_key)

    @cached_property
    def queue(self) -> RequestTable:
        """The queue of requests, in the state's database."""
        return RequestTable(self.engine)

    @cached_property
    def clerk(self) -> ClerkUsers | None:
        """Clerk's API; None where no key is set."""
        clerk = self.loaded.settings.clerk
        if clerk.secret_key is None or not clerk.secret_key.get_secret_value():
            return None
        from reconciler.clerk.users import ClerkUsers  # noqa: PLC0415  most commands ask nothing of Clerk

        users = ClerkUsers(clerk.secret_key.get_secret_value(), api_url=clerk.api_url, now=self.clock.now)
        self._open.callback(users.close)
        return users

    @cached_property
    def upserts(self) -> ProfileUpserts:
        """The writer of profile rows, for `clerk.upsert_profiles` and `backfill clerk` only."""
        from reconciler.supabase.writing.engine import open_writer  # noqa: PLC0415  as above
        from reconciler.supabase.writing.upsert import ProfileUpserts  # noqa: PLC0415  as above

        settings = self.loaded.settings
        engine = open_writer(settings.profiles.url or settings.state.url)
        self._open.callback(engine.dispose)
        upserts = ProfileUpserts(engine, settings.profiles.table, settings.profiles.columns)
        upserts.check()
        return upserts

    @cached_property
    def profile_writes(self) -> ProfileWriteTable:
        """The pending writes of profile rows, their tombstones and refusals."""
        return ProfileWriteTable(self.engine)

    def with_files(self, loaded: Loaded) -> Components:
        """Components of reloaded files, with the same state and profiles, and with the clients of unchanged shops.

        StateError if the state can't be read.
        """
        components = Components(loaded, warn=self._warn, state_key=self._state_key)
        for name in ("engine", "state", "queue", "clerk", "profiles", "upserts", "profile_writes", "_ssl"):
            if name in self.__dict__:
                components.__dict__[name] = self.__dict__[name]
        components._base = self._base or self
        components._clients = self._clients
        for store in components.shop_keys.stores:
            self._clients.hold(components._me, *_way_to(store))
        return components

    def points_left(self) -> dict[StoreName, float]:
        """The estimated points in the bucket of each shop that this process has called."""
        left = self._clients.points_left()
        return {store.name: left[store.domain] for store in self.loaded.stores if store.domain in left}

    def close_shops(self) -> None:
        """Close the connections to shops that no other components use; state and profiles stay open."""
        self._clients.release(self._me)

    def cut_off(self) -> None:
        """Close the connections to all shops, so that the end of the process does not wait for a call."""
        self._clients.close()

    @cached_property
    def profiles(self) -> TableProfiles:
        """The profiles, after a check that the table can be read in full. SourceError if not."""
        settings = self.loaded.settings
        source = settings.profiles
        profiles = TableProfiles(source.url or settings.state.url, source.table, source.columns)
        self._open.callback(profiles.close)
        for oddity in profiles.check():
            self._warn(oddity)
        return profiles

    @cached_property
    def _ssl(self) -> ssl.SSLContext:
        return ssl.create_default_context()

    @cached_property
    def shop_keys(self) -> ShopKeys[StoreSettings]:
        """The keys of the stores' shops in the state."""
        return ShopKeys(self.loaded.stores, self.state, self.state_clock)

    def configured_stores(self, names: Iterable[str] = ()) -> tuple[StoreSettings, ...]:
        """The stores with these names, or all, as in the file. UsageError for an unknown name."""
        wanted = list(names)
        known = {str(s.name): s for s in self.loaded.stores}
        for name in wanted:
            if name not in known:
                raise UsageError(f"there is no store '{name}'", hint=f"stores.yaml has {', '.join(known) or 'none'}")
        return tuple(known[name] for name in dict.fromkeys(wanted or known))

    def stores(self, names: Iterable[str] = ()) -> tuple[StoreSettings, ...]:
        """The stores with these names, or all, each with the known key of its shop in the state."""
        wanted = self.configured_stores(names)
        stores = {s.name: s for s in self.shop_keys.stores}
        return tuple(stores[store.name] for store in wanted)

    def identified_stores(self, names: Iterable[str] = ()) -> tuple[StoreSettings, ...]:
        """The stores with these names, or all, after querying the gids of shops that may have been renamed.

        Errors of these queries are ignored: they occur again at the first call to the shop.
        """
        for _ in range(2):  # the domain of one may become free only after another was identified
            for name in self.shop_keys.unsure():
                with suppress(ReconcilerError):
                    self.identify(name)
        return self.stores(names)

    def identify(self, name: StoreName) -> None:
        """Query the gid of a store's shop and record it. AccessError if the shop belongs to another store."""
        store = next(s for s in self.shop_keys.stores if s.name == name)
        with closing(self._opened(store)) as client:

            def has_customers(was: StoreSettings) -> bool:
                return has_customers_of(was, ShopCustomers(client, was, lane="nudge"), self.state)

            self.shop_keys.identify(name, client.gid(), has_customers)

    def client(self, store: StoreSettings) -> ShopClient:
        """The shop's one client."""
        place, way = _way_to(store)
        check = partial(check_shop, store, book=self.state, clock=self.state_clock)
        return self._clients.of(self._me, place, way, partial(self._opened, store, check))

    def _opened(
        self, store: StoreSettings, check: Callable[[str], None] | None = None, pace: Pace | None = None
    ) -> ShopClient:
        return ShopClient(
            store.domain,
            auth=self._auth(store),
            api_version=store.api_version,
            admin_url=store.admin_url,
            ssl_context=lambda: self._ssl,
            on_warning=self._warn,
            pace=pace,
            check_shop=check,
        )

    def readers(self, store: StoreSettings, *, lane: Lane = "scan", by_mirror: bool = False) -> Readers:
        """The readers of a plan. `by_mirror`: the mirror is valid, and may prove that users are in sync."""
        customers = self._customers(store, lane)
        readers = Readers(self.profiles, customers, self.state, unwritten=self.profile_writes)
        if not by_mirror:
            return readers
        return replace(readers, pairs=self.state, by_mirror=MirrorReader(store, self.state, customers))

    def mirror(
        self,
        store: StoreSettings,
        *,
        wait: Callable[[float], bool],
        progress: Callable[[Progress], None] = lambda _progress: None,
    ) -> MirrorContext:
        """The context that updates this store's mirror. `wait` waits for seconds, and is False if the process must stop."""
        client = self.client(store)
        return MirrorContext(
            store=store,
            mirror=self.state,
            bulk=ShopBulkReader(client, store),
            lists=ShopCustomerLists(client, store),
            customers=self._customers(store, "scan"),
            clock=self.state_clock,
            wait=wait,
            progress=progress,
        )

    def store_context(self, store: StoreSettings, *, plan_digest: str = "", lane: Lane = "scan") -> StoreContext:
        """The context of `apply`. Calls of `lane` "nudge" go before those of scans at the same shop."""
        return StoreContext(
            store=store,
            readers=self.readers(store, lane=lane),
            writer=self._customers(store, lane),
            state=self.state,
            clock=self.state_clock,
            warn=self._warn,
            plan_digest=plan_digest,
        )

    def running_store_context(self, store: StoreSettings, *, lane: Lane = "scan") -> StoreContext:
        """The context of `run`. No operator reads its plans, so a missing row must be absent for the grace period."""
        context = self.store_context(store, lane=lane)
        return replace(context, readers=replace(context.readers, absence=self.absence))

    @property
    def absence(self) -> Absence:
        """When a missing row proves to `run` that the user has left."""
        return Absence(self.loaded.settings.controller.absence_grace_s)

    def bulk(
        self,
        store: StoreSettings,
        *,
        always: bool = False,
        tell: Callable[[BulkProgress], None] = lambda _progress: None,
    ) -> BulkContext:
        """The context of bulk writes. `always`: also for small plans."""

        def by_mirror() -> MirrorReader | None:
            mirror_check = check_mirror(self.mirror(store, wait=lambda _seconds: False))
            return (
                MirrorReader(store, self.state, self._customers(store, "scan"))
                if mirror_check.as_of is not None
                else None
            )

        def nudge(users: Collection[ClerkUserId]) -> None:
            requests = [Request(store.name, user) for user in sorted(users)]
            self.queue.add(requests, self.state_clock.now(), reason=ADDRESS)

        return BulkContext(
            shop=ShopBulkWriter(self.client(store), store),
            book=self.state,
            leases=self.state,
            sleep=time.sleep,
            always=always,
            tell=tell,
            by_mirror=by_mirror,
            nudge=nudge,
        )

    def setup(self, store: StoreSettings, *, by_state: bool = True) -> ShopSetup:
        """The shop's setup for `doctor` and `bootstrap`.

        `by_state`: False if the state can't be read, without which the shop's identity is not checked.
        """
        if by_state:
            return ShopSetup(self.client(store))
        client = self._opened(store)
        self._open.callback(client.close)
        return ShopSetup(client)

    def _customers(self, store: StoreSettings, lane: Lane) -> ShopCustomers:
        return ShopCustomers(self.client(store), store, lane=lane)

    def _auth(self, store: StoreSettings) -> TokenSource:
        """The source of this store's tokens. A rotating pair is stored in the state, encrypted with the secret key."""
        auth = store.auth
        if auth.access_token is not None and auth.access_token.get_secret_value():
            return FixedToken(auth.access_token.get_secret_value())
        if not auth.client_id or auth.client_secret is None or not auth.client_secret.get_secret_value():
            return NoToken(store.name)
        app = (auth.client_id, auth.client_secret.get_secret_value())
        if auth.refresh_token is None:
            return ClientCredentials(*app)
        if not self._state_key:
            raise ConfigError(
                f"store '{store.name}' has a refresh_token, but there is no key to encrypt the rotated tokens in the "
                "state",
                hint="set RECONCILER_SECRET_KEY",
            )
        state, shop, clock = self.state, store.shop, self.clock
        return RefreshingToken(
            *app,
            auth.refresh_token.get_secret_value(),
            load=lambda: state.load_tokens(shop),
            store=lambda pair: state.store_tokens(shop, pair, clock.now()),
            now=clock.now,
        )


def _way_to(store: StoreSettings) -> tuple[Place, object]:
    """The place of a shop, and the other settings that its connection depends on."""
    return (store.domain, store.admin_url), (store.name, store.shop, store.api_version, store.auth)
