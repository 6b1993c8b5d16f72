"""ports.ShopReader and ShopMaker: what `doctor` reads in a shop, and what `bootstrap` creates there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from reconciler.core.model.ids import ShopDomain
from reconciler.errors import AccessError, PermanentError, Refused, SetupError
from reconciler.outbound.reading import MalformedError
from reconciler.ports import Definition, ShopFacts, Subscription
from reconciler.shopify.api.client import ShopClient
from reconciler.shopify.api.document import document
from reconciler.shopify.api.refusals import write_error
from reconciler.shopify.api.shapes import DefinitionReply, Payload, ShopFactsReply, SubscriptionReply

BACKLINK_TYPE: Final = "id"
BACKLINK_NAME: Final = "Clerk user ID"
BACKLINK_DESCRIPTION: Final = "Which Clerk user this customer is. Kept by reconciler: please don't edit."
PAGES_MAX: Final = 100
FOREIGN: Final = "access to the namespace"  # what Shopify asks for in a namespace of another app, or without the scope


class ShopSetup:
    """Reads and creates the set-up of one shop."""

    def __init__(self, client: ShopClient) -> None:
        self._client = client

    def facts(self) -> ShopFacts:
        reply = self._client.run(document("shop_facts"), lane="nudge")
        seen = reply.as_shape(ShopFactsReply)
        return ShopFacts(
            name=seen.shop.name,
            domain=ShopDomain(seen.shop.myshopify_domain),
            scopes=frozenset(scope.handle for scope in seen.current_app_installation.access_scopes),
            api_version=reply.api_version,
            supported_versions=tuple(sorted(v.handle for v in seen.public_api_versions if v.supported)),
            restore_rate=self._client.restore_rate(),
            server_time=reply.server_time,
            asked_s=reply.asked_s,
            answered_s=reply.answered_s,
        )

    def definition(self, namespace: str, key: str) -> Definition | None:
        variables = {"namespace": namespace, "key": key}
        reply = self._client.run(document("metafield_definition"), variables, lane="nudge")
        found = reply.as_shape(DefinitionReply).metafield_definition
        if found is None:
            return None
        return Definition(
            id=found.id,
            namespace=found.namespace,
            key=found.key,
            type=found.type.name,
            unique=found.capabilities.unique_values.enabled,
            pinned=found.pinned_position is not None,
            limits={each.name: each.value for each in found.validations if each.value is not None},
        )

    def subscriptions(self) -> tuple[Subscription, ...]:
        found: list[Subscription] = []
        after: str | None = None
        seen = {after}
        for _ in range(PAGES_MAX):
            reply = self._client.run(document("webhook_subscriptions"), {"after": after}, lane="nudge")
            page = reply.as_shape(SubscriptionReply).webhook_subscriptions
            found.extend(Subscription(node.id, node.topic, node.uri) for node in page.nodes)
            if not page.page_info.has_next_page:
                break
            after = page.page_info.end_cursor
            if after in seen:
                raise reply.sent.malformed_answer(MalformedError("the list has a next page, but no cursor of its own"))
            seen.add(after)
        return tuple(found)

    def create_definition(self, namespace: str, key: str) -> None:
        definition = {
            "name": BACKLINK_NAME,
            "description": BACKLINK_DESCRIPTION,
            "namespace": namespace,
            "key": key,
            "ownerType": "CUSTOMER",
            "type": BACKLINK_TYPE,
            "pin": True,
        }
        try:
            self._create_one(definition)
        except Refused as error:
            if error.has("TAKEN"):
                self._check_type(namespace, key)
            elif error.has("PINNED_LIMIT_REACHED"):
                self._create_unpinned(definition)
            else:
                raise self._refused_error(f"the metafield definition {namespace}.{key}", error) from error

    def subscribe(self, topic: str, uri: str) -> None:
        try:
            self._create("webhook_subscription_create", {"topic": topic, "uri": uri})
        except Refused as error:
            if not error.has("TAKEN"):
                raise self._refused_error(f"the webhook {topic}", error) from error

    def _refused_error(self, what: str, error: Refused) -> PermanentError:
        """Of something that is not a customer, as the refusals of a write are worded."""
        words = "; ".join(refusal.message for refusal in error.refusals)
        return PermanentError(f"{self._client.shop}: Shopify refuses {what}: {words}", hint=error.hint)

    def _create_unpinned(self, definition: Mapping[str, Any]) -> None:
        try:
            self._create_one({**definition, "pin": False})
        except Refused as error:
            if not error.has("TAKEN"):
                what = f"the metafield definition {definition['namespace']}.{definition['key']}"
                raise self._refused_error(what, error) from error
            self._check_type(definition["namespace"], definition["key"])

    def _create_one(self, definition: Mapping[str, Any]) -> None:
        try:
            self._create("metafield_definition_create", {"definition": definition})
        except AccessError as error:
            if FOREIGN not in error.message:
                raise
            namespace, key = definition["namespace"], definition["key"]
            raise SetupError(
                f"{self._client.shop}: this app may not create the metafield definition {namespace}.{key}: the namespace "
                f"{namespace} belongs to another app or to Shopify, or the app lacks the scope write_customers",
                hint="set a `backlink` with another namespace in stores.yaml; `reconciler doctor` lists missing scopes",
            ) from error

    def _check_type(self, namespace: str, key: str) -> None:
        """SetupError if the existing definition of this name is not of our type."""
        found = self.definition(namespace, key)
        if found is None or found.type != BACKLINK_TYPE:
            is_now = f"of type {found.type}" if found else "hidden from this app"
            raise SetupError(
                f"{self._client.shop}: the metafield definition {namespace}.{key} already exists, {is_now}, "
                f"but a back-link needs type {BACKLINK_TYPE}",
                hint="set another `backlink` in stores.yaml, or delete that definition in Shopify",
            )

    def _create(self, name: str, variables: Mapping[str, Any]) -> None:
        reply = self._client.run(document(name), variables, lane="nudge")
        if reply.payload(Payload).user_errors:
            raise write_error(reply.sent, next(iter(reply.data.values()))["userErrors"])
