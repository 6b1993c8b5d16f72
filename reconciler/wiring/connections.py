"""`Connections`: the clock, and the connections to databases, Clerk and shops. They outlive a reload of the files.

What opens a connection imports it then: few commands need them all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Self

from reconciler.errors import ConfigError
from reconciler.ports import Clock
from reconciler.settings import Settings, StoreSettings
from reconciler.shopify.api.clients import ShopClients
from reconciler.state.database.engine import WAIT_S, Engine, open_engine
from reconciler.state.database.version import is_current
from reconciler.state.processes.clock import DatabaseClock
from reconciler.state.repositories import Repositories

if TYPE_CHECKING:
    import ssl

    from reconciler.clerk.users import ClerkUsers
    from reconciler.outbound.notifications import Webhook
    from reconciler.shopify.api.auth import TokenSource
    from reconciler.shopify.api.client import ShopClient
    from reconciler.shopify.api.pace import Pace
    from reconciler.state.profile_writes import ProfileWriteTable
    from reconciler.state.requests.queue import RequestTable
    from reconciler.supabase.reading.profiles import TableProfiles
    from reconciler.supabase.writing.upsert import ProfileUpserts


class SystemClock:
    """The wall clock, aware and UTC."""

    def now(self) -> datetime:
        return datetime.now(UTC)  # noqa: TID251  the one clock


class Connections:
    """What the settings of the process's start name, each opened on first use. Close them when done.

    `warn` takes warnings. `state_key` encrypts rotated tokens. `clock` replaces the wall clock.
    `wait_s`: how long a call waits for a free connection at most. `outage_s` is that of `ShopClient` and of
    Postgres; if it is 0, calls to Clerk are not repeated either.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        warn: Callable[[str], None],
        state_key: str | None = None,
        clock: Clock | None = None,
        wait_s: float = WAIT_S,
        outage_s: float = 0.0,
    ) -> None:
        self.outage_s = outage_s
        self.clock = clock or SystemClock()
        self.warn = warn
        self.shop_clients = ShopClients()
        self._settings = settings
        self._state_key = state_key
        self._wait_s = wait_s
        self._open = ExitStack()
        self._earlier_profiles: dict[tuple[tuple[str, str], ...], TableProfiles] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.shop_clients.close()
        self._open.close()

    @cached_property
    def engine(self) -> Engine:
        """The state's database; creates or migrates its schema."""
        engine = open_engine(self._settings.state.url, wait_s=self._wait_s, outage_s=self.outage_s)
        with ExitStack() as unless_it_opens:
            unless_it_opens.callback(engine.dispose)
            if not is_current(engine):
                from reconciler.state.schema import ensure_schema

                ensure_schema(engine)
            self._open.push(unless_it_opens.pop_all())
        return engine

    @cached_property
    def state(self) -> Repositories:
        """The state."""
        return Repositories(self.engine, secret_key=self._state_key)

    @cached_property
    def state_clock(self) -> DatabaseClock:
        """The time of all that the state stores: the same for every process that shares it. StateError."""
        return DatabaseClock(self.engine, self.clock)

    @cached_property
    def queue(self) -> RequestTable:
        """The queue of requests, in the state's database."""
        from reconciler.state.requests.queue import RequestTable

        return RequestTable(self.engine)

    @cached_property
    def profile_writes(self) -> ProfileWriteTable:
        """The pending writes of profile rows, their tombstones and refusals."""
        from reconciler.state.profile_writes import ProfileWriteTable

        return ProfileWriteTable(self.engine)

    @cached_property
    def profiles(self) -> TableProfiles:
        """The profiles, after a check that the table can be read in full. SourceError if not."""
        return self._open_profiles(self._settings.profiles.columns)

    def profiles_by(self, columns: Mapping[str, str]) -> TableProfiles:
        """The profiles by this mapping of columns, which a store had before its wave. SourceError."""
        if columns == self._settings.profiles.columns:
            return self.profiles
        key = tuple(sorted(columns.items()))
        if key not in self._earlier_profiles:
            self._earlier_profiles[key] = self._open_profiles(columns)
        return self._earlier_profiles[key]

    def _open_profiles(self, columns: Mapping[str, str]) -> TableProfiles:
        from reconciler.supabase.connection import POOL_WAIT_S
        from reconciler.supabase.reading.profiles import TableProfiles

        source = self._settings.profiles
        url = source.url or self._settings.state.url
        profiles = TableProfiles(
            url, source.table, columns, wait_s=min(POOL_WAIT_S, self._wait_s), outage_s=self.outage_s
        )
        self._open.callback(profiles.close)
        for oddity in profiles.check():
            self.warn(oddity)
        return profiles

    @cached_property
    def upserts(self) -> ProfileUpserts:
        """The writer of profile rows, for `clerk.upsert_profiles` and `backfill clerk` only."""
        from reconciler.supabase.writing.engine import open_writer
        from reconciler.supabase.writing.upsert import ProfileUpserts

        source = self._settings.profiles
        engine = open_writer(source.url or self._settings.state.url)
        self._open.callback(engine.dispose)
        upserts = ProfileUpserts(engine, source.table, source.columns)
        upserts.check()
        return upserts

    @cached_property
    def clerk(self) -> ClerkUsers | None:
        """Clerk's API; None where no key is set."""
        clerk = self._settings.clerk
        if clerk.secret_key is None or not clerk.secret_key.get_secret_value():
            return None
        from reconciler.clerk.users import CALL_S, SINGLE_S, ClerkUsers

        repeats = self.outage_s > 0
        users = ClerkUsers(
            clerk.secret_key.get_secret_value(),
            api_url=clerk.api_url,
            now=self.clock.now,
            timeout_s=CALL_S if repeats else SINGLE_S,
            repeats=repeats,
        )
        self._open.callback(users.close)
        return users

    @cached_property
    def notifications(self) -> Webhook | None:
        """The webhook for notifications; None where no URL is set."""
        url = self._settings.notifications.url
        if url is None:
            return None
        from reconciler.outbound.notifications import Webhook

        webhook = Webhook(url.get_secret_value(), ssl_context=self._ssl)
        self._open.callback(webhook.close)
        return webhook

    def open_shop(
        self, store: StoreSettings, *, check_shop: Callable[[str], None] | None = None, pace: Pace | None = None
    ) -> ShopClient:
        """A new client of this store's shop, which the caller closes. ConfigError if its tokens can't be stored."""
        from reconciler.shopify.api.client import ShopClient

        return ShopClient(
            store.domain,
            auth=self._auth(store),
            api_version=store.api_version,
            admin_url=store.admin_url,
            ssl_context=lambda: self._ssl,
            on_warning=self.warn,
            pace=pace,
            check_shop=check_shop,
            outage_s=self.outage_s,
        )

    @cached_property
    def _ssl(self) -> ssl.SSLContext:
        import ssl

        return ssl.create_default_context()

    def _auth(self, store: StoreSettings) -> TokenSource:
        """The source of this store's tokens. A rotating pair is stored in the state, encrypted with the secret key."""
        from reconciler.shopify.api.auth import ClientCredentials, FixedToken, NoToken, RefreshingToken

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
        tokens, shop, clock = self.state.tokens, store.shop, self.clock
        return RefreshingToken(
            *app,
            auth.refresh_token.get_secret_value(),
            load=lambda: tokens.load_tokens(shop),
            store=lambda pair: tokens.store_tokens(shop, pair, clock.now()),
            now=clock.now,
        )
