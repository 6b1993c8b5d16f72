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
from reconciler.ports.customers import METAFIELDS_MAX, CustomerLists, CustomerReader, CustomerWriter, MergePreview
from reconciler.ports.mirror import Known, KnownReader, Mirror, MirrorMark, Pair, PairReader, Seen, Source, Touched
from reconciler.ports.profiles import ProfileReader, RowChunk, RowReader
from reconciler.ports.queue import RequestQueue
from reconciler.ports.shops import Definition, ShopFacts, ShopMaker, ShopReader, Subscription
from reconciler.ports.state import (
    Budgets,
    Leases,
    MappingReader,
    MappingWriter,
    State,
    StoreFacts,
    SweepBook,
    SweepMark,
)

__all__ = [
    "METAFIELDS_MAX",
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
    "CustomerLists",
    "CustomerReader",
    "CustomerWriter",
    "Definition",
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
    "Settled",
    "ShopFacts",
    "ShopMaker",
    "ShopReader",
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
