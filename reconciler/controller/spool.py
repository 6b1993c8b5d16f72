"""Rows that wait to be written down, in a file as soon as they are many: memory does not grow with the shop."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from tempfile import SpooledTemporaryFile
from typing import Any
from weakref import finalize

from reconciler.core.mapping import Mapping

IN_MEMORY = 4 << 20  # bytes


class RowSpool:
    """Mappings, put in once and read any number of times."""

    def __init__(self) -> None:
        self._file: Any = SpooledTemporaryFile(max_size=IN_MEMORY, mode="w+b")  # noqa: SIM115  lives as long as the plan
        finalize(self, self._file.close)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, rows: Sequence[Mapping]) -> None:
        self._file.writelines(row.model_dump_json().encode("utf-8", "surrogatepass") + b"\n" for row in rows)
        self._count += len(rows)

    def batches(self, size: int) -> Iterator[list[Mapping]]:
        """All of them in the order they came, `size` at a time."""
        self._file.seek(0)
        rows: list[Mapping] = []
        for line in self._file:
            rows.append(Mapping.model_validate_json(line))
            if len(rows) == size:
                yield rows
                rows = []
        self._file.seek(0, 2)
        if rows:
            yield rows
