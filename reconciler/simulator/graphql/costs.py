"""What a GraphQL call costs, and the leaky bucket that pays for it.

The requested cost is computed before a document runs, and the actual cost after it, from the schema and the reply.

The formula was fitted to thousands of live replies (Shopify Admin API, read 2026-11-23 and 2026-11-29): a connection
costs 2 + (1 + nested objects) x max(1, int(2 ln n)) for n = first or last, and 2 for none; a mutation 10, with its
payload and the payload's own objects and userErrors free; any other object 1; pageInfo, MoneyV2, defaultAddress, consent
objects, and a webhook's version and endpoint nothing; counts 10.

What comes back is cheaper only by the nodes that a page lacks: each gives back its share of 2 ln n. pageInfo beside `nodes`
keeps the share of a second node. An empty page gives back its edges and what is nested, but not its nodes.
A null object is charged, but not its content.
"""

import math
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLInterfaceType,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLSchema,
    InlineFragmentNode,
    IntValueNode,
    ListValueNode,
    OperationDefinitionNode,
    OperationType,
    SelectionSetNode,
    ValueNode,
    VariableNode,
    get_named_type,
    is_abstract_type,
    is_leaf_type,
)

COST_MAX: Final = 1000
MUTATION_COST: Final = 10
COUNT_COST: Final = 10
CONNECTION_COST: Final = 2
FREE_TYPES: Final = frozenset(
    {
        "PageInfo", "MoneyV2", "ApiVersion", "CustomerEmailMarketingConsentState", "CustomerSmsMarketingConsentState",
        "WebhookSubscriptionEndpoint",
    }
)  # fmt: skip
FREE_FIELDS: Final = frozenset({"defaultAddress"})
SLACK: Final = 0.2
"""A share of a point up to this size is not charged."""
ABSENT: Final = object()


def page_weight(size: int) -> int:
    """How many times the content of one node is charged for a page of `size` nodes."""
    return 0 if size <= 0 else max(1, math.floor(2 * math.log(size)))


@dataclass(frozen=True, slots=True)
class CostModel:
    """Costs of one schema's documents. `charge_per_id`: `nodes(ids:)` costs per id (that it is flat is not certain)."""

    schema: GraphQLSchema
    charge_per_id: bool = False

    def request_cost(
        self,
        operation: OperationDefinitionNode,
        fragments: Mapping[str, FragmentDefinitionNode],
        variables: Mapping[str, Any],
    ) -> int:
        return _Walk(self, fragments, variables).operation(operation, ABSENT)

    def actual(
        self,
        operation: OperationDefinitionNode,
        fragments: Mapping[str, FragmentDefinitionNode],
        variables: Mapping[str, Any],
        data: Mapping[str, Any] | None,
    ) -> int:
        """The actual cost: connections by the returned nodes; never more than requested."""
        return _Walk(self, fragments, variables).operation(operation, data or {})


