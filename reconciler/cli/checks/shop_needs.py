"""What a shop must have to be kept in sync, and what it lacks: for `bootstrap` and `doctor`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field

from reconciler.core.model.consent import Channel
from reconciler.core.model.frozen import frozen
from reconciler.core.model.store import Backlink, Store
from reconciler.ports import Definition, ShopFacts, ShopReader, Subscription
from reconciler.settings import StoreSettings

ID_TYPE = "id"
TOPICS = (
    "CUSTOMERS_CREATE",
    "CUSTOMERS_UPDATE",
    "CUSTOMERS_DELETE",
    "CUSTOMERS_MERGE",
    "CUSTOMER_TAGS_ADDED",
    "CUSTOMER_TAGS_REMOVED",
    "APP_UNINSTALLED",
)
CONSENT_TOPICS: Mapping[Channel, str] = {
    "email": "CUSTOMERS_EMAIL_MARKETING_CONSENT_UPDATE",
    "sms": "CUSTOMERS_MARKETING_CONSENT_UPDATE",
}
TOPIC_SCOPES = {"CUSTOMERS_MERGE": "read_customer_merge"}


@frozen
class ObservedSetup:
    """The observed set-up of a shop. `metafields`: the definitions that exist of those that the store writes."""

    facts: ShopFacts
    definition: Definition | None
    subscriptions: tuple[Subscription, ...]
    metafields: Mapping[str, Definition] = field(default_factory=dict)


@frozen
class Needs:
    """What one shop lacks. `wrong` is a problem that creating something can't fix: the operator must act on `hint`."""

    definition: bool
    topics: tuple[str, ...]
    uri: str
    wrong: str = ""
    hint: str = ""
    notes: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        return self.definition + len(self.topics)


def read_setup(reader: ShopReader, store: StoreSettings) -> ObservedSetup:
    """Read the shop's facts, the back-link's definition and the webhook subscriptions. Changes nothing."""
    link = store.backlink
    return ObservedSetup(reader.facts(), reader.definition(link.namespace, link.key), reader.subscriptions())


def read_metafields(reader: ShopReader, store: Store) -> dict[str, Definition]:
    """The definitions of the metafields that the store writes. Changes nothing."""
    found = {name: reader.definition(*name.rsplit(".", 1)) for name in store.metafields}
    return {name: definition for name, definition in found.items() if definition is not None}


def needs_of(seen: ObservedSetup, store: StoreSettings, public_url: str) -> Needs:
    """What this shop lacks."""
    wrong = wrong_definition(seen.definition, store.backlink)
    uri = webhook_uri(public_url, store.name)
    topics, notes = missing_topics(seen.subscriptions, uri, seen.facts.scopes, store)
    if public_url and not uri:
        notes = (f"no webhooks: server.public_url is {public_url}, but Shopify sends to https only",)
    return Needs(
        definition=seen.definition is None,
        topics=topics,
        uri=uri,
        wrong=wrong,
        hint="delete the other definition in Shopify's settings, or set another backlink" if wrong else "",
        notes=notes,
    )


def webhook_uri(public_url: str, store: str) -> str:
    """The address for this store's webhooks; empty if `public_url` is not https."""
    if not public_url.lower().startswith("https://"):
        return ""
    return f"{public_url.rstrip('/')}/webhooks/shopify/{store}"


def wrong_definition(definition: Definition | None, link: Backlink) -> str:
    """What is wrong with the back-link's definition; empty if it is right or does not exist yet."""
    name = f"{link.namespace}.{link.key}"
    if definition is None:
        return ""
    if definition.type != ID_TYPE:
        return f"the metafield definition {name} is of type {definition.type}, but a back-link needs type id"
    if not definition.unique:
        return f"the metafield definition {name} lets two customers have the same value, but a back-link must be unique"
    return ""


def topics_of(store: Store) -> tuple[str, ...]:
    """The topics of the webhooks that this store's policy needs."""
    return (*TOPICS, *(CONSENT_TOPICS[channel] for channel in store.consent.channels))


def missing_topics(
    subscriptions: Sequence[Subscription], uri: str, scopes: frozenset[str], store: Store
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Topics without a subscription to `uri`, and notes on those that the token's scopes don't allow."""
    if not uri:
        return (), ()
    there = {s.topic for s in subscriptions if s.uri == uri}
    missing = [t for t in topics_of(store) if t not in there]
    refused = [t for t in missing if not has_scope(scopes, TOPIC_SCOPES.get(t, ""))]
    notes = tuple(f"no webhook {t}: the token lacks the scope {TOPIC_SCOPES[t]}" for t in refused)
    return tuple(t for t in missing if t not in refused), notes


def has_scope(scopes: frozenset[str], scope: str) -> bool:
    """Whether the token has the scope; `write_` includes `read_`."""
    return not scope or scope in scopes or scope.replace("read_", "write_", 1) in scopes
