"""metafieldsSet with compare-and-set, metafieldsDelete, and metafields in inputs of the older mutations.

Schema descriptions and live replies of the Admin API, read 2026-11-23. Only customers own metafields here.
"""

import re
from dataclasses import dataclass
from typing import Final

from reconciler.simulator.customers.changes import CustomerChanges
from reconciler.simulator.customers.reading.views import CustomerView
from reconciler.simulator.customers.records import Metafield, SimCustomer
from reconciler.simulator.customers.validation import Draft, InputProblem
from reconciler.simulator.graphql.documents import Json
from reconciler.simulator.ledger import user_error
from reconciler.simulator.metafields.limits import check_limits
from reconciler.simulator.metafields.types import SET_TYPES
from reconciler.simulator.metafields.values import ValueFaultError, kept_value
from reconciler.simulator.metafields.views import MetafieldView, digest

SET_MAX: Final = 25
KEY_SIZES: Final = (2, 64)
NAMESPACE_SIZES: Final = (3, 255)
RESERVED: Final = frozenset({"protected", "shopify_standard", "shopify-l10n-fields"})
_WORD: Final = re.compile(r"[A-Za-z0-9_-]+")
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
NOT_YOURS: Final = "Access to this namespace and key on Metafields for this resource type is not allowed."
Writes = list[tuple[SimCustomer, Metafield]]


@dataclass(frozen=True, slots=True)
class MetafieldFault:
    """An error in an input: the field (None: the whole input), the message, and the code."""

    name: str | None
    message: str
    code: str | None
    element: int | None = None
    """The index inside the value, if that is a list."""


class Metafields(CustomerChanges):
    # --- values ---------------------------------------------------------------------------------------------------

    def metafields_set(self, metafields: list[Json]) -> Json:
        if len(metafields) > SET_MAX:
            message = f"Exceeded the maximum metafields input limit of {SET_MAX}."
            return {"metafields": None, "userErrors": [_set_error(("metafields",), message, "LESS_THAN_OR_EQUAL_TO")]}
        errors: list[Json] = []
        writes: Writes = []
        for index, each in enumerate(metafields):
            checked = self._checked(each, writes)
            if isinstance(checked, MetafieldFault):
                path = ("metafields", str(index), *([checked.name] if checked.name else []))
                errors.append(_set_error(path, checked.message, checked.code, checked.element))
            else:
                writes.append(checked)
        if errors:
            return {"metafields": [], "userErrors": errors}
        views = []
        for customer, metafield in writes:
            self._write(customer, metafield)
            kept = customer.metafield(metafield.name)
            assert kept is not None
            views.append(MetafieldView(self, kept, CustomerView(self, customer)))
        return {"metafields": views, "userErrors": []}

    def metafields_delete(self, metafields: list[Json]) -> Json:
        deleted: list[Json | None] = []
        if any(self.is_foreign(self.namespace(each["namespace"])) for each in metafields):
            return {"deletedMetafields": [], "userErrors": [user_error(("metafields",), NOT_YOURS)]}
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

    def remove_metafield(self, customer: SimCustomer, name: tuple[str, str]) -> None:
        self.remember(customer.number, customer)
        self.people.take_metafield(customer, name)
        self._bump(customer)

    def inline_metafields(self, customer: SimCustomer | None, given: Json, draft: Draft) -> tuple[Metafield, ...]:
        """The metafields in an input of customerCreate or customerUpdate; an existing one must have its id."""
        made = []
        for index, each in enumerate(given.get("metafields") or ()):
            path = ("metafields", str(index))
            if customer is None and each.get("id") is not None:
                draft.problems.append(InputProblem((*path, "id"), "Cannot specify metafield ID on creation"))
                continue
            name, old = self._inline_name(customer, each)
            if name is None:
                draft.problems.append(InputProblem((*path, "key"), "Key can't be blank"))
                continue
            if old is not None and each.get("id") is None:
                words = "Key must be unique within this namespace on this resource"
                draft.problems.append(InputProblem((*path, "key"), words))
                continue
            read = self._read(customer, name, each.get("value") or "", each.get("type"), old)
            if isinstance(read, MetafieldFault):
                draft.problems.append(InputProblem((*path, read.name or "value"), read.message))
            else:
                made.append(read)
        return tuple(made)

    def _inline_name(
        self, customer: SimCustomer | None, given: Json
    ) -> tuple[tuple[str, str] | None, Metafield | None]:
        owned = customer.metafields if customer is not None else ()
        if given.get("id") is not None:
            number = self.number_of(given["id"], "Metafield")
            old = next((each for each in owned if each.number == number), None)
            return (None if old is None else old.name), old
        if not given.get("key"):
            return None, None
        name = (self.namespace(given.get("namespace")), given["key"])
        return name, next((each for each in owned if each.name == name), None)

    def _checked(self, given: Json, writes: Writes) -> tuple[SimCustomer, Metafield] | MetafieldFault:
        """The owner and metafield of one input, or the error."""
        customer = self.find(given["ownerId"])
        if customer is None:
            return MetafieldFault("ownerId", "Owner does not exist.", "INVALID_VALUE")
        name = (self.namespace(given.get("namespace")), given["key"])
        if name[0] in RESERVED:
            return MetafieldFault("namespace", f"Namespace {name[0]} is a reserved namespace", None)
        if self.is_foreign(name[0]):
            return MetafieldFault(None, NOT_YOURS, "APP_NOT_AUTHORIZED")
        faults = size_faults(name)
        if faults:
            return faults[0]
        old = customer.metafield(name)
        if "compareDigest" in given:
            stale = _digest_fault(given["compareDigest"], old)
            if stale is not None:
                return stale
        read = self._read(customer, name, given["value"], given.get("type"), old, writes)
        return read if isinstance(read, MetafieldFault) else (customer, read)

    def _read(
        self,
        customer: SimCustomer | None,
        name: tuple[str, str],
        value: str,
        type_name: str | None,
        old: Metafield | None,
        writes: Writes | None = None,
    ) -> Metafield | MetafieldFault:
        """The metafield as stored, or the error in its type or value."""
        definition = self.definitions.get(("CUSTOMER", *name))
        type_name = type_name or (definition.type if definition else (old.type if old else None))
        if type_name is None:
            return MetafieldFault("type", "Type can't be blank", "BLANK")
        if type_name not in SET_TYPES:
            return MetafieldFault("type", f"Type must be one of the following: {', '.join(SET_TYPES)}.", "INCLUSION")
        if definition is not None and type_name != definition.type:
            words = f"Type '{type_name}' must be consistent with the definition's type: '{definition.type}'."
            return MetafieldFault("type", words, "INVALID_TYPE")
        try:
            kept = kept_value(type_name, value, self._exists)
            check_limits(type_name, kept, definition.validations if definition else ())
        except ValueFaultError as fault:
            return MetafieldFault("value", fault.message, "INVALID_VALUE", fault.element)
        if self._is_taken(customer, name, kept, writes or []):
            return MetafieldFault("value", "Value has already been taken.", self.habits.unique_metafield_code)
        return self.new_metafield(name, kept, type_name)

    def _is_taken(self, customer: SimCustomer | None, name: tuple[str, str], value: str, writes: Writes) -> bool:
        """Whether another customer has this value of a unique metafield, or gets it in the same call."""
        if name not in self.people.unique:
            return False
        owner = self.people.with_unique(name, value)
        rivals = [each for each, other in writes if other.name == name and other.value == value]
        return (owner is not None and owner is not customer) or any(each is not customer for each in rivals)

    def _exists(self, identifier: str) -> bool:
        """Whether a referenced resource exists; only customers are checked."""
        kind, _, number = identifier.removeprefix("gid://shopify/").partition("/")
        return kind != "Customer" or int(number) in self.people.by_number

    def is_foreign(self, namespace: str) -> bool:
        """Whether a namespace is reserved for another app."""
        own = f"app--{self.app_id}"
        return namespace.startswith("app--") and namespace != own and not namespace.startswith(f"{own}--")

    def _write(self, customer: SimCustomer, metafield: Metafield) -> None:
        old = customer.metafield(metafield.name)
        if old is not None and (old.value, old.type) == (metafield.value, metafield.type):
            return
        self.remember(customer.number, customer)
        self.people.put_metafield(customer, metafield)
        self._bump(customer)

    def _bump(self, customer: SimCustomer) -> None:
        if self.habits.metafields_bump_updated_at:
            customer.updated_at = self.now()
            self.emit_update(customer)


