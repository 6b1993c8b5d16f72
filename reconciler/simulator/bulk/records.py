"""What a simulated shop keeps of staged uploads and bulk operations."""

from array import array
from dataclasses import dataclass, field
from pathlib import Path

from reconciler.simulator.bulk.query import BulkQuery
from reconciler.simulator.graphql.documents import Document


@dataclass(slots=True)
class Staged:
    """A place for one upload: what the form has to say, and whether it came."""

    number: int
    parameters: dict[str, str]
    until: float
    path: Path | None = field(default=None)


@dataclass(slots=True)
class BulkFault:
    """What becomes of an operation: FAILED with this code, or CANCELED, after so many rows."""

    status: str = "FAILED"
    error_code: str | None = "INTERNAL_SERVER_ERROR"
    after_rows: int = 0


@dataclass(slots=True)
class Operation:
    """One bulk operation, with where it stands."""

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
    """Customers looked at, or lines run."""
    query: BulkQuery | None = None
    grouped: bool = False
    numbers: "array[int] | None" = None
    """The customers that a search found, where there is one."""
    mark: int = 0
    """Where a query goes on: after this number, or from this place among `numbers`."""
    document: Document | None = None
    source: Path | None = None
    lines: "array[int] | None" = None
    """Where each line of the input begins, and an order of their numbers."""
    order: "array[int] | None" = None
    fault: BulkFault | None = None
    held: list[bytes] = field(default_factory=list)
    path: Path | None = None
    size: int = 0

    @property
    def name(self) -> str:
        return f"bulk-{self.number}.jsonl"
