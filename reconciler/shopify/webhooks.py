"""Verifies Shopify's webhooks and reads the ids of customers from them.

The HMAC covers only the body (Shopify docs, read 2026-11-23). Topic, shop and id are in headers, which anyone with one
signed body could set freely. So an event is a reason to reconcile and never proof of its content; a body that names its
shop must name this one. Ids are integers above 2^53, so they are never read as floats.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import field
from datetime import UTC, datetime
from typing import Any, Final, Never

from reconciler.core.model.frozen import frozen
from reconciler.core.model.ids import CustomerId, ShopDomain
from reconciler.errors import ConfigError, NotAnEvent, Unauthentic
from reconciler.outbound.reading import pause_collection

# topic → the keys in its body with customer ids, preferred first
_BY_ID: Final = (("admin_graphql_api_id", "id"),)
_BY_OWNER: Final = (("customer_id",),)
_CUSTOMER_KEYS: Final[Mapping[str, tuple[tuple[str, ...], ...]]] = {
    "customers/create": _BY_ID,
    "customers/update": _BY_ID,
    "customers/enable": _BY_ID,
    "customers/disable": _BY_ID,
    "customers/delete": _BY_ID,
    "customers/merge": (("admin_graphql_api_customer_kept_id",), ("admin_graphql_api_customer_deleted_id",)),
    "customers/email_marketing_consent_update": _BY_OWNER,  # the documentation has both spellings of these two
    "customers_email_marketing_consent/update": _BY_OWNER,
    "customers/marketing_consent_update": _BY_OWNER,  # of text messages
    "customers_marketing_consent/update": _BY_OWNER,
    "customer.tags_added": (("customerId", "customer_id"),),
    "customer.tags_removed": (("customerId", "customer_id"),),
}
CUSTOMER_TOPICS: Final = frozenset(_CUSTOMER_KEYS)
PRIVACY_TOPICS: Final = frozenset({"customers/redact", "customers/data_request", "shop/redact"})
SHOP_TOPICS: Final = PRIVACY_TOPICS | {"app/uninstalled"}
TOPICS: Final = CUSTOMER_TOPICS | SHOP_TOPICS

SHOP_HEADER: Final = "x-shopify-shop-domain"
_SHOP_KEYS: Final = ("shop_domain", "myshopify_domain")
_GID = re.compile(r"gid://shopify/Customer/([0-9]{1,20})", re.ASCII)
_NUMBER = re.compile(r"[0-9]{1,20}", re.ASCII)
_TOPIC = re.compile(r"[a-z_./]{3,80}")
_SHOP = re.compile(r"[a-z0-9][a-z0-9-]{0,62}\.myshopify\.com")
_WEBHOOK_ID = re.compile(r"[\x21-\x7e]{1,200}")
_KEYS_CHECKED: Final = 2  # for each webhook, whatever the number of secrets: the time must not tell shops apart


@frozen
class ShopifyEvent:
    """The content of one authentic webhook. `customers`: the customers it names; `email`: that of the person to redact.

    `id` is the same for all retries of one delivery, or empty. `known` is False for topics to which we did not subscribe.
    `data_request` is the number of a customers/data_request. `new_name` is the shop's name in the header if it is not a
    known one. Nothing else of the body is kept.
    """

    id: str
    topic: str
    shop: ShopDomain
    customers: tuple[CustomerId, ...] = ()
    known: bool = True
    triggered_at: datetime | None = None
    api_version: str = ""
    data_request: str = ""
    email: str = field(default="", repr=False)
    new_name: str = ""


class ShopifyWebhooks:
    """Reads the webhooks of one shop, signed with any of its secrets: Shopify uses an old secret for up to an hour.

    `former`: earlier names of the shop, which webhooks may still carry. `others`: names of other shops. A name that is
    neither may be the shop's new name, which stores.yaml does not have yet: a signed webhook about customers is accepted
    with it. A webhook about the whole shop must carry a known name.
    """

    def __init__(
        self,
        shop: ShopDomain,
        secrets: Sequence[str],
        *,
        former: Collection[ShopDomain] = (),
        others: Collection[ShopDomain] = (),
    ) -> None:
        self.shop = shop
        self._names = frozenset({shop, *former})
        self._others = frozenset(others) - self._names
        keys = tuple(secret.strip().encode() for secret in secrets if secret.strip())
        if not keys:
            raise ConfigError(
                f"no secret to verify the webhooks of {shop}",
                hint="set webhook_secret (the app's client secret) in stores.yaml",
            )
        self._keys = keys + keys[:1] * (_KEYS_CHECKED - len(keys))

    def has_name(self, name: str) -> bool:
        """Whether the shop has or had this name."""
        return name in self._names

    def read(self, headers: Mapping[str, str], body: bytes) -> ShopifyEvent:
        """Verify and read one request. Raises Unauthentic or NotAnEvent for any bad input, and no other error."""
        given = {name.lower(): value for name, value in headers.items()}
        self._verify(given.get("x-shopify-hmac-sha256", ""), body)
        name = named_shop(headers)
        topic = given.get("x-shopify-topic", "").strip().lower()
        if name not in self._names and not (topic in CUSTOMER_TOPICS and self._may_be_new(name)):
            raise Unauthentic(
                f"a webhook of another shop was sent to the address of {self.shop}",
                hint="if the shop was renamed, correct shop in stores.yaml; otherwise compare the subscription's address "
                "with the store names there",
            )
        if not _TOPIC.fullmatch(topic):
            raise NotAnEvent("a signed webhook from Shopify has no topic")
        webhook_id = given.get("x-shopify-webhook-id", "")
        return _event(
            topic,
            _parse_json(body),
            self.shop,
            self._names,
            webhook_id=webhook_id if _WEBHOOK_ID.fullmatch(webhook_id) else "",
            api_version=given.get("x-shopify-api-version", "")[:20],
            triggered_at=_time(given.get("x-shopify-triggered-at", "")),
            new_name="" if name in self._names else name,
        )

    def _may_be_new(self, name: str) -> bool:
        return name not in self._others and _SHOP.fullmatch(name) is not None

    def _verify(self, signature: str, body: bytes) -> None:
        try:
            digest = base64.b64decode(signature, validate=True)
        except (binascii.Error, ValueError):
            digest = b""
        fits = [hmac.compare_digest(hmac.new(key, body, hashlib.sha256).digest(), digest) for key in self._keys]
        if not any(fits):
            raise Unauthentic(
                f"the signature of a webhook for {self.shop} is not valid",
                hint="webhook_secret must be the client secret of the app that created the subscription",
            )


def named_shop(headers: Mapping[str, str]) -> str:
    """Return the shop's name in the headers, which are not signed; empty if there is none."""
    return next((value.strip().lower() for name, value in headers.items() if name.lower() == SHOP_HEADER), "")


