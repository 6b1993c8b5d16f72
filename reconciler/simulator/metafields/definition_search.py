"""Finds and sorts metafield definitions."""

from collections.abc import Callable
from typing import Any, Final

from reconciler.simulator.customers.records import SimDefinition
from reconciler.simulator.graphql.documents import Json
from reconciler.simulator.graphql.search_notes import invalid_field

SEARCHED: Final = frozenset({"namespace", "key", "type"})


def by_number(_definition: SimDefinition) -> Any:
    return None


SORTS: Final[dict[str, Callable[[SimDefinition], Any]]] = {
    "NAME": lambda each: each.name,
    "PINNED_POSITION": lambda each: -(each.pinned_position or 0),
}


def is_found(definition: SimDefinition, query: str | None) -> bool:
    """Whether the words occur in name, namespace and key; a term with an unknown field matches everything."""
    text = f"{definition.name} {definition.namespace} {definition.key}".casefold()
    for term in (query or "").split():
        name, colon, value = term.partition(":")
        if colon and name in SEARCHED:
            if getattr(definition, name).casefold() != value.strip("\"'").casefold():
                return False
        elif not colon and term.casefold() not in text:
            return False
    return True


def warnings(query: str | None) -> list[Json]:
    names = [term.partition(":")[0] for term in (query or "").split() if ":" in term]
    return [invalid_field(name) for name in names if name not in SEARCHED]
