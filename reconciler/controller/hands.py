"""What the acting half is handed in one store: the readers, and the only writer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from reconciler.controller.sweep import Readers
from reconciler.core.store import Store
from reconciler.ports import Clock, CustomerWriter, MappingWriter


@dataclass(frozen=True, slots=True)
class Hands:
    """All that the acting half needs in one store. `workers` are the calls that may be under way at once."""

    store: Store
    readers: Readers
    writer: CustomerWriter
    state: MappingWriter
    clock: Clock
    warn: Callable[[str], None]
    plan_digest: str = ""
    workers: int = 4
    explicit: bool = True
