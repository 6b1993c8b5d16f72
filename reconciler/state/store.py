"""The state behind its ports: one short transaction a call, durable when it returns."""

from __future__ import annotations

from reconciler.state.leases import Budgets, Leases
from reconciler.state.mappings import Mappings
from reconciler.state.tokens import AppliedPlans, Tokens


class StateStore(Tokens, Mappings, AppliedPlans, Budgets, Leases):
    """ports.State, ports.Budgets and ports.Leases on SQLite or Postgres. Thread-safe."""