def _parse_json(body: bytes) -> Mapping[str, Any]:
    try:
        with pause_collection():
            parsed = json.loads(body, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise NotAnEvent("a signed webhook from Shopify is not JSON") from error
    if not isinstance(parsed, dict):
        raise NotAnEvent("a signed webhook from Shopify is not a JSON object")
    return parsed


def _no_constant(name: str) -> Never:
    raise ValueError(f"{name} is not JSON")


def _event(
    topic: str,
    body: Mapping[str, Any],
    shop: ShopDomain,
    names: Collection[str],
    *,
    webhook_id: str,
    api_version: str,
    triggered_at: datetime | None,
    new_name: str,
) -> ShopifyEvent:
    customers: tuple[CustomerId, ...] = ()
    data_request = email = ""
    if topic in CUSTOMER_TOPICS:
        named = [_customer(body, keys) for keys in _CUSTOMER_KEYS[topic]]
        customers = tuple(dict.fromkeys(customer for customer in named if customer is not None))
        may_name_none = topic == "customers/merge" and bool(_word(body.get("status")))  # a failed merge
        if not customers and not may_name_none:
            raise NotAnEvent(f"a signed {topic} from Shopify does not name a customer")
    elif topic in SHOP_TOPICS:
        _check_same_shop(topic, body, names)
        if topic in {"customers/redact", "customers/data_request"}:
            person = body.get("customer")
            customer = _customer(person, ("admin_graphql_api_id", "id")) if isinstance(person, dict) else None
            if customer is None or not isinstance(person, dict):
                raise NotAnEvent(f"a signed {topic} from Shopify does not name a customer")
            customers = (customer,)
            request = body.get("data_request")
            if topic == "customers/redact":
                if request is not None:
                    raise NotAnEvent(f"a signed {topic} from Shopify has the body of a customers/data_request")
                email = person["email"] if isinstance(person.get("email"), str) else ""
            data_request = _number(request.get("id")) if isinstance(request, dict) else ""
    return ShopifyEvent(
        id=webhook_id,
        topic=topic,
        shop=shop,
        customers=customers,
        known=topic in TOPICS,
        triggered_at=triggered_at,
        api_version=api_version,
        data_request=data_request,
        email=email,
        new_name=new_name,
    )


def _check_same_shop(topic: str, body: Mapping[str, Any], names: Collection[str]) -> None:
    """NotAnEvent unless the body names this shop: the header is not signed."""
    named = next((body[key] for key in _SHOP_KEYS if key in body), None)
    if not isinstance(named, str) or named.lower() not in names:
        raise NotAnEvent(f"a signed {topic} from Shopify does not name {' or '.join(sorted(names))}")


def _customer(body: Mapping[str, Any], keys: tuple[str, ...]) -> CustomerId | None:
    for key in keys:
        value = body.get(key)
        if isinstance(value, str) and _GID.fullmatch(value):
            return CustomerId(value)
        number = _number(value)
        if number:
            return CustomerId(f"gid://shopify/Customer/{number}")
    return None


def _number(value: object) -> str:
    """An integer as text; empty for anything else, including floats and booleans."""
    if isinstance(value, bool):
        return ""
    if isinstance(value, int):
        value = str(value) if 0 < value < 10**20 else ""
    return value if isinstance(value, str) and _NUMBER.fullmatch(value) else ""


def _word(value: object) -> str:
    return value.lower() if isinstance(value, str) and value.isascii() and value.replace("_", "").isalnum() else ""


def _time(text: str) -> datetime | None:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    try:
        return at.astimezone(UTC) if at.tzinfo is not None else None
    except OverflowError:
        return None
