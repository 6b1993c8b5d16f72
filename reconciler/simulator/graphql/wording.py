"""Translates validation errors to the messages of graphql-ruby, which Shopify uses.

Live replies of the Admin API, read 2026-11-23 and 2026-11-29.
"""

import re
from dataclasses import dataclass
from typing import Any, Final

from graphql import (
    ArgumentNode,
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    GraphQLError,
    GraphQLSchema,
    Node,
    ObjectFieldNode,
    OperationDefinitionNode,
    StringValueNode,
    TypeInfo,
    TypeInfoVisitor,
    Visitor,
    get_named_type,
    print_ast,
    visit,
)

Json = dict[str, Any]
_GLOBAL_ID: Final = re.compile(r"gid://[\w-]+/\w+/.+")

# Messages of graphql-core and those of Shopify: pattern, message, code, names of the groups in `extensions`.
_WORDS: Final = (
    (
        r"Cannot query field '(?P<fieldName>\w+)' on type '(?P<typeName>\w+)'",
        "Field '{fieldName}' doesn't exist on type '{typeName}'",
        "undefinedField",
    ),
    (
        r"Argument '(?:\w+\.)?(?P<name>\w+)\((?P<arguments>\w+):\)' of type '.+' is required",
        "Field '{name}' is missing required arguments: {arguments}",
        "missingRequiredArguments",
    ),
    (
        r"Field '(?P<name>\w+)' argument '(?P<arguments>\w+)' of type '.+' is required",
        "Field '{name}' is missing required arguments: {arguments}",
        "missingRequiredArguments",
    ),
    (
        r"Unknown argument '(?P<argumentName>\w+)' on field '\w+\.(?P<name>\w+)'",
        "Field '{name}' doesn't accept argument '{argumentName}'",
        "argumentNotAccepted",
    ),
    (
        r"Field '(?P<fieldName>\w+)' of type '(?P<typeName>.+)' must have a selection",
        "Field must have selections (field '{fieldName}' returns {typeName} but has no selections.)",
        "selectionMismatch",
    ),
    (
        r"Variable '\$(?P<variableName>\w+)' of type '(?P<typeName>.+)' used in position expecting type '(?P<want>.+)'",
        "Type mismatch on variable ${variableName} and argument ({typeName} / {want})",
        "variableMismatch",
    ),
    (
        r"Variable '\$(?P<variableName>\w+)' is never used",
        "Variable ${variableName} is declared by {operation} but not used",
        "variableNotUsed",
    ),
    (
        r"Variable '\$(?P<variableName>\w+)' is not defined",
        "Variable ${variableName} is used by {operation} but not declared",
        "variableNotDefined",
    ),
    (r"Unknown type '(?P<typeName>\w+)'", "{typeName} isn't a defined input type (on $variable)", "undefinedType"),
    (
        r"Expected value of type '(?P<typeName>\w+)' not to include unknown field '(?P<argumentName>\w+)'",
        "InputObject '{typeName}' doesn't accept argument '{argumentName}'",
        "argumentNotAccepted",
    ),
    (
        r"Expected value of type '(?P<inputObjectType>\w+)' to include required field '(?P<argumentName>\w+)'",
        "Argument '{argumentName}' on InputObject '{inputObjectType}' is required.",
        "missingRequiredInputObjectAttribute",
    ),
    (
        r"(?:Within )?OneOf Input Object (?:type )?'(?P<inputObjectType>\w+)',? ",
        "'{inputObjectType}' requires exactly one argument.",
        "invalidOneOfInputObject",
    ),
)
_LITERAL: Final = re.compile(r"cannot represent|does not exist in|Expected value of")


@dataclass(frozen=True, slots=True)
class ErrorPlace:
    """The position of a node: its path, and the argument that contains it, if any."""

    path: list[str]
    argument: tuple[str, str, str, str, str] | None
    """Kind and name of the argument's owner, the argument's name, its value as written, and its type."""


def is_global_id(text: str) -> bool:
    return _GLOBAL_ID.fullmatch(text) is not None


def locations_of(error: GraphQLError) -> list[Json]:
    return [{"line": place.line, "column": place.column} for place in error.locations or ()]