@dataclass(frozen=True, slots=True)
class _Walk:
    model: CostModel
    fragments: Mapping[str, FragmentDefinitionNode]
    variables: Mapping[str, Any]

    def operation(self, operation: OperationDefinitionNode, data: Any) -> int:
        root = self.model.schema.get_root_type(operation.operation)
        if root is None:
            return 0
        if operation.operation is not OperationType.MUTATION:
            return self.selections(operation.selection_set, root, data)
        cost = 0
        for field in self.fields(operation.selection_set):
            payload = get_named_type(root.fields[field.name.value].type)
            inner = self.selections(field.selection_set, payload, _at(data, field), free=True)
            cost += MUTATION_COST + inner
        return cost

    def fields(self, selection_set: SelectionSetNode) -> list[FieldNode]:
        """The fields of a concrete type's selection, with fragments expanded."""
        found: list[FieldNode] = []
        for node in selection_set.selections:
            if isinstance(node, FieldNode):
                if not node.name.value.startswith("__"):
                    found.append(node)
            elif isinstance(node, InlineFragmentNode):
                found += self.fields(node.selection_set)
            elif isinstance(node, FragmentSpreadNode):
                found += self.fields(self.fragments[node.name.value].selection_set)
        return found

    def selections(
        self, selection_set: SelectionSetNode | None, parent: GraphQLNamedType, data: Any, *, free: bool = False
    ) -> int:
        """The cost of an object's content; for an abstract type, of the dearest member. `free`: objects cost nothing."""
        if selection_set is None:
            return 0
        common = 0
        members: dict[str, int] = {}
        for node in selection_set.selections:
            if isinstance(node, FieldNode):
                common += self.field(node, parent, data, free=free)
                continue
            fragment = node if isinstance(node, InlineFragmentNode) else self.fragments[_name(node)]
            condition = fragment.type_condition
            narrowed = self.model.schema.type_map[condition.name.value] if condition else parent
            inner = self.selections(fragment.selection_set, narrowed, data, free=free)
            if is_abstract_type(parent) and not is_abstract_type(narrowed):
                members[narrowed.name] = members.get(narrowed.name, 0) + inner
            else:
                common += inner
        return common + max(members.values(), default=0)

    def field(self, node: FieldNode, parent: GraphQLNamedType, data: Any, *, free: bool) -> int:
        name = node.name.value
        if name.startswith("__") or not isinstance(parent, GraphQLObjectType | GraphQLInterfaceType):
            return 0
        kind = get_named_type(parent.fields[name].type)
        if is_leaf_type(kind) or kind.name in FREE_TYPES or name in FREE_FIELDS:
            return 0
        if kind.name == "Count":
            return COUNT_COST
        value = _at(data, node)
        if kind.name.endswith("Connection") and isinstance(kind, GraphQLObjectType):
            return self.connection(node, kind, value)
        own = 0 if free else 1
        if self.model.charge_per_id and name == "nodes" and parent is self.model.schema.query_type:
            own *= max(1, self.length(node, "ids"))
        return own + self._inner(node.selection_set, kind, value)

    def connection(self, node: FieldNode, kind: GraphQLObjectType, value: Any) -> int:
        """The cost of a page: the content of its nodes, for the requested nodes less the missing ones."""
        per_node = 0
        returned = 0
        fields = self.fields(node.selection_set) if node.selection_set else []
        names = {field.name.value for field in fields}
        for field in fields:
            rows = _at(value, field)
            if field.name.value == "nodes":
                inner = self._inner(field.selection_set, get_named_type(kind.fields["nodes"].type), rows)
            elif field.name.value == "edges":
                edge = get_named_type(kind.fields["edges"].type)
                inner = self._edges(field, edge, rows)
            else:
                continue
            per_node += 1 + inner
            returned = max(returned, len(rows) if isinstance(rows, list) else 0)
        asked = max(self.integer(node, "first"), self.integer(node, "last"))
        weight = page_weight(asked)
        if value is None:
            return CONNECTION_COST
        if value is ABSENT:
            return CONNECTION_COST + per_node * weight
        if not returned:
            return CONNECTION_COST + (weight if "nodes" in names else 0)
        used = max(returned, 2) if {"nodes", "pageInfo"} <= names else returned
        share = per_node * 2 * math.log(asked) * used / asked if asked > 1 else per_node
        return CONNECTION_COST + min(per_node * weight, math.ceil(share - SLACK))

    def _edges(self, field: FieldNode, edge: GraphQLNamedType, rows: Any) -> int:
        if field.selection_set is None or not isinstance(edge, GraphQLObjectType):
            return 0
        inner = 0
        for node in self.fields(field.selection_set):
            if node.name.value == "node":
                rows_of_node = ABSENT if rows is ABSENT else [_at(row, node) for row in rows or []]
                inner += self._inner(node.selection_set, get_named_type(edge.fields["node"].type), rows_of_node)
        return inner

    def _inner(self, selection_set: SelectionSetNode | None, kind: GraphQLNamedType, value: Any) -> int:
        """For a list the cost of its most expensive element; for null 0."""
        if value is None:
            return 0
        if isinstance(value, list):
            return max((self._inner(selection_set, kind, element) for element in value), default=0)
        return self.selections(selection_set, kind, value)

    def argument(self, node: FieldNode, name: str) -> ValueNode | None:
        return next((argument.value for argument in node.arguments or () if argument.name.value == name), None)

    def integer(self, node: FieldNode, name: str) -> int:
        value = self.argument(node, name)
        if isinstance(value, IntValueNode):
            return int(value.value)
        found = self.variables.get(value.name.value) if isinstance(value, VariableNode) else None
        return found if isinstance(found, int) else 0

    def length(self, node: FieldNode, name: str) -> int:
        value = self.argument(node, name)
        if isinstance(value, ListValueNode):
            return len(value.values)
        found = self.variables.get(value.name.value) if isinstance(value, VariableNode) else None
        return len(found) if isinstance(found, list) else 1


def _name(node: Any) -> str:
    return str(node.name.value)


def _at(data: Any, node: FieldNode) -> Any:
    """The returned value of a field: ABSENT before execution, None if it is null or missing."""
    if data is ABSENT:
        return ABSENT
    key = node.alias.value if node.alias else node.name.value
    return data.get(key) if isinstance(data, Mapping) else None


class Bucket:
    """A leaky bucket of points, for one shop and one app. Thread-safe."""

    def __init__(self, clock: Callable[[], float], *, size: float = 2000, restore_rate: float = 100) -> None:
        self.size = size
        self.restore_rate = restore_rate
        self.throttled = 0
        self.spent = 0
        self._clock = clock
        self._available = float(size)
        self._at = clock()
        self._neighbour_rate = 0.0
        self._lock = threading.Lock()

    def take(self, points: float) -> bool:
        """Take the points if there are enough. Returns whether they were taken."""
        with self._lock:
            self._restore()
            if self._available < points:
                self.throttled += 1
                return False
            self._available -= points
            self.spent += int(points)
            return True

    def refund(self, points: float) -> None:
        with self._lock:
            self._restore()
            self._available = min(self.size, self._available + points)
            self.spent -= int(points)

    def neighbour(self, points_per_s: float) -> None:
        """Simulate another program that uses the same bucket at this rate from now on; 0 ends it."""
        with self._lock:
            self._restore()
            self._neighbour_rate = points_per_s

    def drain(self, points: float | None = None) -> None:
        """Remove points as another program would; all of them by default."""
        with self._lock:
            self._restore()
            self._available = 0.0 if points is None else max(0.0, self._available - points)

    def status(self) -> dict[str, float]:
        with self._lock:
            self._restore()
            return {
                "maximumAvailable": float(self.size),
                "currentlyAvailable": math.floor(self._available),
                "restoreRate": float(self.restore_rate),
            }

    def _restore(self) -> None:
        now = self._clock()
        passed = max(0.0, now - self._at)
        self._at = now
        net = (self.restore_rate - self._neighbour_rate) * passed
        self._available = max(0.0, min(self.size, self._available + net))


def cost_report(requested: int, actual: int | None, bucket: Bucket) -> dict[str, Any]:
    """`extensions.cost` of a reply."""
    return {"requestedQueryCost": requested, "actualQueryCost": actual, "throttleStatus": bucket.status()}
