"""Bulk operations: queries over all customers, and one mutation for each line of an uploaded file.

The root fields of bulk operations. Shopify's pages on bulk operations and live replies, read 2026-11-23.
"""

import operator
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from reconciler.simulator.bulk.files import RESULTS
from reconciler.simulator.bulk.query import BulkQueryError, count_connections, read_bulk_query
from reconciler.simulator.bulk.records import BulkFault, Operation
from reconciler.simulator.bulk.work import RUNNING, BulkWork
from reconciler.simulator.graphql.documents import Json, ParsedDocument, prepare
from reconciler.simulator.graphql.paging import bad_request, page_of
from reconciler.simulator.graphql.search_notes import invalid_field, invalid_value, note
from reconciler.simulator.ledger import gid, iso, user_error

RUNNING_MAX: Final = 5
BYTES_MAX: Final = 65_535
FILE_BYTES_MAX: Final = 100 * 1024 * 1024
IDENTIFIER_SIZES: Final = (10, 255)
_CHOICES: Final = {
    "status": frozenset({"CANCELED", "CANCELING", "COMPLETED", "CREATED", "FAILED", "RUNNING"}),
    "operation_type": frozenset({"MUTATION", "QUERY"}),
}
NO_FILE: Final = (
    "The JSONL file could not be found. Try uploading the file again, and check that you've entered the URL correctly "
    "for the stagedUploadPath mutation argument."
)


class Bulk(BulkWork):
    # --- root fields ----------------------------------------------------------------------------------------------

    def bulk_operation_run_query(self, query: str, *, group_objects: bool = False) -> Json:
        try:
            wanted = read_bulk_query(query)
        except BulkQueryError as error:
            return _not_run([user_error(("query",), message, "INVALID") for message in error.messages])
        busy = self._busy("QUERY", "query")
        if busy is not None:
            return _not_run([busy])
        operation = self._start(Operation(self.next_number(), "QUERY", query, self.now()))
        operation.query, operation.grouped = wanted, group_objects
        return {"bulkOperation": self._operation_view(operation), "userErrors": []}

    def bulk_operation_run_mutation(
        self, mutation: str, staged_upload_path: str, client_identifier: str | None = None, group_objects: bool = True  # noqa: FBT001, FBT002 - Shopify's arguments
    ) -> Json:  # fmt: skip
        del group_objects  # has no effect
        fault = _identifier_fault(client_identifier)
        if fault is not None:
            return _not_run([user_error(("clientIdentifier",), fault, "INVALID_MUTATION")])
        document, error = bulk_mutation(mutation)
        if document is None:
            return _not_run([error])
        source = self.upload_path(staged_upload_path)
        if source is None or not source.exists():
            return _not_run([user_error(None, NO_FILE, "NO_SUCH_FILE")])
        busy = self._busy("MUTATION", "mutation")
        if busy is not None:
            return _not_run([busy])
        size = source.stat().st_size
        if not size or size > FILE_BYTES_MAX:
            too_big = "The input file size exceeds the maximum allowed size of 100 MB."
            message = too_big if size else "The input file is empty."
            return _not_run([user_error(None, message, "INVALID_STAGED_UPLOAD_FILE")])
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

    def current_bulk_operation(self, type: str = "QUERY") -> Json | None:  # noqa: A002 - Shopify's name
        """The latest operation of this type."""
        mine = [each for each in self.operations.values() if each.kind == type and each.status != "EXPIRED"]
        return self._operation_view(mine[-1]) if mine else None

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
        del sort_key  # the order is always that of creation
        rows, warnings = list(self.operations.values()), []
        for term in (each for each in (query or "").split() if each.upper() != "AND"):
            name, _, text = term.partition(":")
            value = text.strip("\"'")
            if name in _CHOICES and value.upper() not in _CHOICES[name]:
                warnings.append(invalid_value(name, value))
                rows = []
            elif name == "status":
                rows = [each for each in rows if each.status == value.upper()]
            elif name == "operation_type":
                rows = [each for each in rows if each.kind == value.upper()]
            elif name == "id":
                rows = [each for each in rows if str(each.number) == value.rpartition("/")[2]]
            elif name == "created_at":
                fits = _moments(value)
                rows = [each for each in rows if fits(each.created_at)]
            else:
                warnings.append(invalid_field(name))
        page = page_of(
            rows,
            key=lambda each: (None, each.number),
            view=self._operation_view,
            first=first, last=last, after=after, before=before, reverse=reverse,
        )  # fmt: skip
        return page | {"__search": note(query or "", warnings)}

    def other_node(self, kind: str, number: int) -> Any:
        if kind == "BulkOperation":
            operation = self.operations.get(number)
            return None if operation is None else self._operation_view(operation)
        return super().other_node(kind, number)

    # --- for tests and demos --------------------------------------------------------------------------------------

    def staff_bulk_fault(
        self, status: str = "FAILED", error_code: str | None = "INTERNAL_SERVER_ERROR", after_rows: int = 0
    ) -> Json:
        """End the next operation like this, after a number of rows."""
        if status not in {"FAILED", "CANCELED"}:
            raise ValueError(f"an operation can be made FAILED or CANCELED, not {status}")
        self.bulk_faults.append(BulkFault(status, error_code if status == "FAILED" else None, after_rows))
        return {"pending": len(self.bulk_faults)}

    def result_file(self, name: str) -> Path | None:
        """The file of a `url`, until it expires."""
        self.settle()
        for each in self.operations.values():
            if each.name == name and each.path is not None and each.status not in RUNNING | {"EXPIRED"}:
                return each.path
        return None

    def bulk_is_running(self) -> bool:
        return any(each.status in RUNNING for each in self.operations.values())

    # --- steps ----------------------------------------------------------------------------------------------------

    def _start(self, operation: Operation) -> Operation:
        self.operations[operation.number] = operation
        operation.fault = self.bulk_faults.popleft() if self.bulk_faults else None
        return operation

    def _busy(self, kind: str, word: str) -> Json | None:
        running = [each for each in self.operations.values() if each.kind == kind and each.status in RUNNING]
        if len(running) < RUNNING_MAX:
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


