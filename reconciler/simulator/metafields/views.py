"""Metafields and their definitions as GraphQL returns them."""

import hashlib
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final

from reconciler.simulator.customers.reading.view import RecordView
from reconciler.simulator.customers.records import Metafield, SimCustomer, SimDefinition
from reconciler.simulator.graphql.documents import Json
from reconciler.simulator.ledger import Ledger, gid, iso
from reconciler.simulator.metafields.types import category
from reconciler.simulator.metafields.values import json_value
from reconciler.simulator.strange import spelling_of

UNIQUE: Final = frozenset({"id", "single_line_text_field", "url", "number_integer"})
"""Types with values that a definition may make unique."""


def digest(metafield: Metafield) -> str:
    """compareDigest: equal for equal value and type."""
    return hashlib.sha256(f"{metafield.type}\n{metafield.value}".encode("utf-8", "surrogatepass")).hexdigest()


class MetafieldView(RecordView[Metafield]):
    __slots__ = ("owner",)

    def __init__(self, ledger: Ledger, record: Metafield, owner: RecordView[SimCustomer]) -> None:
        super().__init__(ledger, record)
        self.owner = owner

    def definition(self) -> "DefinitionView | None":
        found = self.ledger.definitions.get(("CUSTOMER", *self.record.name))
        return None if found is None else DefinitionView(self.ledger, found)

    fields: ClassVar[Mapping[str, Callable[[Any], Any]]] = {
        "__typename": lambda _: "Metafield",
        "id": lambda view: gid("Metafield", view.record.number),
        "namespace": lambda view: view.record.namespace,
        "key": lambda view: view.record.key,
        "value": lambda view: spelling_of(view.ledger.habits.strange, view.record.type, view.record.value),
        "jsonValue": lambda view: json_value(view.record.type, view.record.value),
        "type": lambda view: view.record.type,
        "compareDigest": lambda view: digest(view.record),
        "createdAt": lambda view: iso(view.record.created_at),
        "updatedAt": lambda view: iso(view.record.updated_at),
        "ownerType": lambda _: "CUSTOMER",
        "owner": lambda view: view.owner,
        "definition": definition,
    }


class DefinitionView(RecordView[SimDefinition]):
    __slots__ = ()

    def metafields_count(self, validation_status: str | None = None) -> int:
        if validation_status == "INVALID" or self.record.owner_type != "CUSTOMER":
            return 0
        name = (self.record.namespace, self.record.key)
        index = self.ledger.people.unique.get(name)
        if index is not None:
            return len(index)
        return sum(1 for each in self.ledger.people if each.metafield(name) is not None)

    def capabilities(self) -> Json:
        status = "FILTERABLE" if self.record.filterable else "NOT_FILTERABLE"
        return {
            "uniqueValues": {"eligible": self.record.type in UNIQUE, "enabled": self.record.unique},
            "adminFilterable": {"eligible": True, "enabled": self.record.filterable, "status": status},
        }

    fields: ClassVar[Mapping[str, Callable[[Any], Any]]] = {
        "__typename": lambda _: "MetafieldDefinition",
        "id": lambda view: gid("MetafieldDefinition", view.record.number),
        "namespace": lambda view: view.record.namespace,
        "key": lambda view: view.record.key,
        "name": lambda view: view.record.name,
        "ownerType": lambda view: view.record.owner_type,
        "type": lambda view: {"name": view.record.type, "category": category(view.record.type)},
        "access": lambda view: view.record.access,
        "capabilities": capabilities,
        "metafieldsCount": lambda view: view.metafields_count,
        "validationStatus": lambda _: "ALL_VALID",
        "description": lambda view: view.record.description,
        "pinnedPosition": lambda view: view.record.pinned_position,
        "validations": lambda view: [
            {"name": name, "type": view.record.type, "value": value} for name, value in view.record.validations
        ],
    }
