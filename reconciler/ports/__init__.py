"""The interfaces through which the controller uses shops, profiles and the state, in types of the core.

Readers change nothing. Only code that applies a plan gets writers.
"""

from reconciler.ports.acts import ActRepository, PauseReader
from reconciler.ports.bulk import (
    FILE_KINDS,
    BulkAnswer,
    BulkCounts,
    BulkFile,
    BulkLine,
    BulkReader,
    BulkRepository,
    BulkState,
    BulkStatus,
    BulkWriter,
    Settled,
    Upload,
)
from reconciler.ports.clock import Clock
from reconciler.ports.customers import (
    METAFIELDS_MAX,
    Answer,
    CustomerLists,
    CustomerReader,
    CustomerWriter,
    Shown,
)
from reconciler.ports.mirror import (
    Known,
    KnownReader,
    Mirror,
    MirrorMark,
    Pair,
    PairReader,
    RangeReader,
    Seen,
    Source,
    Touched,
)
from reconciler.ports.parity import ParityReader
from reconciler.ports.profiles import ProfileReader, RowChunk, RowReader
from reconciler.ports.queue import RequestQueue
from reconciler.ports.runs import RunRepository
from reconciler.ports.shops import Definition, ShopFacts, ShopMaker, ShopReader, ShopRepository, Subscription
from reconciler.ports.state import (
    Budgets,
    FoundEqual,
    Holder,
    Leases,
    MappingReader,
    MappingWriter,
    ScanMark,
    ScanRepository,
    SeenRow,
    State,
    StoreFacts,
)

__all__ = [
    "FILE_KINDS",
    "METAFIELDS_MAX",
    "ActRepository",
    "Answer",
    "Budgets",
    "BulkAnswer",
    "BulkCounts",
    "BulkFile",
    "BulkLine",
    "BulkReader",
    "BulkRepository",
    "BulkState",
    "BulkStatus",
    "BulkWriter",
    "Clock",
    "CustomerLists",
    "CustomerReader",
    "CustomerWriter",
    "Definition",
    "FoundEqual",
    "Holder",
    "Known",
    "KnownReader",
    "Leases",
    "MappingReader",
    "MappingWriter",
    "Mirror",
    "MirrorMark",
    "Pair",
    "PairReader",
    "ParityReader",
    "PauseReader",
    "ProfileReader",
    "RangeReader",
    "RequestQueue",
    "RowChunk",
    "RowReader",
    "RunRepository",
    "ScanMark",
    "ScanRepository",
    "Seen",
    "SeenRow",
    "Settled",
    "ShopFacts",
    "ShopMaker",
    "ShopReader",
    "ShopRepository",
    "Shown",
    "Source",
    "State",
    "StoreFacts",
    "Subscription",
    "Touched",
    "Upload",
]
