"""Webhook subscriptions made over the API: their rules, and which of them an event is for.

Live replies of the Admin API, read 2026-11-23: errors name `callbackUrl` even where `uri` was sent. Sending is
`deliver.py`'s business.
"""

import re
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlsplit

from reconciler.simulator.documents import Json
from reconciler.simulator.ledger import gid, iso, user_error
from reconciler.simulator.paging import paged
from reconciler.simulator.records import Event, Subscription
from reconciler.simulator.residence import Residence

LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})
_ARN: Final = re.compile(r"arn:aws:events:[\w-]+::event-source/aws\.partner/shopify\.com/.+")
_PUBSUB: Final = re.compile(r"pubsub://[\w-]+:[\w-]+")
_FILTER_TERM: Final = re.compile(r'(-)?([\w.]+):(?:"([^"]*)"|([^\s()"]+))(?:\s+AND)?(?:\s+|$)')


class Subscriptions(Residence):
    webhook_api_version: str = "2026-10"
    """Set by the app's configuration, not by the URL that a subscription was made with."""

    def webhook_subscription_create(self, topic: str, webhook_subscription: Json) -> Json:
        given = webhook_subscription
        uri = given.get("uri") or given.get("callbackUrl") or ""
        errors = self._uri_errors(topic, uri, None) or _filter_errors(given)
        if errors:
            return {"webhookSubscription": None, "userErrors": errors}
        now = self.now()
        made = Subscription(self.next_number(), topic, uri, now, now)
        _fill(made, given)
        self.subscriptions[made.number] = made
        return {"webhookSubscription": self._shown(made), "userErrors": []}

    def webhook_subscription_update(self, id: str, webhook_subscription: Json) -> Json:  # noqa: A002 - Shopify's name
        found = self.subscriptions.get(self.number_of(id, "WebhookSubscription"))
        if found is None:
            return {"webhookSubscription": None, "userErrors": [_unknown()]}
        uri = webhook_subscription.get("uri") or webhook_subscription.get("callbackUrl") or found.uri
        errors = self._uri_errors(found.topic, uri, found) or _filter_errors(webhook_subscription)
        if errors:
            return {"webhookSubscription": None, "userErrors": errors}
        found.uri, found.updated_at = uri, self.now()
        _fill(found, webhook_subscription)
        return {"webhookSubscription": self._shown(found), "userErrors": []}

    def webhook_subscription_delete(self, id: str) -> Json:  # noqa: A002 - Shopify's name
        if self.subscriptions.pop(self.number_of(id, "WebhookSubscription"), None) is None:
            return {"deletedWebhookSubscriptionId": None, "userErrors": [_unknown()]}
        return {"deletedWebhookSubscriptionId": id, "userErrors": []}

    def webhook_subscription(self, id: str) -> Json | None:  # noqa: A002 - Shopify's name
        found = self.subscriptions.get(self.number_of(id, "WebhookSubscription"))
        return None if found is None else self._shown(found)

    def webhook_subscriptions(
        self,
        first: int | None = None,
        last: int | None = None,
        after: str | None = None,
        before: str | None = None,
        topics: list[str] | None = None,
        uri: str | None = None,
        callback_url: str | None = None,
        format: str | None = None,  # noqa: A002 - Shopify's name
        query: str | None = None,
        sort_key: str = "CREATED_AT",
        *,
        reverse: bool = False,
    ) -> Json:
        """In the order they were made, which is that of both sort keys. `query` is not read."""
        del sort_key, query
        address = uri or callback_url
        rows = [
            each
            for each in self.subscriptions.values()
            if (topics is None or each.topic in topics)
            and (address is None or each.uri == address)
            and (format is None or each.format == format)
        ]
        return paged(
            rows,
            key=lambda each: (None, each.number),
            view=self._shown,
            first=first, last=last, after=after, before=before, reverse=reverse,
        )  # fmt: skip

    def other_node(self, kind: str, number: int) -> Any:
        if kind == "WebhookSubscription":
            found = self.subscriptions.get(number)
            return None if found is None else self._shown(found)
        return super().other_node(kind, number)

    def subscribers(self, event: Event) -> list[Subscription]:
        """Those whom an event is for."""
        return [
            each
            for each in list(self.subscriptions.values())
            if each.topic == event.topic and read_filter(each.filter)(event.payload)
        ]

    def _uri_errors(self, topic: str, uri: str, mine: Subscription | None) -> list[Json]:
        message = self._uri_fault(uri)
        if message is None and any(
            each.topic == topic and each.uri == uri and each is not mine for each in self.subscriptions.values()
        ):
            message = "Address for this topic has already been taken"
        return [] if message is None else [user_error(("webhookSubscription", "callbackUrl"), message)]

    def _uri_fault(self, uri: str) -> str | None:
        if not uri.strip():
            return "Address can't be blank"
        if _ARN.fullmatch(uri) or _PUBSUB.fullmatch(uri):
            return None
        parts = urlsplit(uri)
        if parts.scheme == "http" and not (self.habits.loopback_callbacks and parts.hostname in LOOPBACK):
            return "Address protocol http:// is not supported"
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            return "Address is invalid"
        return None

    def _shown(self, each: Subscription) -> Json:
        version = self.webhook_api_version
        return {
            "__typename": "WebhookSubscription",
            "id": gid("WebhookSubscription", each.number),
            "legacyResourceId": str(each.number),
            "apiVersion": {"handle": version, "displayName": version, "supported": True},
            "callbackUrl": each.uri,
            "uri": each.uri,
            "createdAt": iso(each.created_at),
            "updatedAt": iso(each.updated_at),
            "filter": each.filter,
            "format": each.format,
            "includeFields": list(each.include_fields),
            "metafieldNamespaces": list(each.metafield_namespaces),
            "metafields": [{"namespace": namespace, "key": key} for namespace, key in each.metafields],
            "topic": each.topic,
        }


