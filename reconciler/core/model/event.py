"""Event: the record of one write, with the values before and after. `undo` and `explain` read events."""

from __future__ import annotations

from datetime import datetime

from reconciler.core.model.action import Change
from reconciler.core.model.frozen import frozen
from reconciler.core.model.ids import ClerkUserId, CustomerId, ShopDomain, StoreName


@frozen
class Event:
    """One executed write, or a notable decision.

    `run_id`: the run that wrote it; None where a request of the queue did.
    """

    at: datetime
    store: StoreName
    shop: ShopDomain
    clerk_user_id: ClerkUserId
    customer_id: CustomerId | None
    kind: str
    changes: tuple[Change, ...] = ()
    plan_digest: str = ""
    message: str = ""
    run_id: int | None = None
