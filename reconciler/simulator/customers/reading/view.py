"""The base class of views: a record, its shop, and a reader for each field."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, Generic, TypeVar

from reconciler.simulator.ledger import Ledger

R = TypeVar("R")


class RecordView(Mapping[str, Any], Generic[R]):
    """One record as GraphQL returns it."""

    __slots__ = ("ledger", "record")
    fields: ClassVar[Mapping[str, Callable[[Any], Any]]] = {}

    def __init__(self, ledger: Ledger, record: R) -> None:
        self.ledger = ledger
        self.record = record

    def __getitem__(self, name: str) -> Any:
        return self.fields[name](self)

    def get(self, name: str, default: Any = None) -> Any:
        field = self.fields.get(name)
        return default if field is None else field(self)

    def __iter__(self) -> Iterator[str]:
        return iter(self.fields)

    def __len__(self) -> int:
        return len(self.fields)