def _unknown() -> Json:
    return user_error(("id",), "Webhook subscription does not exist")


def _fill(subscription: Subscription, given: Json) -> None:
    """What is named is taken over, the rest stays."""
    subscription.format = given.get("format") or subscription.format
    if "filter" in given:
        subscription.filter = given["filter"] or None
    if "includeFields" in given:
        subscription.include_fields = tuple(given["includeFields"] or ())
    if "metafieldNamespaces" in given:
        subscription.metafield_namespaces = tuple(given["metafieldNamespaces"] or ())
    if "metafields" in given:
        named = given["metafields"] or ()
        subscription.metafields = tuple((each.get("namespace") or "", each["key"]) for each in named)


def _filter_errors(given: Json) -> list[Json]:
    try:
        read_filter(given.get("filter"))
    except ValueError:
        message = "The specified filter is invalid, please ensure you specify the field(s) you wish to filter on."
        return [user_error(("webhookSubscription", "filter"), message)]
    return []


def read_filter(text: str | None) -> Callable[[Json], bool]:
    """A filter of the form `field:value -field:"a value" field:*`, over a payload's fields; ValueError for others."""
    terms: list[tuple[bool, list[str], str]] = []
    position = 0
    whole = (text or "").strip()
    while position < len(whole):
        found = _FILTER_TERM.match(whole, position)
        if found is None:
            raise ValueError(whole)
        terms.append((found[1] is None, found[2].split("."), found[3] if found[3] is not None else found[4]))
        position = found.end()
    return lambda payload: all(_fits(payload, path, value) is wanted for wanted, path, value in terms)


def _fits(payload: Json, path: list[str], value: str) -> bool:
    found: Any = payload
    for step in path:
        found = found.get(step) if isinstance(found, dict) else None
    if value == "*":
        return found is not None
    text = str(found).lower() if isinstance(found, bool) else str(found)
    return found is not None and text.casefold() == value.casefold()
