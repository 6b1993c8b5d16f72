"""What the controller needs of the outside, in the core's words.

Readers change nothing; writers are handed out only to apply.
"""

from reconciler.ports.bulk import (
    BulkAnswer,
    BulkBook,
    BulkFile,
    BulkLine,
    BulkReader,
    BulkState,
    BulkStatus,
    BulkWriter,
    Settled,
    Upload,
    Write,
    WriteKind,
)
from reconciler.ports.clock import Clock
from reconciler.ports.customers import (
    METAFIELDS_MAX,
    NOTHING_SHOWN,
    Created,
    CustomerLists,
    CustomerReader,
    CustomerWriter,
    MergePreview,
    Shown,
)
from reconciler.ports.mirror import Known, KnownReader, Mirror, MirrorMark, Pair, PairReader, Seen, Source, Touched
from reconciler.ports.profiles import ProfileReader, RowChunk, RowReader
from reconciler.ports.queue import RequestQueue
from reconciler.ports.shops import Definition, ShopBook, ShopFacts, ShopMaker, ShopReader, Subscription
from reconciler.ports.state import (
    Budgets,
    Holder,
    Leases,
    MappingReader,
    MappingWriter,
    SeenRow,
    State,
    StoreFacts,
    SweepBook,
    SweepMark,
)

__all__ = [
    "METAFIELDS_MAX",
    "NOTHING_SHOWN",
    "Budgets",
    "BulkAnswer",
    "BulkBook",
    "BulkFile",
    "BulkLine",
    "BulkReader",
    "BulkState",
    "BulkStatus",
    "BulkWriter",
    "Clock",
    "Created",
    "CustomerLists",
    "CustomerReader",
    "CustomerWriter",
    "Definition",
    "Holder",
    "Known",
    "KnownReader",
    "Leases",
    "MappingReader",
    "MappingWriter",
    "MergePreview",
    "Mirror",
    "MirrorMark",
    "Pair",
    "PairReader",
    "ProfileReader",
    "RequestQueue",
    "RowChunk",
    "RowReader",
    "Seen",
    "SeenRow",
    "Settled",
    "ShopBook",
    "ShopFacts",
    "ShopMaker",
    "ShopReader",
    "Shown",
    "Source",
    "State",
    "StoreFacts",
    "Subscription",
    "SweepBook",
    "SweepMark",
    "Touched",
    "Upload",
    "Write",
    "WriteKind",
]
