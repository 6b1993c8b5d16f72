"""Record the fingerprints of users that a plan found in sync, so that the next plan need not read them again.

Like the mirror it belongs to (docs/tasks/large-shops.md), this is a cache: it changes no status of a mapping.
"""

from __future__ import annotations

from dataclasses import replace

from reconciler.core.model.batches import batches
from reconciler.core.model.mapping import Mapping
from reconciler.core.model.store import Store
from reconciler.core.plan.gather import ScanResult
from reconciler.ports import State

BATCH = 500


def record_fingerprints(scan_result: ScanResult, store: Store, mappings: State) -> None:
    """Record the fingerprints of users that this scan found equal, where the mapping says what it said then."""
    for rows in batches((row for row in scan_result.rows if row.observed_fp is not None), BATCH):
        now = mappings.get(store.shop, [row.clerk_user_id for row in rows])
        known = [(now[row.clerk_user_id], row) for row in rows if row.clerk_user_id in now]
        mappings.put_unchanged(
            [(was, row) for was, found in known if (row := _with_fingerprints(was, found)) is not None]
        )


def _with_fingerprints(was: Mapping, found: Mapping) -> Mapping | None:
    """The row with the fingerprints of the scan; None where the scan says anything else of the user, or nothing new."""
    row = replace(was, profile_fp=found.profile_fp, observed_fp=found.observed_fp)
    said = replace(row, last_seen_at=found.last_seen_at)
    return row if said == found and row != was else None