def _moments(value: str) -> Callable[[float], bool]:
    """A predicate for conditions such as `>=2026-01-01T00:00:00Z`; a top-level error if there is no time."""
    sign = value.rstrip("0123456789TZ:.+-'\"") if value[:1] in "<>" else ""
    text = value[len(sign) :].strip("'\"")
    try:
        limit = datetime.fromisoformat(text)
    except ValueError as error:
        raise bad_request("Invalid timestamp for query filter `created_at`.") from error
    moment = (limit if limit.tzinfo else limit.replace(tzinfo=UTC)).timestamp()
    fits = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}.get(sign, operator.eq)
    return lambda at: bool(fits(at, moment))


def _not_run(errors: list[Json]) -> Json:
    return {"bulkOperation": None, "userErrors": errors}


def bulk_mutation(text: str) -> tuple[ParsedDocument | None, Json]:
    """The document, or the error that refuses it."""
    size = len(text.encode())
    if size > BYTES_MAX:
        message = f"is too large ({size} bytes; maximum is {BYTES_MAX} bytes)"
        return None, user_error(("query",), message, "INVALID_MUTATION")
    document = prepare(text)
    if not isinstance(document, ParsedDocument):
        words = document[0]["message"]
        return None, user_error(None, f"Failed to parse the mutation - {words}", "INVALID_MUTATION")
    if document.kind != "mutation":
        message = "Invalid operation type. Only `mutation` operations are supported."
        return None, user_error(None, message, "INVALID_MUTATION")
    message = ""
    if len(document.roots) != 1:
        message = "You must specify a single top level mutation."
    elif document.roots[0].startswith("bulkOperationRun"):
        message = "You must use an allowed mutation name."
    elif count_connections(document) > 1:
        message = "Bulk mutations cannot contain more than 1 connection."
    return (None, user_error(("mutation",), message, None)) if message else (document, {})


def _identifier_fault(text: str | None) -> str | None:
    low, high = IDENTIFIER_SIZES
    if text is None or low <= len(text) <= high:
        return None
    return (
        f"is too short (minimum is {low} characters)"
        if len(text) < low
        else (f"is too long (maximum is {high} characters)")
    )
