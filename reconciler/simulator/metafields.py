"""Metafields and their definitions: metafieldsSet with compare-and-set, metafieldsDelete, and the definitions' four.

Schema descriptions and live replies of the Admin API, read 2026-11-23. Only customers own metafields here.
"""

import json
import re
from collections.abc import Callable
from typing import Any, Final

from reconciler.simulator.customers import Customers
from reconciler.simulator.documents import Json
from reconciler.simulator.examine import Draft, Problem
from reconciler.simulator.ledger import gid, top_level, user_error
from reconciler.simulator.paging import paged
from reconciler.simulator.records import Customer, Definition, Metafield
from reconciler.simulator.views import DefinitionView, MetafieldView, digest

SET_MAX: Final = 25
ID_BYTES_MAX: Final = 2048
KEY_SIZES: Final = (2, 64)
NAMESPACE_SIZES: Final = (3, 255)
DEFINITIONS_MAX: Final = 256
_WORD: Final = re.compile(r"[A-Za-z0-9_-]+")
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
NOT_YOURS: Final = "Access to this namespace and key on Metafields for this resource type is not allowed."


def _is_integer(value: str) -> bool:
    return re.fullmatch(r"-?\d+", value) is not None


def _is_json(value: str) -> bool:
    try:
        json.loads(value)
    except ValueError:
        return False
    return True


def _is_list(value: str) -> bool:
    return _is_json(value) and isinstance(json.loads(value), list)


TYPES: Final[dict[str, Callable[[str], bool]]] = {
    "id": lambda value: bool(value.strip()) and len(value.encode()) <= ID_BYTES_MAX,
    "single_line_text_field": lambda value: "\n" not in value,
    "multi_line_text_field": lambda _: True,
    "url": lambda value: re.match(r"(https?|mailto|sms|tel):", value) is not None,
    "boolean": lambda value: value in {"true", "false"},
    "number_integer": _is_integer,
    "number_decimal": lambda value: re.fullmatch(r"-?\d+(\.\d+)?", value) is not None,
    "date": lambda value: re.fullmatch(r"\d{4}-\d{2}-\d{2}", value) is not None,
    "date_time": lambda value: re.match(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}", value) is not None,
    "color": lambda value: re.fullmatch(r"#[0-9a-fA-F]{6}", value) is not None,
    "json": _is_json,
    "list.single_line_text_field": _is_list,
    "list.url": _is_list,
    "list.number_integer": _is_list,
}


