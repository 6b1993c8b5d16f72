"""Parses and validates GraphQL documents, with Shopify's error messages, before anything runs.

It uses the schema excerpt and no shop. The wording (`wording.py`) is
that of graphql-ruby, which Shopify runs (INVALID_VARIABLE and the like: live replies, read 2026-11-23).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import resources
from typing import Any, Final

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLEnumType,
    GraphQLError,
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLSchema,
    GraphQLSyntaxError,
    InlineFragmentNode,
    ListValueNode,
    OperationDefinitionNode,
    SelectionSetNode,
    Visitor,
    build_schema,
    parse,
    print_ast,
    type_from_ast,
    validate,
    visit,
)
from graphql.pyutils import Undefined

from reconciler.simulator.graphql.wording import is_global_id, locations_of, strange_ids, validation_error

ARRAY_MAX: Final = 250
Json = dict[str, Any]


@lru_cache(maxsize=1)
def load_schema() -> GraphQLSchema:
    """The excerpt in `schema.graphql`."""
    return build_schema(resources.files("reconciler.simulator").joinpath("schema.graphql").read_text("utf-8"))


class RefusedError(Exception):
    """A document or its variables were refused: the reply has `errors` and no `data`."""

    def __init__(self, *errors: Json) -> None:
        super().__init__(errors[0]["message"])
        self.errors = list(errors)


@dataclass(frozen=True, slots=True)
class ParsedDocument:
    """A valid document with the operation to run."""

    ast: DocumentNode
    operation: OperationDefinitionNode
    fragments: Mapping[str, FragmentDefinitionNode]
    roots: tuple[str, ...]
    longest_list: int
    name: str | None = field(default=None)

    @property
    def kind(self) -> str:
        return str(self.operation.operation.value)


@lru_cache(maxsize=1024)
def prepare(text: str, operation_name: str | None = None) -> ParsedDocument | tuple[Json, ...]:
    """The document, or the errors that refuse it; cached by its text, as clients send few different ones."""
    try:
        ast = parse(text)
    except GraphQLSyntaxError as error:
        return (
            {"message": _syntax(error, text), "locations": locations_of(error), "extensions": {"code": "PARSE_ERROR"}},
        )
    errors = validate(load_schema(), ast)
    if errors:
        return tuple(validation_error(error, ast, load_schema()) for error in errors)
    strange = strange_ids(ast, load_schema())
    if strange:
        return strange
    operations = [node for node in ast.definitions if isinstance(node, OperationDefinitionNode)]
    if operation_name is not None:
        operations = [node for node in operations if node.name is not None and node.name.value == operation_name]
    if not operations:
        return ({"message": f'No operation named "{operation_name}"' if operation_name else "No operation found"},)
    if len(operations) > 1:
        return ({"message": "An operation name is required"},)
    fragments = {node.name.value: node for node in ast.definitions if isinstance(node, FragmentDefinitionNode)}
    roots = tuple(dict.fromkeys(_roots(operations[0].selection_set, fragments)))
    return ParsedDocument(ast, operations[0], fragments, roots, _longest_list(ast), operation_name)


def _roots(selection_set: SelectionSetNode, fragments: Mapping[str, FragmentDefinitionNode]) -> list[str]:
    found: list[str] = []
    for node in selection_set.selections:
        if isinstance(node, FieldNode):
            found.append(node.name.value)
        elif isinstance(node, InlineFragmentNode):
            found += _roots(node.selection_set, fragments)
        elif isinstance(node, FragmentSpreadNode):
            found += _roots(fragments[node.name.value].selection_set, fragments)
    return found


def _longest_list(ast: DocumentNode) -> int:
    longest = 0

    class Lists(Visitor):
        def enter_list_value(self, node: ListValueNode, *_args: Any) -> None:
            nonlocal longest
            longest = max(longest, len(node.values))

    visit(ast, Lists())
    return longest


def _syntax(error: GraphQLError, text: str) -> str:
    """The position of the last token, for a document that ends too early."""
    if "<EOF>" in error.message:
        words = list(re.finditer(r"\w+|\S", text))
        if not words:
            return "syntax error, unexpected end of file"
        before = text[: words[-1].start()]
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        return f"syntax error, unexpected end of file at [{line}, {column}]"
    place = error.locations[0] if error.locations else None
    where = f" at [{place.line}, {place.column}]" if place else ""
    return f"syntax error, {error.message.removeprefix('Syntax Error: ')}{where}"


# --- variables ----------------------------------------------------------------------------------------------------


def runnable(document: ParsedDocument | tuple[Json, ...], variables: Json) -> ParsedDocument:
    """The document for these variables. RefusedError with Shopify's messages if it can't run."""
    if not isinstance(document, ParsedDocument):
        raise RefusedError(*document)
    if document.longest_list > ARRAY_MAX:
        raise RefusedError(_too_long(document, document.longest_list))
    for definition in document.operation.variable_definitions or ():
        kind = type_from_ast(load_schema(), definition.type)
        name = definition.variable.name.value
        if kind is None or (name not in variables and definition.default_value is not None):
            continue
        value = variables.get(name, Undefined)
        problems = _problems(kind, value, [])
        if problems:
            raise RefusedError(_invalid(name, print_ast(definition.type), value, problems, definition))
        length = _longest(value)
        if length > ARRAY_MAX:
            raise RefusedError(_too_long(document, length))
    return document


def _too_long(document: ParsedDocument, length: int) -> Json:
    return {
        "message": f"The input array size of {length} is greater than the maximum allowed of {ARRAY_MAX}.",
        "path": list(document.roots[:1]),
        "extensions": {"code": "MAX_INPUT_SIZE_EXCEEDED"},
    }


def _invalid(name: str, kind: str, value: Any, problems: list[Json], node: Any) -> Json:
    said = ", ".join(
        f"{'.'.join(str(step) for step in problem['path'])} ({problem['explanation']})"
        for problem in problems
        if problem["path"]
    )
    return {
        "message": f"Variable ${name} of type {kind} was provided invalid value" + (f" for {said}" if said else ""),
        "locations": locations_of(GraphQLError("", node)),
        "extensions": {
            "code": "INVALID_VARIABLE",
            "value": None if value is Undefined else value,
            "problems": problems,
        },
    }


def _longest(value: Any) -> int:
    if isinstance(value, list):
        return max(len(value), *(_longest(element) for element in value)) if value else 0
    if isinstance(value, Mapping):
        return max((_longest(element) for element in value.values()), default=0)
    return 0


def _problem(path: list[str | int], explanation: str) -> list[Json]:
    return [{"path": path, "explanation": explanation}]


def _problems(kind: GraphQLInputType | Any, value: Any, path: list[str | int]) -> list[Json]:
    missing = value is None or value is Undefined
    if isinstance(kind, GraphQLNonNull):
        return _problem(path, "Expected value to not be null") if missing else _problems(kind.of_type, value, path)
    if missing:
        return []
    if isinstance(kind, GraphQLList):
        if not isinstance(value, list):
            return _problems(kind.of_type, value, path)
        return [found for i, item in enumerate(value) for found in _problems(kind.of_type, item, [*path, i])]
    return _object_problems(kind, value, path) if isinstance(kind, GraphQLInputObjectType) else _leaf(kind, value, path)


def _leaf(kind: Any, value: Any, path: list[str | int]) -> list[Json]:
    if isinstance(kind, GraphQLEnumType):
        known = isinstance(value, str) and value in kind.values
        return [] if known else _problem(path, f'Expected "{value}" to be one of: {", ".join(kind.values)}')
    if kind.name == "ID" and isinstance(value, str) and not is_global_id(value):
        words = f"Invalid global id '{value}'"
        return [{"path": path, "explanation": words, "message": words}]
    return [] if _fits(kind.name, value) else _problem(path, f"Could not coerce value {_ruby(value)} to {kind.name}")


def _object_problems(kind: GraphQLInputObjectType, value: Any, path: list[str | int]) -> list[Json]:
    if not isinstance(value, Mapping):
        return _problem(path, f"Expected {_ruby(value)} to be a key-value object.")
    found: list[Json] = []
    for key in value:
        if key not in kind.fields:
            found += _problem([*path, key], f"Field is not defined on {kind.name}")
    for key, input_field in kind.fields.items():
        if key in value or input_field.default_value is Undefined:
            found += _problems(input_field.type, value.get(key, Undefined), [*path, key])
    if not found and getattr(kind, "is_one_of", False):
        if len(value) != 1:
            many = "was" if len(value) == 1 else "were"
            return _problem(path, f"'{kind.name}' requires exactly one argument, but {len(value)} {many} provided.")
        key, only = next(iter(value.items()))
        if only is None:
            return _problem([*path, key], f"'{kind.name}' requires exactly one argument, but '{key}' was `null`.")
    return found


def _fits(scalar: str, value: Any) -> bool:
    if scalar == "Boolean":
        return isinstance(value, bool)
    if scalar == "Int":
        return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 31
    if scalar == "Float":
        return isinstance(value, int | float) and not isinstance(value, bool)
    if scalar == "String":
        return isinstance(value, str)
    if scalar == "ID":
        return isinstance(value, str | int) and not isinstance(value, bool)
    return scalar == "JSON" or not isinstance(value, Mapping | list)


def _ruby(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)
