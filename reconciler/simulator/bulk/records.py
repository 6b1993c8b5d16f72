"""The records of staged uploads and bulk operations."""

from array import array
from dataclasses import dataclass, field
from pathlib import Path

from reconciler.simulator.bulk.query import BulkQuery
from reconciler.simulator.graphql.documents import ParsedDocument


@dataclass(slots=True)
class Staged:
    """One staged upload: the required form parameters, and whether the file was uploaded."""

    number: int
    parameters: dict[str, str]
    until: float
    path: Path | None = field(default=None)


@dataclass(slots=True)
class BulkFault:
    """How an operation ends: FAILED with this code, or CANCELED, after a number of rows."""

    status: str = "FAILED"
    error_code: str | None = "INTERNAL_SERVER_ERROR"
    after_rows: int = 0


@dataclass(slots=True)
class Operation:
    """One bulk operation and its progress."""

    number: int
    kind: str
    text: str
    created_at: float
    status: str = "CREATED"
    error_code: str | None = None
    completed_at: float | None = None
    rows: int = 0
    roots: int = 0
    done: int = 0
    """Customers processed, or lines run."""
    query: BulkQuery | None = None
    grouped: bool = False
    numbers: "array[int] | None" = None
    """The customers that the search found, if there is a search."""
    mark: int = 0
    """Where a query continues: after this number, or from this index in `numbers`."""
    document: ParsedDocument | None = None
    source: Path | None = None
    lines: "array[int] | None" = None
    """The offset of each line of the input, and the order in which the lines run."""
    order: "array[int] | None" = None
    fault: BulkFault | None = None
    held: list[bytes] = field(default_factory=list)
    path: Path | None = None
    size: int = 0

    @property
    def name(self) -> str:
        return f"bulk-{self.number}.jsonl"