class Metafields(Customers):
    # --- values ---------------------------------------------------------------------------------------------------

    def metafields_set(self, metafields: list[Json]) -> Json:
        if len(metafields) > SET_MAX:
            message = f"Exceeded the maximum metafields input limit of {SET_MAX}."
            return {"metafields": None, "userErrors": [_set_error(("metafields",), message, "LESS_THAN_OR_EQUAL_TO")]}
        errors: list[Json] = []
        writes: list[tuple[Customer, Metafield]] = []
        for index, each in enumerate(metafields):
            checked = self._checked(index, each, writes)
            if isinstance(checked, tuple):
                writes.append(checked)
            else:
                errors.append(checked)
        if errors:
            return {"metafields": None, "userErrors": errors}
        views = []
        for customer, metafield in writes:
            self._write(customer, metafield)
            kept = customer.metafield(metafield.name)
            assert kept is not None
            views.append(MetafieldView(self, kept, customer))
        return {"metafields": views, "userErrors": []}

    def metafields_delete(self, metafields: list[Json]) -> Json:
        deleted: list[Json | None] = []
        for each in metafields:
            customer = self.find(each["ownerId"])
            name = (self.namespace(each["namespace"]), each["key"])
            found = None if customer is None else customer.metafield(name)
            if customer is None or found is None:
                deleted.append(None)
                continue
            self.remove_metafield(customer, name)
            deleted.append({"ownerId": each["ownerId"], "namespace": name[0], "key": name[1]})
        return {"deletedMetafields": deleted, "userErrors": []}

    def remove_metafield(self, customer: Customer, name: tuple[str, str]) -> None:
        self.remember(customer.number, customer)
        self.people.take_metafield(customer, name)
        self._bump(customer)

    def inline_metafields(self, customer: Customer | None, given: Json, draft: Draft) -> tuple[Metafield, ...]:
        """Those in an input of customerCreate or customerUpdate, where a known one must be named by its id."""
        made = []
        for index, each in enumerate(given.get("metafields") or ()):
            path = ("metafields", str(index))
            name, old = self._inline_name(customer, each)
            if name is None:
                draft.problems.append(Problem((*path, "key"), "Key can't be blank"))
                continue
            if old is not None and each.get("id") is None:
                words = "Key must be unique within this namespace on this resource"
                draft.problems.append(Problem((*path, "key"), words))
                continue
            definition = self.definitions.get(("CUSTOMER", *name))
            known = definition.type if definition else (old.type if old else None)
            value, type_name = each.get("value") or "", each.get("type") or known
            fault = self._value_fault(customer, name, value, type_name)
            if fault is not None:
                draft.problems.append(Problem((*path, "value"), fault[1]))
                continue
            made.append(self.new_metafield(name, value, str(type_name)))
        return tuple(made)

    def _inline_name(self, customer: Customer | None, given: Json) -> tuple[tuple[str, str] | None, Metafield | None]:
        owned = customer.metafields if customer is not None else ()
        if given.get("id") is not None:
            number = self.number_of(given["id"], "Metafield")
            old = next((each for each in owned if each.number == number), None)
            return (None if old is None else old.name), old
        if not given.get("key"):
            return None, None
        name = (self.namespace(given.get("namespace")), given["key"])
        return name, next((each for each in owned if each.name == name), None)

    def _checked(
        self, index: int, given: Json, writes: list[tuple[Customer, Metafield]]
    ) -> tuple[Customer, Metafield] | Json:
        """What one input writes, or the error that refuses it."""

        def error(name: str, message: str, code: str) -> Json:
            return _set_error(("metafields", str(index), name), message, code, index)

        customer = self.find(given["ownerId"])
        if customer is None:
            return error("ownerId", "Owner does not exist.", "INVALID_VALUE")
        name = (self.namespace(given.get("namespace")), given["key"])
        fault = _name_fault(name)
        if fault is not None:
            return error(*fault)
        if self._is_foreign(name[0]):
            return error("namespace", NOT_YOURS, "APP_NOT_AUTHORIZED")
        old = customer.metafield(name)
        if "compareDigest" in given:
            fault = _digest_fault(given["compareDigest"], old)
            if fault is not None:
                return error("compareDigest", *fault)
        definition = self.definitions.get(("CUSTOMER", *name))
        known = definition.type if definition else (old.type if old else None)
        type_name = given.get("type") or known
        if definition is not None and type_name != definition.type:
            words = f"Type '{type_name}' must be consistent with the definition's type: '{definition.type}'."
            return error("type", words, "INVALID_TYPE")
        found = self._value_fault(customer, name, given["value"], type_name, writes)
        if found is not None:
            return error(*found)
        return customer, self.new_metafield(name, given["value"], str(type_name))

    def _value_fault(
        self,
        customer: Customer | None,
        name: tuple[str, str],
        value: str,
        type_name: str | None,
        writes: list[tuple[Customer, Metafield]] | None = None,
    ) -> tuple[str, str, str] | None:
        """Which field is wrong with a value and its type, the words, and the code."""
        if type_name is None:
            return ("type", "Type can't be blank", "BLANK")
        if type_name not in TYPES:
            return ("type", f"Type must be one of the following: {', '.join(TYPES)}.", "INCLUSION")
        if value == "":
            return ("value", "Value can't be blank.", "BLANK")
        if not TYPES[type_name](value):
            return ("value", f"Value is not a valid {type_name}.", "INVALID_VALUE")
        owner = self.people.with_unique(name, value)
        same = [each for each, other in writes or () if other.name == name and other.value == value]
        taken = (owner is not None and owner is not customer) or any(each is not customer for each in same)
        if taken and name in self.people.unique:
            return ("value", "Value has already been taken.", self.habits.unique_metafield_code)
        return None

    def _is_foreign(self, namespace: str) -> bool:
        own = f"app--{self.app_id}"
        return namespace.startswith("app--") and namespace != own and not namespace.startswith(f"{own}--")

    def _write(self, customer: Customer, metafield: Metafield) -> None:
        old = customer.metafield(metafield.name)
        if old is not None and (old.value, old.type) == (metafield.value, metafield.type):
            return
        self.remember(customer.number, customer)
        self.people.put_metafield(customer, metafield)
        self._bump(customer)

    def _bump(self, customer: Customer) -> None:
        if self.habits.metafields_bump_updated_at:
            customer.updated_at = self.now()
            self.updated(customer)

    # --- definitions ----------------------------------------------------------------------------------------------

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
        fault = _name_fault(name)
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


def _name_fault(name: tuple[str, str]) -> tuple[str, str, str] | None:
    """Field, words and code of what is wrong with a namespace and key."""
    for label, text, (low, high) in (("namespace", name[0], NAMESPACE_SIZES), ("key", name[1], KEY_SIZES)):
        words = label.capitalize()
        if not text:
            return (label, f"{words} can't be blank.", "BLANK")
        if len(text) < low:
            return (label, f"{words} is too short (minimum is {low} characters).", "TOO_SHORT")
        if len(text) > high:
            return (label, f"{words} is too long (maximum is {high} characters).", "TOO_LONG")
        if not _WORD.fullmatch(text):
            return (label, f"{words} contains one or more invalid characters.", "INVALID")
    return None


def _digest_fault(given: str | None, old: Metafield | None) -> tuple[str, str] | None:
    """Null means: only where there is none."""
    if given is not None and not _DIGEST.fullmatch(given):
        return ("The compareDigest is invalid.", "INVALID_COMPARE_DIGEST")
    if given != (None if old is None else digest(old)):
        words = "The resource has been updated since it was loaded. Try again with an updated `compareDigest` value."
        return (words, "STALE_OBJECT")
    return None


def _set_error(path: tuple[str, ...], message: str, code: str, index: int | None = None) -> Json:
    return user_error(path, message, code, elementIndex=index)


def _not_deleted(message: str, code: str) -> Json:
    return {"deletedDefinitionId": None, "userErrors": [user_error(None, message, code)]}
