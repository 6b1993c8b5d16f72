"""Cuts out of a recorded document what the simulator's excerpt of the schema does not have, and out of its reply."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from graphql import (
    REMOVE,
    ArgumentNode,
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLInputObjectType,
    GraphQLList,
    GraphQLNonNull,
    InlineFragmentNode,
    NonNullTypeNode,
    OperationDefinitionNode,
    SelectionSetNode,
    TypeInfo,
    TypeInfoVisitor,
    VariableDefinitionNode,
    VariableNode,
    Visitor,
    is_composite_type,
    parse,
    print_ast,
    type_from_ast,
    visit,
)

from reconciler.simulator.graphql.documents import load_schema

Json = dict[str, Any]
_EMPTY: Final = "__typename"


@dataclass(frozen=True, slots=True)
class Trimmed:
    """A document that the simulator can run, and what was cut to make it so."""

    text: str
    selections: SelectionSetNode
    fragments: Mapping[str, FragmentDefinitionNode]
    cut: tuple[str, ...]
    """Names of fields and arguments that were cut."""
    cut_objects: bool
    """Whether one of them had a selection of its own, so that the cost is another."""
    variables: frozenset[str]
    required: frozenset[str]
    """Of the variables those that must be given."""
    operation: OperationDefinitionNode

    def fitting(self, variables: Json) -> Json:
        """Variables without what the simulator's inputs do not have, and without those that nothing uses any more."""
        fitting: Json = {}
        for definition in self.operation.variable_definitions or ():
            name = definition.variable.name.value
            kind = type_from_ast(load_schema(), definition.type)
            if name in variables:
                fitting[name] = variables[name] if kind is None else _fitting(kind, variables[name])
        return fitting if self.cut else {**variables, **fitting}

    def project(self, data: Any) -> Any:
        """Of a recorded reply's data, what the trimmed document asks for."""
        return _project(data, (self.selections,), self.fragments)


def trim(text: str) -> Trimmed | None:
    """The document without what the simulator lacks; None where nothing of it is left."""
    ast = parse(text)
    cutter = _Cutter(TypeInfo(load_schema()))
    kept = visit(ast, TypeInfoVisitor(cutter.types, cutter))
    kept = _without_idle_variables(_without_empty(kept)) if cutter.cut else kept
    operations = [each for each in kept.definitions if isinstance(each, OperationDefinitionNode)]
    if not operations or not operations[0].selection_set.selections:
        return None
    fragments = {each.name.value: each for each in kept.definitions if isinstance(each, FragmentDefinitionNode)}
    variables = operations[0].variable_definitions or ()
    return Trimmed(
        print_ast(kept) if cutter.cut else text,
        operations[0].selection_set,
        fragments,
        tuple(cutter.cut),
        cutter.cut_objects,
        frozenset(each.variable.name.value for each in variables),
        frozenset(
            each.variable.name.value
            for each in variables
            if isinstance(each.type, NonNullTypeNode) and each.default_value is None
        ),
        operations[0],
    )


class _Cutter(Visitor):
    def __init__(self, types: TypeInfo) -> None:
        super().__init__()
        self.types = types
        self.cut: list[str] = []
        self.cut_objects = False

    def enter_field(self, node: FieldNode, *_: Any) -> Any:
        parent = self.types.get_parent_type()
        if parent is None or node.name.value.startswith("__type") or self.types.get_field_def() is not None:
            if node.name.value in {"__type", "__schema"}:
                self.cut.append(node.name.value)
                return REMOVE
            return None
        self.cut.append(node.name.value)
        self.cut_objects |= node.selection_set is not None
        return REMOVE

    def enter_argument(self, node: ArgumentNode, *_: Any) -> Any:
        if self.types.get_field_def() is None or self.types.get_argument() is not None:
            return None
        self.cut.append(f"({node.name.value}:)")
        return REMOVE

    def enter_inline_fragment(self, node: InlineFragmentNode, *_: Any) -> Any:
        condition = node.type_condition
        if condition is None or is_composite_type(load_schema().type_map.get(condition.name.value)):
            return None
        self.cut.append(f"... on {condition.name.value}")
        self.cut_objects |= any(
            isinstance(each, FieldNode) and each.selection_set for each in node.selection_set.selections
        )
        return REMOVE

    def enter_fragment_definition(self, node: FragmentDefinitionNode, *_: Any) -> Any:
        if node.type_condition.name.value in load_schema().type_map:
            return None
        self.cut.append(f"fragment {node.name.value}")
        self.cut_objects = True
        return REMOVE


