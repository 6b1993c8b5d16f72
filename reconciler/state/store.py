"""The state behind its ports: one short transaction a call, durable when it returns."""

from __future__ import annotations

from reconciler.state.leases import Budgets, Leases
from reconciler.state.mappings import Mappings
from reconciler.state.sweeps import Sweeps
from reconciler.state.tidy import Tidy
from reconciler.state.tokens import AppliedPlans, Tokens


class StateStore(Tokens, Mappings, AppliedPlans, Budgets, Leases, Sweeps, Tidy):
    """ports.State, ports.Budgets, ports.Leases and ports.SweepBook on SQLite or Postgres. Thread-safe."""
