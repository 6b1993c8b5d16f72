"""Introduces the edges to the controller: the only place that knows both. Opens lazily, closes everything."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import cached_property
from typing import Self

from reconciler.controller.apply import Hands
from reconciler.controller.sweep import Readers
from reconciler.core.ids import StoreName
from reconciler.core.store import Store
from reconciler.errors import ConfigError, UsageError
from reconciler.settings import Loaded, StoreSettings
from reconciler.shopify.auth import ClientCredentials, FixedToken, RefreshingToken, TokenSource
from reconciler.shopify.client import ShopClient
from reconciler.shopify.customers import ShopCustomers
from reconciler.shopify.setup import ShopSetup
from reconciler.state.engine import open_engine
from reconciler.state.schema import ensure_schema
from reconciler.state.store import StateStore
from reconciler.supabase.profiles import TableProfiles


class SystemClock:
    """The wall clock, aware and UTC."""

    def now(self) -> datetime:
        return datetime.now(UTC)  # noqa: TID251  the one clock


class House:
    """What one command works with: state, profiles and shops of the loaded settings. Close it when done."""

    def __init__(self, loaded: Loaded, *, warn: Callable[[str], None], state_key: str | None = None) -> None:
        self.loaded = loaded
        self.clock = SystemClock()
        self._warn = warn
        self._state_key = state_key
        self._open = ExitStack()
        self._clients: dict[StoreName, ShopClient] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    @cached_property
    def state(self) -> StateStore:
        """The state, its schema made where there was none."""
        engine = open_engine(self.loaded.settings.state.url)
        self._open.callback(engine.dispose)
        ensure_schema(engine)
        return StateStore(engine, secret_key=self._state_key)

    @cached_property
    def profiles(self) -> TableProfiles:
        """The profiles, checked: what can't be seen in full is refused here."""
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

    def stores(self, names: Iterable[str] = ()) -> tuple[StoreSettings, ...]:
        """The stores of these names, or all; an unknown name is a UsageError."""
        wanted = list(names)
        known = {str(s.name): s for s in self.loaded.stores}
        for name in wanted:
            if name not in known:
                raise UsageError(f"there is no store '{name}'", hint=f"stores.yaml has {', '.join(known) or 'none'}")
        return tuple(known[name] for name in dict.fromkeys(wanted)) if wanted else self.loaded.stores

    def client(self, store: StoreSettings) -> ShopClient:
        """The shop's one client."""
        if store.name not in self._clients:
            client = ShopClient(
                store.shop,
                auth=self._auth(store),
                api_version=store.api_version,
                admin_url=store.admin_url,
                ssl_context=self._ssl,
                on_warning=self._warn,
            )
            self._open.callback(client.close)
            self._clients[store.name] = client
        return self._clients[store.name]

    def readers(self, store: StoreSettings) -> Readers:
        """All that `plan` may touch."""
        return Readers(profiles=self.profiles, customers=self._customers(store), mappings=self.state)

    def hands(self, store: StoreSettings, *, plan_digest: str = "") -> Hands:
        """All that `apply` needs."""
        return Hands(
            store=store,
            readers=self.readers(store),
            writer=self._customers(store),
            state=self.state,
            clock=self.clock,
            warn=self._warn,
            plan_digest=plan_digest,
        )

    def setup(self, store: StoreSettings) -> ShopSetup:
        """What `doctor` looks at in the shop, and what `bootstrap` makes there."""
        return ShopSetup(self.client(store))

    def _customers(self, store: Store) -> ShopCustomers:
        assert isinstance(store, StoreSettings)
        return ShopCustomers(self.client(store), store)

    def _auth(self, store: StoreSettings) -> TokenSource:
        """How this store's tokens are got; a rotating pair is kept in the state, and only with a key to encrypt it."""
        auth = store.auth
        if auth.access_token is not None and auth.access_token.get_secret_value():
            return FixedToken(auth.access_token.get_secret_value())
        if not auth.client_id or auth.client_secret is None or not auth.client_secret.get_secret_value():
            raise ConfigError(
                f"store '{store.name}' has no way to get a token",
                hint="give it `auth`: access_token, or client_id and client_secret, or those and refresh_token",
            )
        app = (auth.client_id, auth.client_secret.get_secret_value())
        if auth.refresh_token is None:
            return ClientCredentials(*app)
        if not self._state_key:
            raise ConfigError(
                f"store '{store.name}' has a refresh_token: rotated tokens must be kept, and there is no key to "
                "encrypt them",
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