def _fitting(kind: Any, value: Any) -> Any:
    if isinstance(kind, GraphQLNonNull):
        return _fitting(kind.of_type, value)
    if isinstance(kind, GraphQLList) and isinstance(value, list):
        return [_fitting(kind.of_type, each) for each in value]
    if isinstance(kind, GraphQLInputObjectType) and isinstance(value, dict):
        return {name: _fitting(kind.fields[name].type, each) for name, each in value.items() if name in kind.fields}
    return value


def _without_empty(ast: DocumentNode) -> DocumentNode:
    """Without selections that are empty by now, and spreads of fragments that are gone."""
    while True:
        known = {
            each.name.value
            for each in ast.definitions
            if isinstance(each, FragmentDefinitionNode) and each.selection_set.selections
        }
        cleaner = _Cleaner(known)
        ast = visit(ast, cleaner)
        if not cleaner.changed:
            return ast


class _Cleaner(Visitor):
    def __init__(self, known: set[str]) -> None:
        super().__init__()
        self.known = known
        self.changed = False

    def leave_field(self, node: FieldNode, *_: Any) -> Any:
        return self._remove(node.selection_set is not None and not node.selection_set.selections)

    def leave_inline_fragment(self, node: InlineFragmentNode, *_: Any) -> Any:
        return self._remove(not node.selection_set.selections)

    def leave_fragment_spread(self, node: FragmentSpreadNode, *_: Any) -> Any:
        return self._remove(node.name.value not in self.known)

    def leave_fragment_definition(self, node: FragmentDefinitionNode, *_: Any) -> Any:
        return self._remove(not node.selection_set.selections)

    def _remove(self, wanted: bool) -> Any:  # noqa: FBT001 - the whole question
        self.changed |= wanted
        return REMOVE if wanted else None


def _without_idle_variables(ast: DocumentNode) -> DocumentNode:
    used: set[str] = set()
    spread: set[str] = set()

    class Uses(Visitor):
        def enter_variable_definition(self, *_: Any) -> Any:
            return False

        def enter_variable(self, node: VariableNode, *_: Any) -> Any:
            used.add(node.name.value)

        def enter_fragment_spread(self, node: FragmentSpreadNode, *_: Any) -> Any:
            spread.add(node.name.value)

    visit(ast, Uses())

    class Idle(Visitor):
        def enter_variable_definition(self, node: VariableDefinitionNode, *_: Any) -> Any:
            return None if node.variable.name.value in used else REMOVE

        def enter_fragment_definition(self, node: FragmentDefinitionNode, *_: Any) -> Any:
            return None if node.name.value in spread else REMOVE

    return visit(ast, Idle())  # type: ignore[no-any-return]


def _project(data: Any, sets: tuple[SelectionSetNode, ...], fragments: Mapping[str, FragmentDefinitionNode]) -> Any:
    if isinstance(data, list):
        return [_project(each, sets, fragments) for each in data]
    if not isinstance(data, dict):
        return data
    wanted: dict[str, list[SelectionSetNode]] = {}
    for each in sets:
        _collect(each, fragments, wanted)
    return {
        key: _project(data[key], tuple(below), fragments) if below else data[key]
        for key, below in wanted.items()
        if key in data
    }


def _collect(
    selections: SelectionSetNode,
    fragments: Mapping[str, FragmentDefinitionNode],
    wanted: dict[str, list[SelectionSetNode]],
) -> None:
    for node in selections.selections:
        if isinstance(node, FieldNode):
            below = wanted.setdefault(node.alias.value if node.alias else node.name.value, [])
            if node.selection_set is not None:
                below.append(node.selection_set)
        elif isinstance(node, FragmentSpreadNode):
            _collect(fragments[node.name.value].selection_set, fragments, wanted)
        elif isinstance(node, InlineFragmentNode):
            _collect(node.selection_set, fragments, wanted)


def can_be_read(text: str) -> bool:
    try:
        parse(text)
    except GraphQLError:
        return False
    return True
