"""`StateStore`: all repositories of the state in one, for tests that need several of them."""

from __future__ import annotations

from reconciler.state.bulk import BulkTable
from reconciler.state.console.sessions import SessionTable
from reconciler.state.mirror.customers import MirrorTable
from reconciler.state.operations.acts import ActTable
from reconciler.state.operations.notices import NoticeTable
from reconciler.state.operations.parity import ParityTable
from reconciler.state.operations.rollouts import RolloutTable
from reconciler.state.operations.runs import RunTable
from reconciler.state.processes.leases import BudgetTable, LeaseTable
from reconciler.state.requests.doubts import DoubtsTable
from reconciler.state.scans import ScanTable
from reconciler.state.shops import ShopTable
from reconciler.state.tidy import Tidy
from reconciler.state.tokens import AppliedPlanTable, TokenTable


class StateStore(
    TokenTable,
    BulkTable,
    AppliedPlanTable,
    BudgetTable,
    LeaseTable,
    ScanTable,
    MirrorTable,
    DoubtsTable,
    Tidy,
    SessionTable,
    RunTable,
    ShopTable,
    ActTable,
    ParityTable,
    NoticeTable,
    RolloutTable,
):
    """All ports of the state, on SQLite or Postgres. Thread-safe."""
