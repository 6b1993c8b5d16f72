"""`Repositories`: the state behind its ports, one repository for each group of tables.

The module of a repository declares its tables, which takes 2 ms a table. So each is imported where it is first used.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from reconciler.state.database.engine import Engine

if TYPE_CHECKING:
    from reconciler.state.bulk import BulkTable
    from reconciler.state.console.sessions import SessionTable
    from reconciler.state.mirror.customers import MirrorTable
    from reconciler.state.operations.acts import ActTable
    from reconciler.state.operations.notices import NoticeTable
    from reconciler.state.operations.parity import ParityTable
    from reconciler.state.operations.rollouts import RolloutTable
    from reconciler.state.operations.runs import RunTable
    from reconciler.state.processes.controllers import ReplicaTable
    from reconciler.state.processes.leases import BudgetTable, LeaseTable
    from reconciler.state.requests.doubts import DoubtsTable
    from reconciler.state.scans import ScanTable
    from reconciler.state.shops import ShopTable
    from reconciler.state.tidy import Tidy
    from reconciler.state.tokens import AppliedPlanTable, TokenTable


class Repositories:
    """The repositories on one engine. Each call of theirs is one short transaction, durable when it returns. Thread-safe.

    `secret_key` encrypts rotated tokens.
    """

    def __init__(self, engine: Engine, *, secret_key: str | None = None) -> None:
        self._engine = engine
        self._secret_key = secret_key

    @cached_property
    def mappings(self) -> MirrorTable:
        """Mappings, events and facts of stores, and the mirror of the mapped customers."""
        from reconciler.state.mirror.customers import MirrorTable

        return MirrorTable(self._engine)

    @cached_property
    def doubts(self) -> DoubtsTable:
        """Users of uncertain sync state."""
        from reconciler.state.requests.doubts import DoubtsTable

        return DoubtsTable(self._engine)

    @cached_property
    def scans(self) -> ScanTable:
        """The progress of scans."""
        from reconciler.state.scans import ScanTable

        return ScanTable(self._engine)

    @cached_property
    def bulk(self) -> BulkTable:
        """Bulk writes, and the mappings that they write."""
        from reconciler.state.bulk import BulkTable

        return BulkTable(self._engine)

    @cached_property
    def shops(self) -> ShopTable:
        """The names of shops."""
        from reconciler.state.shops import ShopTable

        return ShopTable(self._engine)

    @cached_property
    def acts(self) -> ActTable:
        """What operators did, and the pauses that they set."""
        from reconciler.state.operations.acts import ActTable

        return ActTable(self._engine)

    @cached_property
    def runs(self) -> RunTable:
        """Runs of commands and of scheduled scans."""
        from reconciler.state.operations.runs import RunTable

        return RunTable(self._engine)

    @cached_property
    def rollouts(self) -> RolloutTable:
        """Rollouts in waves, and the policies of stores."""
        from reconciler.state.operations.rollouts import RolloutTable

        return RolloutTable(self._engine)

    @cached_property
    def parity(self) -> ParityTable:
        """Samples of parity over time."""
        from reconciler.state.operations.parity import ParityTable

        return ParityTable(self._engine)

    @cached_property
    def notices(self) -> NoticeTable:
        """What was notified."""
        from reconciler.state.operations.notices import NoticeTable

        return NoticeTable(self._engine)

    @cached_property
    def replicas(self) -> ReplicaTable:
        """The replicas of `run`."""
        from reconciler.state.processes.controllers import ReplicaTable

        return ReplicaTable(self._engine)

    @cached_property
    def leases(self) -> LeaseTable:
        """Leases for work that one process does at a time."""
        from reconciler.state.processes.leases import LeaseTable

        return LeaseTable(self._engine)

    @cached_property
    def budgets(self) -> BudgetTable:
        """What the guards allowed in this hour."""
        from reconciler.state.processes.leases import BudgetTable

        return BudgetTable(self._engine)

    @cached_property
    def sessions(self) -> SessionTable:
        """Console sessions that were ended."""
        from reconciler.state.console.sessions import SessionTable

        return SessionTable(self._engine)

    @cached_property
    def tokens(self) -> TokenTable:
        """Rotated token pairs, encrypted."""
        from reconciler.state.tokens import TokenTable

        return TokenTable(self._engine, secret_key=self._secret_key)

    @cached_property
    def applied_plans(self) -> AppliedPlanTable:
        """The sealed plans that were applied."""
        from reconciler.state.tokens import AppliedPlanTable

        return AppliedPlanTable(self._engine)

    @cached_property
    def housekeeping(self) -> Tidy:
        """Deletion of old rows."""
        from reconciler.state.tidy import Tidy

        return Tidy(self._engine)
