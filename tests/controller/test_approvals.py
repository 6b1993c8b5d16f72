"""The plans of several stores are approved by the digest of each."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from reconciler.controller.scan.plan import Planned
from reconciler.core.model.action import Action
from reconciler.core.model.ids import ClerkUserId, ShopDomain, StoreName
from reconciler.core.model.reasons import hold
from reconciler.core.plan.gather import ScanResult
from reconciler.core.plan.plan import StorePlan, build_plan
from reconciler.errors import PlanRefused
from reconciler.wiring.plans import approve_each

NOW = datetime(2026, 11, 30, 9, tzinfo=UTC)
ONE, TWO = StoreName("one"), StoreName("two")


def withheld(name: StoreName) -> ScanResult:
    user = ClerkUserId(f"user_{name}")
    action = Action(kind="create", clerk_user_id=user, customer_id=None, changes=(), cost_points=10)
    held = hold(user, None, "GuardExceeded", "more than 1", action=action)
    return ScanResult(StorePlan(store=name, shop=ShopDomain(f"{name}.example"), holds=(held,)), withheld=(action,))


def test_of_several_stores_those_with_their_digest_are_applied_and_the_others_named() -> None:
    scans = {name: withheld(name) for name in (ONE, TWO)}
    digests = {name: build_plan([scan.plan], created_at=NOW).digest for name, scan in scans.items()}
    planned = Planned(build_plan((scan.plan for scan in scans.values()), created_at=NOW), scans)
    both, refused = approve_each(planned, digests)
    assert ([store.summary.create for store in both.plan.stores], both.plan.summary.create, refused) == ([1, 1], 2, {})
    one, refused = approve_each(planned, digests | {TWO: "sha256:0"})
    assert (one.plan.digest, list(one.scans), one.plan.summary.create) == (digests[ONE], [ONE], 1)
    assert refused == {TWO: f"the approved digest is sha256:0, but the plan is now {digests[TWO]}"}
    with pytest.raises(PlanRefused, match=r"^one: the approved digest is .*; two: the approved digest is sha256:0"):
        approve_each(planned, dict.fromkeys(digests, "sha256:0"))