def size_faults(name: tuple[str, str]) -> list[MetafieldFault]:
    """The errors in the lengths of a namespace and key."""
    found = []
    for label, text, (low, high) in (("namespace", name[0], NAMESPACE_SIZES), ("key", name[1], KEY_SIZES)):
        words = label.capitalize()
        if not text:
            found.append(MetafieldFault(label, f"{words} can't be blank", "BLANK"))
        elif len(text) < low:
            found.append(MetafieldFault(label, f"{words} is too short (minimum is {low} characters)", "TOO_SHORT"))
        elif len(text) > high:
            found.append(MetafieldFault(label, f"{words} is too long (maximum is {high} characters)", "TOO_LONG"))
    return found


def character_faults(name: tuple[str, str]) -> list[MetafieldFault]:
    """The errors in the characters of a definition's namespace and key. Other metafields allow them."""
    return [
        MetafieldFault(label, f"{label.capitalize()} contains one or more invalid characters.", "INVALID_CHARACTER")
        for label, text in zip(("namespace", "key"), name, strict=True)
        if text and not _WORD.fullmatch(text)
    ]


def _digest_fault(given: str | None, old: Metafield | None) -> MetafieldFault | None:
    """Whether the digest matches; null matches only a missing metafield."""
    if given is not None and not _DIGEST.fullmatch(given):
        return MetafieldFault("compareDigest", "The compareDigest is invalid.", "INVALID_COMPARE_DIGEST")
    if given != (None if old is None else digest(old)):
        words = "The resource has been updated since it was loaded. Try again with an updated `compareDigest` value."
        return MetafieldFault(None, words, "STALE_OBJECT")
    return None


def _set_error(path: tuple[str, ...], message: str, code: str | None, element: int | None = None) -> Json:
    return user_error(path, message, code, elementIndex=element)
