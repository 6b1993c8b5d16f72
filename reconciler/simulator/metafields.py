"""Metafields: metafieldsSet with compare-and-set, metafieldsDelete, and those in an input of the older mutations.

Schema descriptions and live replies of the Admin API, read 2026-11-23. Only customers own metafields here.
"""

import json
import re
from collections.abc import Callable
from typing import Final

from reconciler.simulator.changes import Changes
from reconciler.simulator.documents import Json
from reconciler.simulator.examine import Draft, Problem
from reconciler.simulator.ledger import user_error
from reconciler.simulator.metafield_views import MetafieldView, digest
from reconciler.simulator.records import Customer, Metafield
from reconciler.simulator.views import CustomerView

SET_MAX: Final = 25
ID_BYTES_MAX: Final = 2048
KEY_SIZES: Final = (2, 64)
NAMESPACE_SIZES: Final = (3, 255)
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


class Metafields(Changes):
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
            views.append(MetafieldView(self, kept, CustomerView(self, customer)))
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
        fault = name_fault(name)
        if fault is not None:
            return error(*fault)
        if self._is_foreign(name[0]):
            return error("namespace", NOT_YOURS, "APP_NOT_AUTHORIZED")
        old = customer.metafield(name)
        if "compareDigest" in given:
            stale = _digest_fault(given["compareDigest"], old)
            if stale is not None:
                return error("compareDigest", *stale)
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


def name_fault(name: tuple[str, str]) -> tuple[str, str, str] | None:
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
