"""Who may send webhooks and make requests, by the configured secrets."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from reconciler.clerk.webhook import ClerkWebhooks
from reconciler.core.decide.shop_identity import KnownShop
from reconciler.core.model.ids import ShopDomain, StoreName
from reconciler.server.tokens import AccessToken, AccessTokens
from reconciler.server.webhooks import Sources
from reconciler.settings import Loaded, StoreSettings
from reconciler.shopify.webhooks import ShopifyWebhooks


class Shops(Mapping[StoreName, ShopifyWebhooks | None]):
    """How each store's webhooks are verified; follows stores.yaml and the names of shops in the state."""

    def __init__(self, stores: Sequence[StoreSettings], known: Sequence[KnownShop]) -> None:
        self._now = webhooks_of(stores, known)

    def follow(self, stores: Sequence[StoreSettings], known: Sequence[KnownShop]) -> None:
        self._now = webhooks_of(stores, known)

    def __getitem__(self, name: StoreName) -> ShopifyWebhooks | None:
        return self._now[name]

    def __iter__(self) -> Iterator[StoreName]:
        return iter(self._now)

    def __len__(self) -> int:
        return len(self._now)


class Senders:
    """What verifies senders and tokens. It follows the settings files. Thread-safe."""

    def __init__(self, loaded: Loaded, stores: Sequence[StoreSettings]) -> None:
        """The names that shops have had come with the first `follow_shops`, from the state."""
        self._shops = Shops(stores, ())
        self.sources = sources_of(loaded, self._shops)
        self.tokens = AccessTokens(tokens_of(loaded))

    def check(self, loaded: Loaded) -> None:
        """Raise ConfigError for secrets that can't be used."""
        webhooks_of(loaded.stores, ())
        sources_of(loaded, self._shops)

    def follow(self, loaded: Loaded) -> None:
        """Use the secrets of Clerk and the tokens of these settings from now on."""
        clerk, now = self.sources.clerk, sources_of(loaded, self._shops).clerk
        if clerk is not None and now is not None:
            clerk.follow(now)
        self.tokens.follow(tokens_of(loaded))

    def follow_shops(self, stores: Sequence[StoreSettings], known: Sequence[KnownShop]) -> None:
        """Use the secrets of these stores from now on, under all names of their shops."""
        self._shops.follow(stores, known)


def sources_of(loaded: Loaded, shops: Mapping[StoreName, ShopifyWebhooks | None]) -> Sources:
    """Return the senders that the configured secrets allow."""
    clerk = loaded.settings.clerk
    secrets = [s.get_secret_value() for s in clerk.webhook_secrets if s.get_secret_value()]
    profiles = loaded.settings.profiles
    return Sources(
        clerk=ClerkWebhooks(secrets, instance_id=clerk.instance_id) if secrets else None,
        shops=shops,
        table=profiles.table,
        key_column=profiles.columns["clerk_user_id"],
    )


def tokens_of(loaded: Loaded) -> list[AccessToken]:
    """Return the tokens that the settings name."""
    tokens = loaded.settings.server.access_tokens
    return [AccessToken(one.name, one.role, one.token.get_secret_value().encode()) for one in tokens]


def webhooks_of(
    stores: Sequence[StoreSettings], known: Sequence[KnownShop]
) -> Mapping[StoreName, ShopifyWebhooks | None]:
    """Return how each store's webhooks are verified. A former name of a shop counts, unless it is now another's.

    `known`: the names of shops in the state, in the order in which the shops got them.
    """
    names = {store.domain for store in stores}
    keys = {store.shop: store.shop for store in stores} | {row.name: row.key for row in known}
    former = {store.name: {name for name, key in keys.items() if key == store.shop} - names for store in stores}
    return {store.name: _webhooks_of(store, former=former[store.name], others=names | keys.keys()) for store in stores}


def _webhooks_of(
    store: StoreSettings, *, former: Collection[ShopDomain], others: Collection[ShopDomain]
) -> ShopifyWebhooks | None:
    found = [store.webhook_secret, store.auth.client_secret]
    secrets = [s.get_secret_value() for s in found if s is not None and s.get_secret_value()]
    return ShopifyWebhooks(store.domain, secrets, former=former, others=others) if secrets else None
