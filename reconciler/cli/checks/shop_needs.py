"""What a shop needs so that it can be kept in parity, and what of it is there: for `bootstrap` and `doctor`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reconciler.core.model.store import Backlink
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
TOPIC_SCOPES = {"CUSTOMERS_MERGE": "read_customer_merge"}


@dataclass(frozen=True, slots=True)
class Seen:
    """What a shop showed of its set-up."""

    facts: ShopFacts
    definition: Definition | None
    subscriptions: tuple[Subscription, ...]


@dataclass(frozen=True, slots=True)
class Needs:
    """What is missing in one shop. `wrong` can't be made right by making something: a person must look."""

    definition: bool
    topics: tuple[str, ...]
    uri: str
    wrong: str = ""
    hint: str = ""
    notes: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        return self.definition + len(self.topics)


def look(reader: ShopReader, store: StoreSettings) -> Seen:
    """Read what is there; changes nothing."""
    link = store.backlink
    return Seen(reader.facts(), reader.definition(link.namespace, link.key), reader.subscriptions())


def needs_of(seen: Seen, store: StoreSettings, public_url: str) -> Needs:
    """What is missing, of what this shop should have."""
    wrong = wrong_definition(seen.definition, store.backlink)
    uri = webhook_uri(public_url, store.name)
    topics, notes = missing_topics(seen.subscriptions, uri, seen.facts.scopes)
    if public_url and not uri:
        notes = (f"no webhooks: server.public_url is {public_url}, and Shopify sends to https only",)
    return Needs(
        definition=seen.definition is None,
        topics=topics,
        uri=uri,
        wrong=wrong,
        hint="take the other definition off in Shopify's settings, or set another backlink" if wrong else "",
        notes=notes,
    )


def webhook_uri(public_url: str, store: str) -> str:
    """Where Shopify sends this store's webhooks; empty where it can't send any."""
    if not public_url.lower().startswith("https://"):
        return ""
    return f"{public_url.rstrip('/')}/webhooks/shopify/{store}"


def wrong_definition(definition: Definition | None, link: Backlink) -> str:
    """What is wrong with the back-link's definition; empty where nothing is, or there is none yet."""
    name = f"{link.namespace}.{link.key}"
    if definition is None:
        return ""
    if definition.type != ID_TYPE:
        return f"the metafield definition {name} is of type {definition.type}, and a back-link needs type id"
    if not definition.unique:
        return f"the metafield definition {name} lets two customers carry one value, and a back-link must be unique"
    return ""


def missing_topics(
    subscriptions: Sequence[Subscription], uri: str, scopes: frozenset[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Topics without a subscription to this address, and notes on those that the token's scopes don't allow."""
    if not uri:
        return (), ()
    there = {s.topic for s in subscriptions if s.uri == uri}
    missing = [t for t in TOPICS if t not in there]
    refused = [t for t in missing if not has_scope(scopes, TOPIC_SCOPES.get(t, ""))]
    notes = tuple(f"no webhook {t}: the token lacks the scope {TOPIC_SCOPES[t]}" for t in refused)
    return tuple(t for t in missing if t not in refused), notes


def has_scope(scopes: frozenset[str], scope: str) -> bool:
    """Whether the token may; `write_` of something includes reading it."""
    return not scope or scope in scopes or scope.replace("read_", "write_", 1) in scopes
