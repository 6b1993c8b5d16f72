"""Bulk queries: checks whether a query may run, and produces its lines.

Shopify's pages on bulk operations and live replies, read 2026-11-23: one to five connections, two deep, `edges{node}`
only, parents with their unaliased `id`; `first` is ignored; nested rows carry `__parentId`.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLInterfaceType,
    GraphQLObjectType,
    InlineFragmentNode,
    SelectionSetNode,
    get_named_type,
    is_leaf_type,
    value_from_ast_untyped,
)

from reconciler.simulator.graphql.documents import Json, ParsedDocument, load_schema, prepare
from reconciler.simulator.graphql.execution import snake

CONNECTIONS_MAX: Final = 5
DEPTH_MAX: Final = 2
BYTES_MAX: Final = 65_535
WITHOUT_CONNECTION: Final = "Bulk queries must contain at least one connection."
PARENT: Final = "__parentId"
Row = tuple[Json, bool]
"""A line, and whether it is a root object."""


class BulkQueryError(Exception):
    """The query can't run as a bulk operation; the messages are Shopify's."""

    def __init__(self, *messages: str) -> None:
        super().__init__(*messages)
        self.messages = messages


@dataclass(slots=True)
class Selection:
    """The selection of one type: fields with their readers, and nested connections."""

    plain: list[tuple[str, str, Json, "Selection | None"]] = field(default_factory=list)
    """Response key, field, arguments, and the selection of an object."""
    connections: list[tuple[str, Json, "Selection"]] = field(default_factory=list)
    names: set[str] = field(default_factory=set)
    """All field names, to check them against the approved ones."""


@dataclass(frozen=True, slots=True)
class BulkQuery:
    """A query over customers that may run."""

    text: str
    arguments: Json
    selection: Selection


def read_bulk_query(text: str) -> BulkQuery:
    """The query, or BulkQueryError."""
    size = len(text.encode())
    if size > BYTES_MAX:
        raise BulkQueryError(f"Query is too large ({size} bytes; maximum is {BYTES_MAX} bytes)")
    document = prepare(text)
    if not isinstance(document, ParsedDocument):
        raise BulkQueryError(f"Invalid bulk query: {document[0]['message']}")
    if document.kind != "query":
        raise BulkQueryError("Invalid operation type. Only `query` operations are supported.")
    points = [
        f"Bulk queries cannot contain a top level `{name}` field."
        for name in ("node", "nodes")
        if name in document.roots
    ]
    reader = _Reader(document.fragments)
    query_type = load_schema().query_type
    assert query_type is not None
    root = reader.selection(document.operation.selection_set, query_type, 0, "")
    if points:
        raise BulkQueryError(*points, *([] if reader.count else [WITHOUT_CONNECTION]))
    reader.check()
    if [name for name, _, _ in root.connections] != ["customers"] or root.plain:
        raise BulkQueryError("Bulk queries of this simulated shop take exactly one top level connection: customers.")
    _, arguments, selection = root.connections[0]
    return BulkQuery(text, arguments, selection)


def count_connections(document: ParsedDocument) -> int:
    """The number of connections in a document."""
    reader = _Reader(document.fragments)
    root = load_schema().get_root_type(document.operation.operation)
    reader.selection(document.operation.selection_set, root, 0, "")
    return reader.count


class _Reader:
    def __init__(self, fragments: Mapping[str, FragmentDefinitionNode]) -> None:
        self.fragments = fragments
        self.count = 0
        self.depth = 0
        self.without_edges: list[str] = []
        self.without_id: list[str] = []
        self.in_objects: list[str] = []
        """Connections inside plain objects, which bulk operations do not follow."""

    def check(self) -> None:
        if self.count == 0:
            raise BulkQueryError(WITHOUT_CONNECTION)
        if self.count > CONNECTIONS_MAX:
            raise BulkQueryError(f"Bulk queries cannot contain more than {CONNECTIONS_MAX} connections.")
        if self.depth > DEPTH_MAX:
            message = f"Bulk queries cannot contain connections with a nesting depth greater than {DEPTH_MAX}."
            raise BulkQueryError(message)
        if self.without_edges:
            named = ", ".join(f"'{name}'" for name in self.without_edges)
            raise BulkQueryError(
                "All connection fields in a bulk query must select their contents using 'edges' > 'node', e.g: "
                f"'{self.without_edges[0]} {{ edges {{ node {{'. Selecting via 'nodes' is not supported. "
                f"Invalid connection fields: {named}."
            )
        if self.in_objects:
            named = ", ".join(self.in_objects)
            raise BulkQueryError(f"This simulated shop follows connections of nodes only, not of objects: {named}.")
        if self.without_id:
            raise BulkQueryError(
                "The parent 'node' field for a nested connection must select the 'id' field without an alias and must "
                f"be of 'ID' return type. Connection fields without 'id': {', '.join(self.without_id)}."
            )

    def fields(self, selection_set: SelectionSetNode | None, kind: Any) -> Iterator[tuple[FieldNode, Any]]:
        """The selected fields with their parent types, with fragments expanded."""
        for node in selection_set.selections if selection_set is not None else ():
            if isinstance(node, FieldNode):
                yield node, kind
                continue
            fragment = self.fragments[node.name.value] if isinstance(node, FragmentSpreadNode) else node
            assert isinstance(fragment, InlineFragmentNode | FragmentDefinitionNode)
            condition = fragment.type_condition
            narrowed = kind if condition is None else load_schema().type_map[condition.name.value]
            yield from self.fields(fragment.selection_set, narrowed)

    def selection(self, selection_set: SelectionSetNode | None, kind: Any, depth: int, where: str) -> Selection:
        found = Selection()
        for node, parent in self.fields(selection_set, kind):
            name = node.name.value
            found.names.add(name)
            arguments = {snake(each.name.value): value_from_ast_untyped(each.value) for each in node.arguments or ()}
            key = node.alias.value if node.alias else name
            if name == "__typename" or not isinstance(parent, GraphQLObjectType | GraphQLInterfaceType):
                found.plain.append((key, name, {}, None))
                continue
            inner = get_named_type(parent.fields[name].type)
            if inner.name.endswith("Connection"):
                found.connections.append((name, arguments, self.connection(node, inner, depth + 1)))
            elif is_leaf_type(inner):
                found.plain.append((key, name, arguments, None))
            else:
                below = self.selection(node.selection_set, inner, depth, "")
                self.in_objects += [each for each, _, _ in below.connections]
                found.names |= below.names
                found.plain.append((key, name, arguments, below))
        if where and found.connections and not any(key == name == "id" for key, name, _, _ in found.plain):
            self.without_id.append(where)
        return found

    def connection(self, node: FieldNode, kind: Any, depth: int) -> Selection:
        self.count += 1
        self.depth = max(self.depth, depth)
        name = node.name.value
        below = [each for each, _ in self.fields(node.selection_set, kind)]
        inside = [
            each for edge in below if edge.name.value == "edges" for each, _ in self.fields(edge.selection_set, kind)
        ]
        nodes = [each for each in inside if each.name.value == "node"]
        if not nodes or any(each.name.value == "nodes" for each in below):
            self.without_edges.append(name)
            return Selection()
        element = get_named_type(get_named_type(kind.fields["edges"].type).fields["node"].type)
        return self.selection(nodes[0].selection_set, element, depth, name)


def rows_of(source: Any, selection: Selection) -> list[Row]:
    """The line of one root object, and the lines of its nested objects."""
    row = values_of(source, selection)
    rows: list[Row] = [(row, True)]
    for name, arguments, below in selection.connections:
        parent = {PARENT: row["id"]}
        rows += [(values_of(node, below) | parent, False) for node in _all_nodes(source[name], arguments)]
    return rows


def values_of(source: Any, selection: Selection) -> Json:
    made: Json = {}
    for key, name, arguments, below in selection.plain:
        value = source.get(name)
        if callable(value):
            value = value(**arguments)
        made[key] = value if below is None or value is None else values_of(value, below)
    return made


def _all_nodes(connection: Callable[..., Json], arguments: Json) -> Iterator[Any]:
    """Every node; the page arguments are ignored."""
    given = {name: value for name, value in arguments.items() if name not in {"first", "last", "after", "before"}}
    after: str | None = None
    while True:
        page = connection(first=250, after=after, **given)
        yield from page["nodes"]
        if not page["pageInfo"]["hasNextPage"]:
            return
        after = page["pageInfo"]["endCursor"]
