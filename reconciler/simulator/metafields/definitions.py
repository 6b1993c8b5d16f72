"""Creates, changes, deletes, pins and lists metafield definitions. The values of type `id` are unique.

Schema descriptions and live replies of the Admin API, read 2026-11-23 and 2026-11-29.
"""

from typing import Any, Final

from graphql import GraphQLError

from reconciler.simulator.customers.records import SimDefinition
from reconciler.simulator.graphql.documents import Json
from reconciler.simulator.graphql.execution import SCOPES_PAGE
from reconciler.simulator.graphql.paging import page_of
from reconciler.simulator.graphql.search_notes import note
from reconciler.simulator.ledger import gid, top_level, user_error
from reconciler.simulator.metafields.definition_options import option_errors, text_errors, validations
from reconciler.simulator.metafields.definition_search import SORTS, by_number, is_found, warnings
from reconciler.simulator.metafields.mutations import Metafields, character_faults, size_faults
from reconciler.simulator.metafields.types import DEFINITION_TYPES
from reconciler.simulator.metafields.views import UNIQUE, DefinitionView

DEFINITIONS_MAX: Final = 256
PINNED_MAX: Final = 50
PINNED_WORDS: Final = f"Limit of {PINNED_MAX} pinned definitions."
SHOPIFYS: Final = "shopify"
"""A namespace in which only Shopify creates definitions."""
NO_ACCESS: Final = (
    "API client to have access to the namespace and the resource type associated with the metafield definition.\n"
)


