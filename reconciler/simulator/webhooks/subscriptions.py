"""Webhook subscriptions created by the API: their rules, and the subscriptions for an event.

Live replies of the Admin API, read 2026-11-23 and 2026-11-29: errors name `callbackUrl` even if `uri` was sent.
`delivery.py` sends the events.
"""

import re
from collections.abc import Callable
from functools import cached_property
from typing import Any, Final

from reconciler.simulator.customers.addresses.mutations import Residence
from reconciler.simulator.customers.records import SimEvent, SimSubscription
from reconciler.simulator.graphql.documents import Json
from reconciler.simulator.graphql.paging import page_of
from reconciler.simulator.ledger import gid, iso, user_error
from reconciler.simulator.webhooks.uris import BYTES_MAX, is_http, uri_faults

NOWHERE: Final = "https://eventbridge.arn"
"""`callbackUrl` of a subscription without a URL."""
_FILTER_TERM: Final = re.compile(r'(-)?([\w.]+):(?:"([^"]*)"|([^\s()"]+))(?:\s+AND)?(?:\s+|$)')


class Subscriptions(Residence):
    webhook_api_version: str = "2026-10"
    """Set by the app's configuration, not by the URL of the subscription."""

    @cached_property
    def ended_subscriptions(self) -> set[int]:
        """The numbers of deleted subscriptions."""
        return set()

    def webhook_subscription_create(self, topic: str, webhook_subscription: Json) -> Json:
        given = webhook_subscription
        uri = given.get("uri") or given.get("callbackUrl") or ""
        errors = self._errors(topic, uri, given, None)
        if errors:
            return {"webhookSubscription": None, "userErrors": errors}
        now = self.now()
        made = SimSubscription(self.next_number(), topic, uri.strip(), now, now)
        self._fill(made, given)
        self.subscriptions[made.number] = made
        return {"webhookSubscription": self._shown(made), "userErrors": []}

    def webhook_subscription_update(self, id: str, webhook_subscription: Json) -> Json:  # noqa: A002 - Shopify's name
        found = self.subscriptions.get(self.number_of(id, "WebhookSubscription"))
        if found is None:
            return {"webhookSubscription": None, "userErrors": [_unknown()]}
        named = webhook_subscription.get("uri", webhook_subscription.get("callbackUrl"))
        uri = found.uri if named is None else named
        errors = self._errors(found.topic, uri, webhook_subscription, found)
        if errors:
            return {"webhookSubscription": None, "userErrors": errors}
        found.uri, found.updated_at = uri.strip(), self.now()
        self._fill(found, webhook_subscription)
        return {"webhookSubscription": self._shown(found), "userErrors": []}

    def webhook_subscription_delete(self, id: str) -> Json:  # noqa: A002 - Shopify's name
        """Delete a subscription; deleting it again right after is no error."""
        number = self.number_of(id, "WebhookSubscription")
        if self.subscriptions.pop(number, None) is None and number not in self.ended_subscriptions:
            return {"deletedWebhookSubscriptionId": None, "userErrors": [_unknown()]}
        self.ended_subscriptions.add(number)
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
        """In the order of creation, which is that of both sort keys. `query` is ignored."""
        del sort_key, query
        address = uri or callback_url
        rows = [
            each
            for each in self.subscriptions.values()
            if (topics is None or each.topic in topics)
            and (address is None or each.uri == address)
            and (format is None or each.format == format)
        ]
        return page_of(
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

    def subscribers(self, event: SimEvent) -> list[SimSubscription]:
        """The subscriptions for an event."""
        return [
            each
            for each in list(self.subscriptions.values())
            if each.topic == event.topic and read_filter(each.filter)(event.payload)
        ]

    def webhook_subscriptions_count(self, limit: int | None = 10_000, query: str | None = None) -> Json:
        """`query` reads ids only."""
        wanted = [term.partition(":")[2] for term in (query or "").split() if term.startswith("id:")]
        count = sum(1 for each in self.subscriptions if not wanted or str(each) in wanted)
        del limit
        return {"count": count, "precision": "EXACT"}

    def _errors(self, topic: str, uri: str, given: Json, mine: SimSubscription | None) -> list[Json]:
        """The errors of a subscription: in its address, then its format, then its filter."""
        path = ("webhookSubscription", "callbackUrl")
        faults = uri_faults(uri, self.app_id, loopback=self.habits.loopback_callbacks)
        if faults:
            return [user_error(path, message) for message in faults]
        kind = given.get("format") or (mine.format if mine else "JSON")
        if kind != "JSON" and not is_http(uri):
            return [user_error(("webhookSubscription", "format"), "Format can only be used with format: 'json'")]
        rivals = (each for each in self.subscriptions.values() if each is not mine)
        if any((each.topic, each.uri, each.format) == (topic, uri.strip(), kind) for each in rivals):
            return [user_error(path, "Address for this topic has already been taken")]
        return _filter_errors(given)

    def _fill(self, subscription: SimSubscription, given: Json) -> None:
        """Set the given fields; the others keep their values."""
        subscription.format = given.get("format") or subscription.format
        if "filter" in given:
            subscription.filter = given["filter"]
        if "includeFields" in given:
            subscription.include_fields = tuple(given["includeFields"] or ())
        if "metafieldNamespaces" in given:
            namespaces = given["metafieldNamespaces"] or ()
            subscription.metafield_namespaces = tuple(self.namespace(each) for each in namespaces)
        if "metafields" in given:
            named = given["metafields"] or ()
            subscription.metafields = tuple((each.get("namespace") or "", each["key"]) for each in named)

    def _shown(self, each: SimSubscription) -> Json:
        version = self.webhook_api_version
        return {
            "__typename": "WebhookSubscription",
            "id": gid("WebhookSubscription", each.number),
            "legacyResourceId": str(each.number),
            "apiVersion": {"handle": version, "displayName": version, "supported": True},
            "callbackUrl": each.uri if is_http(each.uri) else NOWHERE,
            "endpoint": _endpoint(each.uri),
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


def _endpoint(uri: str) -> Json:
    if is_http(uri):
        return {"__typename": "WebhookHttpEndpoint", "callbackUrl": uri}
    if uri.startswith("pubsub://"):
        project, _, topic = uri.removeprefix("pubsub://").partition(":")
        return {"__typename": "WebhookPubSubEndpoint", "pubSubProject": project, "pubSubTopic": topic}
    return {"__typename": "WebhookEventBridgeEndpoint", "arn": uri}


def _unknown() -> Json:
    return user_error(("id",), "Webhook subscription does not exist")


def _filter_errors(given: Json) -> list[Json]:
    path = ("webhookSubscription",)
    if len((given.get("filter") or "").encode()) > BYTES_MAX:
        return [user_error(path, "The specified filter exceeds the maximum allowed size.")]
    try:
        read_filter(given.get("filter"))
    except ValueError:
        message = "The specified filter is invalid, please ensure you specify the field(s) you wish to filter on."
        return [user_error(path, message)]
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
