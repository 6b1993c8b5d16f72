"""`metadata` with every table, for what creates or checks them all: each module that declares one is imported here."""

import reconciler.state.console.sessions
import reconciler.state.operations.acts
import reconciler.state.operations.notices
import reconciler.state.operations.parity
import reconciler.state.operations.rollouts
import reconciler.state.operations.runs
import reconciler.state.processes.controllers
import reconciler.state.processes.leases
import reconciler.state.shops
import reconciler.state.tables.bulk
import reconciler.state.tables.mirror
import reconciler.state.tables.profile_writes
import reconciler.state.tables.requests
import reconciler.state.tables.scans
import reconciler.state.tokens
from reconciler.state.tables.mappings import metadata

__all__ = ["metadata"]
