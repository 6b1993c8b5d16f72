"""The certificate: how many users are in sync in how many stores at a time, and the rest by reason, with a digest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime

from reconciler.core.fields.desired import digest
from reconciler.core.model.frozen import frozen
from reconciler.core.model.ids import StoreName
from reconciler.core.model.json import json_of
from reconciler.core.plan.gather import ScanResult


@frozen(kw_only=True)
class StoreCertificate:
    """One store: the count of wanted users, of those in sync, and of the rest by reason."""

    store: StoreName
    users: int
    equal: int
    exceptions: Mapping[str, int]
    error: str | None = None


@frozen(kw_only=True)
class Certificate:
    """The counts of all stores. `users` and `equal` count a user once for each store that wants them."""

    at: datetime
    users: int
    equal: int
    stores: int
    stores_equal: int
    exceptions: Mapping[str, int]
    details: tuple[StoreCertificate, ...]
    digest: str

    @property
    def sentence(self) -> str:
        """The headline."""
        moment = self.at.strftime("%Y-%m-%dT%H:%M:%SZ")
        users, shops = f"{self.equal} of {self.users} users", f"{self.stores_equal} of {self.stores} shops"
        return f"{users} are equal, and in {shops} all are, at {moment}"


def certificate(scan_results: Iterable[ScanResult], *, at: datetime) -> Certificate:
    """The certificate from fresh scans of all stores. Users with an action count under the kind of the action.

    Users with drift that is accepted for now are not equal.
    """
    details = tuple(sorted((_store(s) for s in scan_results), key=lambda d: d.store))
    exceptions: Counter[str] = Counter()
    for part in details:
        exceptions.update(part.exceptions)
    found = Certificate(
        at=at,
        users=sum(d.users for d in details),
        equal=sum(d.equal for d in details),
        stores=len(details),
        stores_equal=sum(d.users == d.equal and d.error is None for d in details),
        exceptions=dict(sorted(exceptions.items())),
        details=details,
        digest="",
    )
    body = digest({**json_of(found, exclude={"digest"}), "at": at.isoformat()})
    return replace(found, digest=f"blake2b:{body}")


def _store(scan_result: ScanResult) -> StoreCertificate:
    plan = scan_result.plan
    if plan.error is not None:
        return StoreCertificate(store=plan.store, users=0, equal=0, exceptions={"unreadable": 1}, error=plan.error)
    reasons = Counter(f"{a.kind} pending" for a in plan.actions)
    acting = {a.clerk_user_id for a in plan.actions}
    held: dict[str, str] = {}
    for hold in plan.holds:
        if hold.clerk_user_id not in acting:
            held.setdefault(hold.clerk_user_id, hold.reason)
    reasons.update(held.values())
    accepted = {a.clerk_user_id for a in plan.accepted} - acting - held.keys()
    if accepted:
        reasons["accepted drift"] = len(accepted)
    return StoreCertificate(
        store=plan.store,
        users=scan_result.profiles,
        equal=plan.summary.in_sync - len(accepted),
        exceptions=dict(sorted(reasons.items())),
    )
