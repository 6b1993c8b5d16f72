"""Bulk operations: queries over all customers, and one mutation for each line of an uploaded file.

They run over the shop's clock, `bulk_rows_per_s` rows a second, or as fast as they are looked at; each call moves them on
(`settle`), a bounded piece at a time, and a served world also does it by itself. Files are written and read piece by
piece. Shopify's pages on bulk operations and live replies, read 2026-11-23.
"""

import json
import random
from array import array
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Final

import msgspec

from reconciler.simulator.bulk_query import BulkQueryError, count_connections, read_bulk_query, rows_of
from reconciler.simulator.bulk_records import BulkFault, Operation
from reconciler.simulator.depot import RESULTS
from reconciler.simulator.documents import Document, Json, RefusedError, prepare, runnable
from reconciler.simulator.execution import Execution, has_scope
from reconciler.simulator.ledger import gid, iso, offset_iso, user_error
from reconciler.simulator.paging import paged
from reconciler.simulator.records import Customer
from reconciler.simulator.search import read_query
from reconciler.simulator.uploads import DAY_S, Uploads
from reconciler.simulator.views import CustomerView

AT_ONCE_MAX: Final = 5
RESULTS_KEPT_S: Final = 7 * DAY_S
MUTATION_S_MAX: Final = DAY_S
QUERY_S_MAX: Final = 10 * DAY_S
BYTES_MAX: Final = 65_535
RUNNING: Final = frozenset({"CREATED", "RUNNING", "CANCELING"})
NO_FILE: Final = (
    "The JSONL file could not be found. Try uploading the file again, and check that you've entered the URL correctly "
    "for the stagedUploadPath mutation argument."
)