def validation_error(error: GraphQLError, ast: DocumentNode, schema: GraphQLSchema) -> Json:
    """An error of graphql-core with Shopify's message."""
    place = _place(error.nodes[0] if error.nodes else None, ast, schema)
    more: Json = {"path": place.path} if place.path else {}
    operation = place.path[0].partition(" ")[2] if place.path else ""
    for pattern, message, code in _WORDS:
        found = re.match(pattern, error.message)
        if found:
            groups = found.groupdict() | {"operation": operation or "anonymous query"}
            details = {key: value for key, value in found.groupdict().items() if key != "want"}
            extensions = {"code": code, **details, **_owner(code, details)}
            return {
                "message": message.format(**groups), "locations": locations_of(error), **more, "extensions": extensions
            }  # fmt: skip
    if place.argument is not None and _LITERAL.search(error.message):
        kind, name, argument, value, wanted = place.argument
        text = f"Argument '{argument}' on {kind} '{name}' has an invalid value ({value}). Expected type '{wanted}'."
        extensions = {"code": "argumentLiteralsIncompatible", "typeName": kind, "argumentName": argument}
        return {"message": text, "locations": locations_of(error), **more, "extensions": extensions}
    return {"message": error.message, "locations": locations_of(error), **more}


def _owner(code: str, details: Json) -> Json:
    """The members of `extensions` about the owner of an unknown or missing argument."""
    if code == "missingRequiredArguments":
        return {"className": "Field"}
    if code != "argumentNotAccepted":
        return {}
    if "typeName" in details:
        return {"name": details["typeName"], "typeName": "InputObject"}
    return {"typeName": "Field"}


def strange_ids(ast: DocumentNode, schema: GraphQLSchema) -> tuple[Json, ...]:
    """Errors for literal ids in a document that are not global ids."""
    types = TypeInfo(schema)
    found: list[Json] = []

    class Ids(Visitor):
        def enter_string_value(self, node: StringValueNode, *_: Any) -> None:
            kind = types.get_input_type()
            if kind is None or get_named_type(kind).name != "ID" or is_global_id(node.value):
                return
            error = GraphQLError(f"Invalid global id '{node.value}'", node)
            found.append(
                {
                    "message": error.message,
                    "locations": locations_of(error),
                    "path": _place(node, ast, schema).path,
                    "extensions": {"code": "argumentLiteralsIncompatible", "typeName": "CoercionError"},
                }
            )

    visit(ast, TypeInfoVisitor(types, Ids()))
    return tuple(found)


def _place(target: Node | None, ast: DocumentNode, schema: GraphQLSchema) -> ErrorPlace:
    """The position of a node in a document."""
    types = TypeInfo(schema)
    arguments: list[tuple[str, str, str, str, str]] = []
    places: list[ErrorPlace] = []

    class Search(Visitor):
        def enter(self, node: Node, _key: Any, parent: Any, _path: Any, ancestors: list[Any]) -> None:
            above = [*ancestors, parent]
            if isinstance(node, ArgumentNode | ObjectFieldNode):
                arguments.append(_described(node, types, above))
            if node is target:
                places.append(ErrorPlace(_path_of([*above, node]), arguments[-1] if arguments else None))

        def leave(self, node: Node, *_: Any) -> None:
            if isinstance(node, ArgumentNode | ObjectFieldNode):
                arguments.pop()

    visit(ast, TypeInfoVisitor(types, Search()))
    return places[0] if places else ErrorPlace([], None)


def _described(node: ArgumentNode | ObjectFieldNode, types: TypeInfo, ancestors: list[Any]) -> Any:
    owner = types.get_parent_input_type() if isinstance(node, ObjectFieldNode) else None
    fields = [each for each in ancestors if isinstance(each, FieldNode)]
    name = get_named_type(owner).name if owner is not None else (fields[-1].name.value if fields else "")
    kind = "Field" if isinstance(node, ArgumentNode) else "InputObject"
    return (kind, name, node.name.value, print_ast(node.value), str(types.get_input_type()))


def _path_of(nodes: list[Any]) -> list[str]:
    path: list[str] = []
    for node in nodes:
        if isinstance(node, OperationDefinitionNode):
            path.append(f"{node.operation.value} {node.name.value}" if node.name else node.operation.value)
        elif isinstance(node, FragmentDefinitionNode):
            path.append(f"fragment {node.name.value}")
        elif isinstance(node, FieldNode):
            path.append(node.alias.value if node.alias else node.name.value)
        elif isinstance(node, ArgumentNode | ObjectFieldNode):
            path.append(node.name.value)
    return path