class Definitions(Metafields):
    def metafield_definition_create(self, definition: Json) -> Json:
        name = (self.namespace(definition.get("namespace")), definition["key"])
        self._refuse_foreign("metafieldDefinitionCreate", name[0])
        errors = self._definition_errors(definition, name)
        unique = definition["type"] == "id" or _wants(definition, "uniqueValues") is True
        if not errors and unique and definition["ownerType"] == "CUSTOMER" and not self.people.watch_unique(name):
            message = "Metafields with this namespace and key have values that are not unique."
            errors = [user_error(("definition",), message, "UNSTRUCTURED_ALREADY_EXISTS")]
        if errors:
            return {"createdDefinition": None, "userErrors": errors}
        made = SimDefinition(
            self.next_number(),
            definition["ownerType"],
            *name,
            definition["type"],
            definition["name"],
            description=definition.get("description"),
            unique=unique,
            filterable=_wants(definition, "adminFilterable") is True,
            access=_access(definition, name[0]),
            validations=validations(definition),
            pinned_position=self._next_pin(definition["ownerType"]) if definition.get("pin") else None,
        )
        self.definitions[(made.owner_type, *name)] = made
        return {"createdDefinition": DefinitionView(self, made), "userErrors": []}

    def metafield_definition_update(self, definition: Json) -> Json:
        self._refuse_foreign("metafieldDefinitionUpdate", self.namespace(definition.get("namespace")))
        found = self._definition(definition)
        errors = [user_error(("definition",), "Definition not found.", "NOT_FOUND")]
        if found is not None:
            errors = self._update_errors(definition, found)
        if found is None or errors:
            return {"updatedDefinition": None, "userErrors": errors, "validationJob": None}
        found.name = definition.get("name") or found.name
        if "description" in definition:
            found.description = definition["description"]
        job = None
        if definition.get("validations") is not None and validations(definition) != found.validations:
            found.validations = validations(definition)
            job = self.new_job()
        if definition.get("pin") is True and found.pinned_position is None:
            found.pinned_position = self._next_pin(found.owner_type)
        elif definition.get("pin") is False:
            self._unpin(found)
        return {"updatedDefinition": DefinitionView(self, found), "userErrors": [], "validationJob": job}

    def metafield_definition_pin(self, definition_id: str | None = None, identifier: Json | None = None) -> Json:
        found = self._definition(identifier) if identifier is not None else self._definition_by_id(definition_id)
        error = None
        if found is None:
            error = user_error(None, "Definition not found.", "NOT_FOUND")
        elif found.pinned_position is not None:
            error = user_error(None, "Definition already pinned.", "ALREADY_PINNED")
        elif self._pins(found.owner_type) >= PINNED_MAX:
            error = user_error(None, PINNED_WORDS, "PINNED_LIMIT_REACHED")
        if found is None or error is not None:
            return {"pinnedDefinition": None, "userErrors": [error]}
        found.pinned_position = self._next_pin(found.owner_type)
        return {"pinnedDefinition": DefinitionView(self, found), "userErrors": []}

    def metafield_definition_unpin(self, definition_id: str | None = None, identifier: Json | None = None) -> Json:
        found = self._definition(identifier) if identifier is not None else self._definition_by_id(definition_id)
        error = None
        if found is None:
            error = user_error(None, "Definition not found.", "NOT_FOUND")
        elif found.pinned_position is None:
            error = user_error(None, f"Definition {found.number} isn't pinned.", "NOT_PINNED")
        if found is None or error is not None:
            return {"unpinnedDefinition": None, "userErrors": [error]}
        self._unpin(found)
        return {"unpinnedDefinition": DefinitionView(self, found), "userErrors": []}

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
        if not delete_all_associated_metafields:
            refused = self._orphans_refused(found)
            if refused is not None:
                return refused
        elif found.owner_type == "CUSTOMER":
            for customer in [each for each in self.people if each.metafield(name) is not None]:
                self.people.take_metafield(customer, name)
        if found.owner_type == "CUSTOMER":
            self.people.unique.pop(name, None)
        self._unpin(found)
        del self.definitions[(found.owner_type, *name)]
        return {
            "deletedDefinitionId": gid("MetafieldDefinition", found.number),
            "deletedDefinition": {"ownerType": found.owner_type, "namespace": name[0], "key": name[1]},
            "userErrors": [],
        }

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
        """Sorted by id, by name, or pinned ones first (the latest first); RELEVANCE is by id here."""
        wanted = None if namespace is None else self.namespace(namespace)
        rows = [
            each
            for each in self.definitions.values()
            if each.owner_type == owner_type
            and (wanted is None or each.namespace == wanted)
            and (key is None or each.key == key)
            and (pinned_status == "ANY" or (each.pinned_position is not None) == (pinned_status == "PINNED"))
            and is_found(each, query)
            and constraint_status != "CONSTRAINED_ONLY"
        ]
        value = SORTS.get(sort_key, by_number)
        page = page_of(
            sorted(rows, key=lambda each: (value(each), each.number if sort_key != "PINNED_POSITION" else -each.number)),
            key=lambda each: (None if value is by_number else value(each), each.number),
            view=lambda each: DefinitionView(self, each),
            first=first, last=last, after=after, before=before, reverse=reverse, by_number=value is by_number,
        )  # fmt: skip
        return page | {"__search": note(query or "", warnings(query))}

    # --- steps ----------------------------------------------------------------------------------------------------

    def _definition(self, named: Json) -> SimDefinition | None:
        return self.definitions.get((named["ownerType"], self.namespace(named.get("namespace")), named["key"]))

    def _definition_by_id(self, identifier: str | None) -> SimDefinition | None:
        if identifier is None:
            raise top_level("One of id or identifier must be given.", "BAD_REQUEST")
        number = self.number_of(identifier, "MetafieldDefinition")
        return next((each for each in self.definitions.values() if each.number == number), None)

    def _refuse_foreign(self, root: str, namespace: str) -> None:
        """A top-level error for a namespace in which only another app or Shopify creates definitions."""
        if not self.is_foreign(namespace) and namespace != SHOPIFYS:
            return
        raise GraphQLError(
            f"Access denied for {root} field. Required access: {NO_ACCESS}",
            extensions={"code": "ACCESS_DENIED", "documentation": SCOPES_PAGE, "requiredAccess": NO_ACCESS},
        )

    def _pins(self, owner_type: str) -> int:
        return sum(
            1
            for each in self.definitions.values()
            if each.owner_type == owner_type and each.pinned_position is not None
        )

    def _next_pin(self, owner_type: str) -> int:
        return self._pins(owner_type) + 1

    def _unpin(self, found: SimDefinition) -> None:
        """Remove a pin; later pins move up."""
        place, found.pinned_position = found.pinned_position, None
        for each in self.definitions.values() if place is not None else ():
            if each.owner_type == found.owner_type and (each.pinned_position or 0) > (place or 0):
                each.pinned_position = (each.pinned_position or 1) - 1

    def _orphans_refused(self, found: SimDefinition) -> Json | None:
        """Why a definition can't be deleted without its metafields."""
        if found.type == "id":
            message = "Deleting an id type metafield definition requires deletion of its associated metafields."
            return _not_deleted(message, "ID_TYPE_DELETION_ERROR")
        if found.type.endswith("_reference"):
            message = "Deleting a reference type metafield definition requires deletion of its associated metafields."
            return _not_deleted(message, "REFERENCE_TYPE_DELETION_ERROR")
        if found.namespace.startswith("app--"):
            words = "Deleting a definition in a reserved namespace must have deleteAllAssociatedMetafields set to true."
            return _not_deleted(words, "RESERVED_NAMESPACE_ORPHANED_METAFIELDS")
        return None

    def _update_errors(self, given: Json, found: SimDefinition) -> list[Json]:
        errors = text_errors(given)
        if (given.get("access") or {}).get("admin") is not None and not found.namespace.startswith("app--"):
            errors.append(user_error(("definition",), _ADMIN_WORDS, "INVALID_INPUT"))
        if not errors and given.get("validations"):
            errors = option_errors(found.type, given)
        pins = given.get("pin") is True and found.pinned_position is None
        if not errors and pins and self._pins(found.owner_type) >= PINNED_MAX:
            errors = [user_error(("definition",), PINNED_WORDS, "PINNED_LIMIT_REACHED")]
        return errors

    def _definition_errors(self, given: Json, name: tuple[str, str]) -> list[Json]:
        """The errors of a new definition: in its name, then its type and options, then existing definitions."""
        faults = size_faults(name) or character_faults(name)
        errors = [user_error(("definition", str(each.name)), each.message, each.code) for each in faults]
        errors += text_errors(given)
        return errors or self._kind_errors(given, name) or self._limit_errors(given, name)

    def _kind_errors(self, given: Json, name: tuple[str, str]) -> list[Json]:
        if given["type"] not in DEFINITION_TYPES:
            words = f"Type name {given['type']} is not a valid type. Valid types are: {', '.join(DEFINITION_TYPES)}."
            return [user_error(("definition", "type"), words, "INCLUSION")]
        if given["type"] == "id" and _wants(given, "uniqueValues") is False:
            words = "Capability unique_values is required for type id but is disabled"
            return [user_error(("definition",), words, "CAPABILITY_REQUIRED_BUT_DISABLED")]
        if _wants(given, "uniqueValues") and given["type"] not in UNIQUE:
            words = "The capability unique_values is not valid for this definition."
            return [user_error(("definition",), words, "INVALID_CAPABILITY")]
        admin = (given.get("access") or {}).get("admin")
        if admin is not None and not name[0].startswith(f"app--{self.app_id}"):
            return [user_error(("definition",), _ADMIN_WORDS, "INVALID")]
        return option_errors(given["type"], given)

    def _limit_errors(self, given: Json, name: tuple[str, str]) -> list[Json]:
        mine = [each for each in self.definitions.values() if each.owner_type == given["ownerType"]]
        if sum(1 for each in mine if each.namespace != SHOPIFYS) >= DEFINITIONS_MAX:
            words = f"Stores can only have {DEFINITIONS_MAX} definitions for each store resource."
            return [user_error(("definition",), words, "RESOURCE_TYPE_LIMIT_EXCEEDED")]
        if (given["ownerType"], *name) in self.definitions:
            owner = given["ownerType"].replace("_", " ").capitalize()
            words = f"Key is in use for {owner} metafields on the '{name[0]}' namespace."
            return [user_error(("definition", "key"), words, "TAKEN")]
        if given.get("pin") and self._pins(given["ownerType"]) >= PINNED_MAX:
            return [user_error(("definition",), PINNED_WORDS, "PINNED_LIMIT_REACHED")]
        return []


_ADMIN_WORDS: Final = 'Setting this access control is not permitted. It must be one of ["public_read_write"].'


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
    return {"deletedDefinitionId": None, "deletedDefinition": None, "userErrors": [user_error(None, message, code)]}
