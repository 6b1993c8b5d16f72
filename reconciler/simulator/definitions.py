"""Metafield definitions: made, changed, deleted, listed. A definition of type `id` keeps its values unique.

Schema descriptions and live replies of the Admin API, read 2026-11-23.
"""

from typing import Any, Final

from reconciler.simulator.documents import Json
from reconciler.simulator.ledger import gid, top_level, user_error
from reconciler.simulator.metafield_views import DefinitionView
from reconciler.simulator.metafields import TYPES, Metafields, name_fault
from reconciler.simulator.paging import paged
from reconciler.simulator.records import Definition

DEFINITIONS_MAX: Final = 256


class Definitions(Metafields):
    def metafield_definition_create(self, definition: Json) -> Json:
        name = (self.namespace(definition.get("namespace")), definition["key"])
        errors = self._definition_errors(definition, name)
        unique = definition["type"] == "id" or _wants(definition, "uniqueValues") is True
        if not errors and unique and definition["ownerType"] == "CUSTOMER" and not self.people.watch_unique(name):
            message = "Metafields with this namespace and key have values that are not unique."
            errors = [user_error(("definition",), message, "UNSTRUCTURED_ALREADY_EXISTS")]
        if errors:
            return {"createdDefinition": None, "userErrors": errors}
        made = Definition(
            self.next_number(),
            definition["ownerType"],
            *name,
            definition["type"],
            definition["name"],
            description=definition.get("description"),
            unique=unique,
            filterable=_wants(definition, "adminFilterable") is True,
            access=_access(definition, name[0]),
            validations=tuple((each["name"], each["value"]) for each in definition.get("validations") or ()),
            pinned_position=self._next_pin(definition["ownerType"]) if definition.get("pin") else None,
        )
        self.definitions[(made.owner_type, *name)] = made
        return {"createdDefinition": DefinitionView(self, made), "userErrors": []}

    def metafield_definition_update(self, definition: Json) -> Json:
        found = self._definition(definition)
        if found is None:
            error = user_error(("definition",), "Definition not found.", "NOT_FOUND")
            return {"updatedDefinition": None, "userErrors": [error]}
        found.name = definition.get("name") or found.name
        if "description" in definition:
            found.description = definition["description"]
        if definition.get("pin") is True and found.pinned_position is None:
            found.pinned_position = self._next_pin(found.owner_type)
        elif definition.get("pin") is False:
            found.pinned_position = None
        return {"updatedDefinition": DefinitionView(self, found), "userErrors": []}

    def metafield_definition_delete(
        self,
        id: str | None = None,  # noqa: A002 - Shopify's name
        identifier: Json | None = None,
        *,
        delete_all_associated_metafields: bool = False,
    ) -> Json:
        found = self._definition(identifier) if identifier is not None else self._definition_by_id(id)
        if found is None:
            return _not_deleted("Definition not found.", "NOT_FOUND")
        name = (found.namespace, found.key)
        if found.type == "id" and not delete_all_associated_metafields:
            message = "Deleting an id type metafield definition requires deletion of its associated metafields."
            return _not_deleted(message, "ID_TYPE_DELETION_ERROR")
        if delete_all_associated_metafields and found.owner_type == "CUSTOMER":
            for customer in [each for each in self.people if each.metafield(name) is not None]:
                self.people.take_metafield(customer, name)
        if found.owner_type == "CUSTOMER":
            self.people.unique.pop(name, None)
        del self.definitions[(found.owner_type, *name)]
        return {"deletedDefinitionId": gid("MetafieldDefinition", found.number), "userErrors": []}

    def metafield_definition(self, id: str | None = None, identifier: Json | None = None) -> DefinitionView | None:  # noqa: A002 - Shopify's name
        found = self._definition(identifier) if identifier is not None else self._definition_by_id(id)
        return None if found is None else DefinitionView(self, found)

    def metafield_definitions(
        self,
        owner_type: str,
        first: int | None = None,
        last: int | None = None,
        after: str | None = None,
        before: str | None = None,
        namespace: str | None = None,
        key: str | None = None,
        pinned_status: str = "ANY",
        sort_key: str = "ID",
        query: str | None = None,
        constraint_status: str | None = None,
        *,
        reverse: bool = False,
    ) -> Json:
        """By number whatever `sort_key` says; `query` looks for words in name, namespace and key."""
        wanted = None if namespace is None else self.namespace(namespace)
        rows = [
            each
            for each in self.definitions.values()
            if each.owner_type == owner_type
            and (wanted is None or each.namespace == wanted)
            and (key is None or each.key == key)
            and (pinned_status == "ANY" or (each.pinned_position is not None) == (pinned_status == "PINNED"))
            and (not query or all(word in f"{each.name} {each.namespace} {each.key}" for word in query.split()))
            and constraint_status != "CONSTRAINED_ONLY"
        ]
        del sort_key
        return paged(
            sorted(rows, key=lambda each: each.number),
            key=lambda each: (None, each.number),
            view=lambda each: DefinitionView(self, each),
            first=first, last=last, after=after, before=before, reverse=reverse,
        )  # fmt: skip

    def _definition(self, named: Json) -> Definition | None:
        return self.definitions.get((named["ownerType"], self.namespace(named.get("namespace")), named["key"]))

    def _definition_by_id(self, identifier: str | None) -> Definition | None:
        if identifier is None:
            raise top_level("One of id or identifier must be given.", "BAD_REQUEST")
        number = self.number_of(identifier, "MetafieldDefinition")
        return next((each for each in self.definitions.values() if each.number == number), None)

    def _next_pin(self, owner_type: str) -> int:
        pinned = [each.pinned_position or 0 for each in self.definitions.values() if each.owner_type == owner_type]
        return max(pinned, default=0) + 1

    def _definition_errors(self, given: Json, name: tuple[str, str]) -> list[Json]:
        fault = name_fault(name)
        if fault is not None:
            return [user_error(("definition", fault[0]), fault[1], fault[2])]
        if not given["name"].strip():
            return [user_error(("definition", "name"), "Name can't be blank", "BLANK")]
        if given["type"] not in TYPES:
            words = f"Type name {given['type']} is not a valid type. Valid types are: {', '.join(TYPES)}."
            return [user_error(("definition", "type"), words, "INCLUSION")]
        if given["type"] == "id" and _wants(given, "uniqueValues") is False:
            words = "Capability unique_values is required for type id but is disabled"
            return [user_error(("definition",), words, "CAPABILITY_REQUIRED_BUT_DISABLED")]
        admin = (given.get("access") or {}).get("admin")
        if admin is not None and not name[0].startswith(f"app--{self.app_id}"):
            words = "Setting admin access is only allowed for app-owned namespaces."
            return [user_error(("definition", "access", "admin"), words, "ADMIN_ACCESS_INPUT_NOT_ALLOWED")]
        if (given["ownerType"], *name) in self.definitions:
            words = f"Key is in use for {given['ownerType'].capitalize()} metafields on the '{name[0]}' namespace."
            return [user_error(("definition", "key"), words, "TAKEN")]
        if sum(1 for each in self.definitions.values() if each.owner_type == given["ownerType"]) >= DEFINITIONS_MAX:
            words = f"Stores can only have {DEFINITIONS_MAX} definitions for each resource type."
            return [user_error(("definition",), words, "RESOURCE_TYPE_LIMIT_EXCEEDED")]
        return []


def _wants(definition: Json, capability: str) -> bool | None:
    asked: Any = (definition.get("capabilities") or {}).get(capability)
    return None if asked is None else bool(asked["enabled"])


def _access(definition: Json, namespace: str) -> Json:
    asked = definition.get("access") or {}
    own = namespace.startswith("app--")
    return {
        "admin": asked.get("admin") or ("MERCHANT_READ" if own else "PUBLIC_READ_WRITE"),
        "storefront": asked.get("storefront") or "NONE",
        "customerAccount": asked.get("customerAccount") or "NONE",
    }


def _not_deleted(message: str, code: str) -> Json:
    return {"deletedDefinitionId": None, "userErrors": [user_error(None, message, code)]}
