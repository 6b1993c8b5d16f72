"""Runs bulk operations in small pieces over time, from disk to disk.

By the shop's clock they run `bulk_rows_per_s` rows a second, or without a limit. Each call on the shop advances them by a
bounded piece (`settle`); a served world also advances them in the background.
"""

import json
import random
from array import array
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final

import msgspec

from reconciler.simulator.bulk.query import rows_of
from reconciler.simulator.bulk.records import Operation
from reconciler.simulator.bulk.uploads import DAY_S, Uploads
from reconciler.simulator.customers.reading.search import read_query
from reconciler.simulator.customers.reading.views import CustomerView
from reconciler.simulator.customers.records import SimCustomer
from reconciler.simulator.graphql.documents import Json, RefusedError, runnable
from reconciler.simulator.graphql.execution import Execution, has_scope
from reconciler.simulator.ledger import gid, offset_iso

RESULTS_KEPT_S: Final = 7 * DAY_S
MUTATION_S_MAX: Final = DAY_S
QUERY_S_MAX: Final = 10 * DAY_S
RUNNING: Final = frozenset({"CREATED", "RUNNING", "CANCELING"})


class BulkWork(Uploads):
    bulk_rows_per_s: float | None = None
    """None: no limit."""
    bulk_rows_per_look: int = 500
    """Lines of a mutation in one piece; a piece of a query has four times as many."""
    bulk_sort_drops: float = 0.02
    """The share of rows that a bulk query with sortKey UPDATED_AT loses."""

    def settle(self) -> None:
        super().settle()
        if self.settling:
            return  # each line of a bulk mutation is one call
        self.settling = True
        try:
            for operation in list(self.operations.values()):
                if operation.status in RUNNING:
                    self._move_on(operation)
                elif self._is_old(operation):
                    operation.status = "EXPIRED"
        finally:
            self.settling = False

    def _is_old(self, operation: Operation) -> bool:
        done = operation.completed_at
        return operation.status != "EXPIRED" and done is not None and self.now() - done > RESULTS_KEPT_S

    def _move_on(self, operation: Operation) -> None:
        if operation.status == "CANCELING":
            self._finish(operation, "CANCELED")
            return
        refused = self._refusal(operation)
        if refused is not None:
            self._finish(operation, "FAILED", refused)
            return
        operation.status = "RUNNING"
        budget = self.bulk_rows_per_look * (1 if operation.query is None else 4)
        if self.bulk_rows_per_s is not None:
            budget = min(budget, int((self.now() - operation.created_at) * self.bulk_rows_per_s) - operation.done)
        fault = operation.fault
        if fault is not None:
            budget = min(budget, fault.after_rows - operation.done)
        if budget > 0:
            pieces = (
                self._query_piece(operation, budget) if operation.query else self._mutation_piece(operation, budget)
            )
            ended = self._append(operation, pieces)
            if ended:
                self._finish(operation, "COMPLETED")
                return
        if fault is not None and operation.done >= fault.after_rows:
            self._finish(operation, fault.status, fault.error_code)
            return
        limit = MUTATION_S_MAX if operation.kind == "MUTATION" else QUERY_S_MAX
        if self.now() - operation.created_at > limit:
            self._finish(operation, "FAILED", "TIMEOUT")

    def _refusal(self, operation: Operation) -> str | None:
        query = operation.query
        if query is None:
            return None
        unapproved = self.unapproved_fields & query.selection.names
        return "ACCESS_DENIED" if unapproved or not has_scope(self.scopes, "read_customers") else None

    def _append(self, operation: Operation, pieces: tuple[list[list[bytes]], bool]) -> bool:
        """Append lines to the result. Returns whether all were written."""
        groups, ended = pieces
        if groups:
            if not operation.grouped:
                groups = [[line] for group in groups for line in group]
            random.Random(operation.number + operation.done).shuffle(groups)  # noqa: S311 - repeatable on purpose
            mode = "ab" if operation.path else "wb"  # a file of an earlier shop of this name may exist
            operation.path = operation.path or self.depot.place(f"{self.domain}/{operation.name}")
            with operation.path.open(mode) as file:
                operation.size += file.write(b"".join(line + b"\n" for group in groups for line in group))
        return ended

    def _query_piece(self, operation: Operation, budget: int) -> tuple[list[list[bytes]], bool]:
        assert operation.query is not None
        rand = random.Random(operation.number + operation.done)  # noqa: S311 - repeatable on purpose
        drops = self.bulk_sort_drops if operation.query.arguments.get("sort_key") == "UPDATED_AT" else 0.0
        found = list(islice(self._customers_left(operation), budget + 1))
        groups = []
        for mark, customer in found[:budget]:
            operation.done += 1
            operation.mark = mark
            if drops and rand.random() < drops:
                continue
            rows = rows_of(CustomerView(self, customer), operation.query.selection)
            operation.rows += len(rows)
            operation.roots += 1
            groups.append([_line(row) for row, _ in rows])
        return groups, len(found) <= budget

    def _customers_left(self, operation: Operation) -> Iterator[tuple[int, SimCustomer]]:
        """The remaining customers, each with the mark after which to continue."""
        assert operation.query is not None
        text = operation.query.arguments.get("query")
        if not text:
            for customer in self.people.after(operation.mark):
                yield customer.number, customer
            return
        if operation.numbers is None:
            found = self.matching(read_query(text, self.habits))
            operation.numbers = array("Q", (each.number for each in found))
        for index in range(operation.mark, len(operation.numbers)):
            known = self.people.by_number.get(operation.numbers[index])
            if known is not None:
                yield index + 1, known

    def _mutation_piece(self, operation: Operation, budget: int) -> tuple[list[list[bytes]], bool]:
        assert operation.source is not None
        if operation.lines is None:
            operation.lines = _line_starts(operation.source)
            operation.order = array("Q", range(len(operation.lines)))
            random.Random(operation.number).shuffle(operation.order)  # noqa: S311 - repeatable on purpose
        assert operation.order is not None
        groups = []
        with operation.source.open("rb") as file:
            for index in operation.order[operation.done : operation.done + budget]:
                file.seek(operation.lines[index])
                result = self._run_line(operation, file.readline())
                groups.append([_line(result | {"__lineNumber": index})])
                operation.done += 1
                operation.rows += 1
                operation.roots += 1
        return groups, operation.done >= len(operation.order)

    def _run_line(self, operation: Operation, text: bytes) -> Json:
        assert operation.document is not None
        try:
            variables = json.loads(text)
        except ValueError:
            return {"errors": [{"message": "Invalid JSON", "extensions": {"code": "INVALID_VARIABLE"}}]}
        if not isinstance(variables, dict):
            return {"errors": [{"message": "Variables must be an object", "extensions": {"code": "INVALID_VARIABLE"}}]}
        try:
            document = runnable(operation.document, variables)
        except RefusedError as refused:
            return {"errors": refused.errors}
        reply = Execution(self, {}).run(document, variables, f"bulk-{operation.number}")
        return {name: reply[name] for name in ("data", "errors") if name in reply}

    def _finish(self, operation: Operation, status: str, error_code: str | None = None) -> None:
        operation.status, operation.error_code, operation.completed_at = status, error_code, self.now()
        operation.numbers = operation.lines = operation.order = None
        self.tell("BULK_OPERATIONS_FINISH", lambda: _finish_body(operation))


def _line(row: Json) -> bytes:
    """A line as Shopify writes it, with escaped slashes."""
    try:
        line = msgspec.json.encode(row)
    except UnicodeEncodeError:  # a lone surrogate, which JSON can only write as an escape
        line = json.dumps(row, separators=(",", ":")).encode()
    return line.replace(b"/", b"\\/")


def _line_starts(path: Path) -> "array[int]":
    starts = array("Q")
    position = 0
    with path.open("rb") as file:
        for line in file:
            if line.strip():
                starts.append(position)
            position += len(line)
    return starts


def _finish_body(operation: Operation) -> Json:
    return {
        "admin_graphql_api_id": gid("BulkOperation", operation.number),
        "completed_at": None if operation.completed_at is None else offset_iso(operation.completed_at),
        "created_at": offset_iso(operation.created_at),
        "error_code": None if operation.error_code is None else operation.error_code.lower(),
        "status": operation.status.lower(),
        "type": operation.kind.lower(),
    }
