"""Runs a prepared document on one shop: access scopes, protected fields, and field resolution.

Root fields are methods of the shop in snake_case. Below them a value is a mapping or an object; a callable member is called
with the field's arguments.
"""

import logging
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final

from graphql import GraphQLError, GraphQLResolveInfo, execute_sync

from reconciler.simulator.graphql.documents import Json, ParsedDocument, load_schema

log = logging.getLogger(__name__)

SEARCH: Final = "__search"
"""The member of a root field's value with notes on its search query, which go to `extensions.search` with the path."""
SCOPES_PAGE: Final = "https://shopify.dev/api/usage/access-scopes"
CUSTOMER_DATA_PAGE: Final = "https://partners.shopify.com/1/apps/1/customer_data"
UNAPPROVED: Final = (
    f"This app is not approved to access the Customer object. See {CUSTOMER_DATA_PAGE} for more details."
)
LEVEL_2_FIELDS: Final = frozenset(
    {
        "email", "phone", "firstName", "lastName", "displayName", "defaultEmailAddress", "defaultPhoneNumber",
        "defaultAddress", "addressesV2",
    }
)  # fmt: skip
"""Customer fields that need approval for protected customer data of level 2 (name, address, phone, email)."""

_MERGE_READS: Final = frozenset({"customerMergePreview", "customerMergeJobStatus"})
_ERASURES: Final = frozenset({"customerRequestDataErasure", "customerCancelDataErasure"})
_TAG_WRITES: Final = frozenset({"tagsAdd", "tagsRemove"})
_METAFIELD_READS: Final = frozenset({"metafieldDefinition", "metafieldDefinitions"})
_OF_CUSTOMERS: Final = "gid://shopify/Customer/"


def required_scope(root: str, kind: str, arguments: Mapping[str, Any]) -> str | None:
    """The access scope that a root field needs, or None."""
    if kind == "mutation":
        return _write_scope(root)
    if root in _MERGE_READS:
        return "read_customer_merge"
    if root in {"node", "nodes"}:
        ids = arguments.get("ids") or [arguments.get("id")]
        return "read_customers" if any(str(each).startswith(_OF_CUSTOMERS) for each in ids) else None
    return "read_customers" if root.startswith("customer") or root in _METAFIELD_READS else None


def _write_scope(root: str) -> str | None:
    if root == "customerMerge":
        return "write_customer_merge"
    if root in _ERASURES:
        return "write_customer_data_erasure"
    of_customers = root.startswith(("customer", "metafield", "dataSale")) or root in _TAG_WRITES
    return "write_customers" if of_customers else None


def has_scope(scopes: set[str], needed: str) -> bool:
    """Whether a scope is granted; a write scope includes the read scope, as at Shopify."""
    return needed in scopes or needed.replace("read_", "write_", 1) in scopes


def access_denied(root: str, scope: str) -> GraphQLError:
    access = f"`{scope}` access scope."
    return GraphQLError(
        f"Access denied for {root} field. Required access: {access}",
        extensions={"code": "ACCESS_DENIED", "documentation": SCOPES_PAGE, "requiredAccess": access},
    )


@lru_cache(maxsize=4096)
def snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


class Execution:
    """One execution of a document on `shop`. `denied`: the root fields that a fault refuses."""

    def __init__(
        self, shop: Any, fallback: Mapping[str, Callable[..., Any]], denied: frozenset[str] = frozenset()
    ) -> None:
        self.shop = shop
        self.fallback = fallback
        self.denied = denied
        self.search: list[Json] = []

    def run(self, document: ParsedDocument, variables: Json, request_id: str) -> Json:
        """`data` and `errors` of the reply."""
        settle = getattr(self.shop, "settle", None)
        if settle is not None:
            settle()
        result = execute_sync(
            load_schema(),
            document.ast,
            root_value=self,
            variable_values=variables,
            operation_name=document.name,
            field_resolver=self.resolve,
            type_resolver=resolve_type,
        )
        reply: Json = {"data": result.data}
        if result.errors:
            reply["errors"] = [_worded(error, request_id) for error in result.errors]
        if self.search:
            reply["extensions"] = {"search": self.search}
        return reply

    def resolve(self, source: Any, info: GraphQLResolveInfo[Any], **arguments: Any) -> Any:
        if source is self:
            return self.root(info, arguments)
        name = info.field_name
        if info.parent_type.name == "Customer" and name in self.shop.unapproved_fields:
            raise GraphQLError(UNAPPROVED, extensions={"code": "ACCESS_DENIED", "documentation": CUSTOMER_DATA_PAGE})
        value = source.get(name) if isinstance(source, Mapping) else _attribute(source, name)
        if callable(value):
            return value(**{snake(key): given for key, given in arguments.items()})
        return value

    def root(self, info: GraphQLResolveInfo[Any], arguments: Json) -> Any:
        name = info.field_name
        kind = str(info.operation.operation.value)
        scope = required_scope(name, kind, arguments)
        if name in self.denied:
            raise access_denied(name, scope or ("write_customers" if kind == "mutation" else "read_customers"))
        if scope is not None and not has_scope(self.shop.scopes, scope):
            raise access_denied(name, scope)
        method = getattr(self.shop, snake(name), None) or self.fallback.get(name)
        if method is None:
            raise GraphQLError(
                f"{name} is not part of this simulated shop", extensions={"code": "NOT_IMPLEMENTED_BY_SIMULATOR"}
            )
        value = method(**{snake(key): given for key, given in arguments.items()})
        if isinstance(value, Mapping) and value.get(SEARCH):
            self.search.append({"path": info.path.as_list(), **value[SEARCH]})
        return value


def _attribute(source: Any, name: str) -> Any:
    return getattr(source, name, None) if hasattr(source, name) else getattr(source, snake(name), None)


def resolve_type(value: Any, _info: GraphQLResolveInfo[Any], _abstract: Any) -> str | None:
    found = value.get("__typename") if isinstance(value, Mapping) else getattr(value, "__typename", None)
    return None if found is None else str(found)


def _worded(error: GraphQLError, request_id: str) -> Json:
    original = error.original_error
    if original is not None and not isinstance(original, GraphQLError):
        log.error("the simulated shop broke at %s", error.path, exc_info=original)
        return internal_error(request_id, error.path)
    formatted: Json = dict(error.formatted)
    return formatted


def internal_error(request_id: str, path: list[str | int] | None = None) -> Json:
    message = (
        "Internal error. Looks like something went wrong on our end.\n"
        f"Request ID: {request_id} (include this in support requests)."
    )
    error: Json = {"message": message, "extensions": {"code": "INTERNAL_SERVER_ERROR", "requestId": request_id}}
    if path:
        error["path"] = path
    return error