class Bulk(Uploads):
    bulk_rows_per_s: float | None = None
    """None: as fast as it is looked at."""
    bulk_rows_per_look: int = 500
    """So many lines of a mutation are run when somebody looks; of a query, twenty times as many."""
    bulk_sort_drops: float = 0.02
    """The share of rows that a bulk query with sortKey UPDATED_AT loses."""

    # --- root fields ----------------------------------------------------------------------------------------------

    def bulk_operation_run_query(self, query: str, *, group_objects: bool = False) -> Json:
        try:
            wanted = read_bulk_query(query)
        except BulkQueryError as error:
            return _not_run([user_error(("query",), str(error), "INVALID")])
        busy = self._busy("QUERY", "query")
        if busy is not None:
            return _not_run([busy])
        operation = self._start(Operation(self.next_number(), "QUERY", query, self.now()))
        operation.query, operation.grouped = wanted, group_objects
        return {"bulkOperation": self._operation_view(operation), "userErrors": []}

    def bulk_operation_run_mutation(
        self, mutation: str, staged_upload_path: str, client_identifier: str | None = None, group_objects: bool = True  # noqa: FBT001, FBT002 - Shopify's arguments
    ) -> Json:  # fmt: skip
        del client_identifier, group_objects  # of no effect on what is run
        document, error = _bulk_mutation(mutation)
        if document is None:
            return _not_run([error])
        source = self.uploaded(staged_upload_path)
        if source is None or not source.exists():
            return _not_run([user_error(("stagedUploadPath",), NO_FILE, "NO_SUCH_FILE")])
        busy = self._busy("MUTATION", "mutation")
        if busy is not None:
            return _not_run([busy])
        if not source.stat().st_size:
            message = "The input file is empty."
            return _not_run([user_error(("stagedUploadPath",), message, "INVALID_STAGED_UPLOAD_FILE")])
        operation = self._start(Operation(self.next_number(), "MUTATION", mutation, self.now()))
        operation.document, operation.source = document, source
        return {"bulkOperation": self._operation_view(operation), "userErrors": []}

    def bulk_operation_cancel(self, id: str) -> Json:  # noqa: A002 - Shopify's name
        operation = self.operations.get(self.number_of(id, "BulkOperation"))
        if operation is None:
            return _not_run([user_error(("id",), "Bulk operation does not exist")])
        if operation.status not in RUNNING:
            message = f"A bulk operation cannot be canceled when it is {operation.status.lower()}"
            return {
                "bulkOperation": self._operation_view(operation), "userErrors": [user_error(None, message)]
            }  # fmt: skip
        operation.status = "CANCELING"
        return {"bulkOperation": self._operation_view(operation), "userErrors": []}

    def bulk_operation(self, id: str) -> Json | None:  # noqa: A002 - Shopify's name
        operation = self.operations.get(self.number_of(id, "BulkOperation"))
        return None if operation is None else self._operation_view(operation)

    def bulk_operations(
        self,
        first: int | None = None,
        last: int | None = None,
        after: str | None = None,
        before: str | None = None,
        query: str | None = None,
        sort_key: str = "CREATED_AT",
        *,
        reverse: bool = False,
    ) -> Json:
        """`query` reads status, operation_type and id; other fields are ignored with a warning."""
        del sort_key  # in the order of creation
        rows, warnings = list(self.operations.values()), []
        for term in (query or "").split():
            name, _, value = term.partition(":")
            wanted = value.strip("\"'").lower()
            if name == "status":
                rows = [each for each in rows if each.status.lower() == wanted]
            elif name == "operation_type":
                rows = [each for each in rows if each.kind.lower() == wanted]
            elif name == "id":
                rows = [each for each in rows if str(each.number) == wanted.rpartition("/")[2]]
            else:
                warning = {
                    "field": name, "message": "Invalid search field for this query.", "code": "invalid_field"
                }  # fmt: skip
                warnings.append(warning)
        page = paged(
            rows,
            key=lambda each: (None, each.number),
            view=self._operation_view,
            first=first, last=last, after=after, before=before, reverse=reverse,
        )  # fmt: skip
        return page | ({"__search": {"query": query, "parsed": {}, "warnings": warnings}} if warnings else {})

    def other_node(self, kind: str, number: int) -> Any:
        if kind == "BulkOperation":
            operation = self.operations.get(number)
            return None if operation is None else self._operation_view(operation)
        return super().other_node(kind, number)

    # --- for tests and demos --------------------------------------------------------------------------------------

    def staff_bulk_fault(
        self, status: str = "FAILED", error_code: str | None = "INTERNAL_SERVER_ERROR", after_rows: int = 0
    ) -> Json:
        """The next operation ends like this, after so many rows."""
        if status not in {"FAILED", "CANCELED"}:
            raise ValueError(f"an operation can be made FAILED or CANCELED, not {status}")
        self.bulk_faults.append(BulkFault(status, error_code if status == "FAILED" else None, after_rows))
        return {"pending": len(self.bulk_faults)}

    def result_file(self, name: str) -> Path | None:
        """The file behind a `url`, while it is kept."""
        self.settle()
        for each in self.operations.values():
            if each.name == name and each.path is not None and each.status not in RUNNING | {"EXPIRED"}:
                return each.path
        return None

    def bulk_is_running(self) -> bool:
        return any(each.status in RUNNING for each in self.operations.values())

    # --- time goes on ---------------------------------------------------------------------------------------------

    def settle(self) -> None:
        super().settle()
        if self.settling:
            return  # a line of a bulk mutation is a call of its own
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
            self._end(operation, "CANCELED")
            return
        refused = self._refusal(operation)
        if refused is not None:
            self._end(operation, "FAILED", refused)
            return
        operation.status = "RUNNING"
        budget = self.bulk_rows_per_look * (1 if operation.query is None else 20)
        if self.bulk_rows_per_s is not None:
            budget = min(budget, int((self.now() - operation.created_at) * self.bulk_rows_per_s) - operation.done)
        fault = operation.fault
        if fault is not None:
            budget = min(budget, fault.after_rows - operation.done)
        if budget > 0:
            pieces = (
                self._query_piece(operation, budget) if operation.query else self._mutation_piece(operation, budget)
            )
            ended = self._write(operation, pieces)
            if ended:
                self._end(operation, "COMPLETED")
                return
        if fault is not None and operation.done >= fault.after_rows:
            self._end(operation, fault.status, fault.error_code)
            return
        limit = MUTATION_S_MAX if operation.kind == "MUTATION" else QUERY_S_MAX
        if self.now() - operation.created_at > limit:
            self._end(operation, "FAILED", "TIMEOUT")

    def _refusal(self, operation: Operation) -> str | None:
        query = operation.query
        if query is None:
            return None
        unapproved = self.unapproved_fields & query.selection.names
        return "ACCESS_DENIED" if unapproved or not has_scope(self.scopes, "read_customers") else None

    def _write(self, operation: Operation, pieces: tuple[list[list[bytes]], bool]) -> bool:
        """Add lines to the result; whether that was all."""
        groups, ended = pieces
        if groups:
            if not operation.grouped:
                groups = [[line] for group in groups for line in group]
            random.Random(operation.number + operation.done).shuffle(groups)  # noqa: S311 - repeatable on purpose
            operation.path = operation.path or self.depot.place(f"{self.domain}/{operation.name}")
            with operation.path.open("ab") as file:
                operation.size += file.write(b"".join(line + b"\n" for group in groups for line in group))
        return ended

    def _query_piece(self, operation: Operation, budget: int) -> tuple[list[list[bytes]], bool]:
        assert operation.query is not None
        rand = random.Random(operation.number + operation.done)  # noqa: S311 - repeatable on purpose
        drops = self.bulk_sort_drops if operation.query.arguments.get("sort_key") == "UPDATED_AT" else 0.0
        found = list(islice(self._customers_left(operation), budget + 1))
        groups = []
        for customer in found[:budget]:
            operation.done += 1
            operation.last_number = customer.number
            if drops and rand.random() < drops:
                continue
            rows = rows_of(CustomerView(self, customer), operation.query.selection)
            operation.rows += len(rows)
            operation.roots += 1
            groups.append([_line(row) for row, _ in rows])
        return groups, len(found) <= budget

    def _customers_left(self, operation: Operation) -> Iterator[Customer]:
        assert operation.query is not None
        text = operation.query.arguments.get("query")
        if not text:
            return self.people.after(operation.last_number)
        if operation.numbers is None:
            asked = read_query(text, self.habits)
            operation.numbers = array("Q", (each.number for each in self.matching(asked)))
        known = self.people.by_number
        left = operation.numbers[operation.done :]
        return (known[number] for number in left if number in known)

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

    def _end(self, operation: Operation, status: str, error_code: str | None = None) -> None:
        operation.status, operation.error_code, operation.completed_at = status, error_code, self.now()
        operation.numbers = operation.lines = operation.order = None
        self.tell("BULK_OPERATIONS_FINISH", lambda: _finish_body(operation))

    # --- steps ----------------------------------------------------------------------------------------------------

    def _start(self, operation: Operation) -> Operation:
        self.operations[operation.number] = operation
        operation.fault = self.bulk_faults.popleft() if self.bulk_faults else None
        return operation

    def _busy(self, kind: str, word: str) -> Json | None:
        running = [each for each in self.operations.values() if each.kind == kind and each.status in RUNNING]
        if len(running) < AT_ONCE_MAX:
            return None
        ids = ", ".join(gid("BulkOperation", each.number) for each in running)
        message = f"A bulk {word} operation for this app and shop is already in progress: {ids}."
        return user_error(None, message, "OPERATION_IN_PROGRESS")

    def _operation_view(self, operation: Operation) -> Json:
        done = operation.completed_at
        file = f"{self.base_url()}{RESULTS}/{self.domain}/{operation.name}"
        url = file if operation.rows and done is not None and operation.status != "EXPIRED" else None
        whole = operation.status == "COMPLETED"
        return {
            "__typename": "BulkOperation",
            "id": gid("BulkOperation", operation.number),
            "type": operation.kind,
            "status": operation.status,
            "errorCode": operation.error_code,
            "createdAt": iso(operation.created_at),
            "completedAt": None if done is None or operation.status == "CANCELED" else iso(done),
            "objectCount": str(operation.rows),
            "rootObjectCount": str(operation.roots),
            "fileSize": str(operation.size) if url else None,
            "url": url if whole else None,
            "partialDataUrl": None if whole else url,
            "query": operation.text,
        }


def _not_run(errors: list[Json]) -> Json:
    return {"bulkOperation": None, "userErrors": errors}


def _bulk_mutation(text: str) -> tuple[Document | None, Json]:
    """The document, or the error that refuses it."""

    def refused(message: str, code: str | None = "INVALID_MUTATION") -> tuple[None, Json]:
        return None, user_error(("mutation",), message, code)

    if len(text.encode()) > BYTES_MAX:
        return refused(f"Mutation is too long (maximum is {BYTES_MAX} bytes)")
    document = prepare(text)
    if not isinstance(document, Document):
        return refused(f"Failed to parse the mutation - {document[0]['message']}")
    if document.kind != "mutation" or len(document.roots) != 1 or document.roots[0].startswith("bulkOperationRun"):
        return refused("You must use an allowed mutation name.", None)
    if count_connections(document) > 1:
        return refused("Bulk mutations cannot contain more than 1 connection.")
    return document, {}


def _line(row: Json) -> bytes:
    """A line as Shopify writes it, slashes escaped."""
    return msgspec.json.encode(row).replace(b"/", b"\\/")


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
