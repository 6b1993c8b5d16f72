"""Values that are too many for memory, in a temporary file: however large a shop or a plan is, memory is not.

A series is kept as lines of canonical JSON and written out a piece at a time. A piece that continues the order of the one
before it only makes that one longer; others are merged when they are read. Most series come in the order of the profiles'
keys, so they are read from front to back.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator
from heapq import merge
from itertools import chain
from operator import itemgetter
from tempfile import TemporaryFile
from typing import Any
from weakref import finalize

from reconciler.core.model.json import adapter_of
from reconciler.core.plan.series import Key, M, canonical
from reconciler.errors import TEMPORARY_SPACE, PermanentError

IN_MEMORY = 1 << 20  # bytes of one series
BLOCK = 1 << 16  # bytes that are read in one piece, of each run


class Spool(Collection[M]):
    """core.plan.series.SeriesBuilder, and the series it built. May be read any number of times, also at the same time."""

    def __init__(
        self,
        model: type[M],
        key: Key[M] | None = None,
        *,
        in_memory_bytes: int = IN_MEMORY,
        block_bytes: int = BLOCK,
    ) -> None:
        self._model = model
        self._key = key
        self._in_memory_bytes, self._block_bytes = in_memory_bytes, block_bytes
        self._count = self._bytes = self._end = 0
        self._held: list[tuple[Any, bytes]] = []
        self._runs: list[tuple[int, int]] = []
        self._last: Any = None
        self._file: Any = None

    # --- growing ----------------------------------------------------------------------------------------------------

    def add(self, value: M) -> None:
        """One more; PermanentError where the disk is full."""
        self.put(canonical(value).encode(), None if self._key is None else self._key(value))

    def put(self, line: bytes, key: Any = None) -> None:
        """One more, of which the canonical JSON is known."""
        self._held.append((key, line))
        self._count += 1
        self._bytes += len(line)
        if self._bytes > self._in_memory_bytes:
            self._write_out()

    def whole(self) -> Collection[M]:
        """All of them: a tuple where they are few."""
        if self._file is None:
            self._sort()
            return tuple(self)
        self._write_out()
        return self

    def _sort(self) -> None:
        if self._key is not None:
            self._held.sort(key=itemgetter(0))

    def _write_out(self) -> None:
        if not self._held:
            return
        self._sort()
        first, last = self._held[0][0], self._held[-1][0]
        text = b"\n".join([line for _, line in self._held]) + b"\n"
        try:
            if self._file is None:
                self._file = TemporaryFile(buffering=0)  # noqa: SIM115  lives as long as the plan
                finalize(self, self._file.close)
            left = memoryview(text)
            while left:
                left = left[os.write(self._file.fileno(), left) :]
        except OSError as error:
            raise PermanentError(
                f"a temporary file can't be written: {error.strerror}", hint=TEMPORARY_SPACE
            ) from error
        begin, self._end = self._end, self._end + len(text)
        if self._runs and (self._key is None or first >= self._last):
            self._runs[-1] = (self._runs[-1][0], self._end)
        else:
            self._runs.append((begin, self._end))
        self._last = last
        self._held, self._bytes = [], 0

    # --- grown ------------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[M]:
        if not self._count:
            return iter(())  # most series are empty, and an adapter takes long to build
        parse: Callable[[bytes], M] = adapter_of(self._model).validate_json
        runs = [map(parse, run) for run in self._read()]
        if self._key is not None and len(self._runs) > 1:
            return merge(*runs, key=self._key)
        return chain.from_iterable(runs)

    def __contains__(self, value: object) -> bool:
        return any(each == value for each in self)

    def lines(self) -> Iterator[str]:
        """Each as canonical JSON."""
        if self._key is not None and len(self._runs) > 1:
            return map(canonical, self)
        return (line.decode() for line in chain.from_iterable(self._read()))

    def _read(self) -> list[Iterator[bytes]]:
        """The runs; what is in memory still is the last one."""
        return [*(self._run(begin, end) for begin, end in self._runs), (line for _, line in self._held)]

    def _run(self, begin: int, end: int) -> Iterator[bytes]:
        rest = b""
        while begin < end:
            block = os.pread(self._file.fileno(), min(self._block_bytes, end - begin), begin)
            assert block, "a temporary file is shorter than what was written to it"
            begin += len(block)
            *lines, rest = (rest + block).split(b"\n")
            yield from lines
