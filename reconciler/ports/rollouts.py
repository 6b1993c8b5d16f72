"""The state's records of rollouts, and of the policy that each store has."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import field
from datetime import datetime
from typing import Literal, Protocol

from reconciler.core.model.act import Act
from reconciler.core.model.frozen import frozen
from reconciler.core.model.ids import ShopDomain, StoreName
from reconciler.core.model.rollout import KeptPolicy, Rollout, RolloutState, WaveCounts

SeenBy = Literal["none", "this policy", "another policy"]


@frozen
class WaveFacts:
    """What the state knows of a store since its policy came into force.

    `withheld` counts users that the change has not reached, by reason; `guard` is the message that most of those have that a
    guard holds. `untried` are requests of the scan, and those that it found in the queue, of which no reconcile has ended.
    """

    counts: WaveCounts = field(default_factory=WaveCounts)
    withheld: dict[str, int] = field(default_factory=dict)
    guard: str = ""
    untried: int = 0


class RolloutRepository(Protocol):
    """Reads and records rollouts, and the policies of stores. Each call is one transaction, durable when it returns."""

    def rollout_state(self) -> RolloutState:
        """The newest rollout, and the policy that is kept for each store."""

    def seen_by(self, shop: ShopDomain, config_digests: Collection[str]) -> SeenBy:
        """By which policy the users of a store were last observed: one with these digests, another one, or none."""

    def wave_facts(
        self, store: StoreName, shop: ShopDomain, *, since: datetime, passed_at: datetime | None, now: datetime
    ) -> WaveFacts:
        """What became of the users of this store since then. `passed_at`: when the scan that queued all of them ended."""

    def put_rollout(
        self, after: Rollout, before: Rollout | None, policies: Sequence[KeptPolicy], act: Act | None = None
    ) -> bool:
        """Replace or supersede the newest rollout, with the policies of the stores that it opens, and record the act.

        False, and nothing is recorded, unless `before` is still the newest rollout, in this version.
        """

    def keep_policies(self, policies: Sequence[KeptPolicy]) -> None:
        """Insert or replace the policies of these stores."""

    def forget_policies(self, shops: Collection[ShopDomain]) -> None:
        """Delete the policies of these stores: those of stores.yaml are in force everywhere."""

    def note_synced(self, shops: Collection[ShopDomain], at: datetime) -> None:
        """Record that an `apply` which began then has passed over all users of these stores."""
