"""Rollout: how a change of policy reaches the stores wave by wave; and the policy that each store has until then."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime, timedelta
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from reconciler.core.model.act import Actor
from reconciler.core.model.frozen import frozen
from reconciler.core.model.ids import ShopDomain

Phase = Literal["rolling", "soaking", "waiting", "stopped", "finished", "aborted"]
ENDED: Final = frozenset({"finished", "aborted"})
WITHHELD: Final = frozenset({"GuardExceeded", "NoLongerWanted", "RollOutHeld", "StorePaused", "StoreSuspended"})
"""Reasons of users that a change has not reached yet: a wave with such users is not done."""
NOT_BY_POLICY: Final = frozenset({"RowMissing", "StaleRow", "Departed", "DriftHeld", "Erased", "Undone"})
"""Reasons that no policy causes."""
FAILURES: Final = frozenset({"Failed", "Rejected"})
ATTEMPTS: Final = 3  # a request that failed so often, and is not due soon, counts as failed; the wave waits for others
SOON: Final = timedelta(seconds=30)
YEAR_S: Final = 31_536_000  # the longest duration of a setting: a date that is a longer one away may not exist


class RolloutSettings(BaseModel):
    """The limits of a wave, and what happens after it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    failed_percent: float = Field(
        default=0.5, ge=0, le=100, description="stop if more of the users that a wave touches fail or are refused"
    )
    held_percent: float = Field(
        default=20, ge=0, le=100, description="stop if more of the users that a wave touches are newly held"
    )
    soak_s: float = Field(
        default=600,
        ge=0,
        le=YEAR_S,
        allow_inf_nan=False,
        description="seconds after a wave before it is judged once more",
    )
    pause: Literal["manual", "auto"] = Field(
        default="manual", description="manual: each next wave waits for `reconciler rollout continue`; auto: it begins"
    )


@frozen(kw_only=True)
class KeptPolicy:
    """The policy that a store has, whatever stores.yaml says by now.

    `policy` is None for a store that was never synced, and empty where the policy that it had is not known. `since` is when
    it came into force, or a policy before it that no finished wave has proven: users are judged from then on. `synced_at`:
    when an `apply` last passed over the whole store.
    """

    shop: ShopDomain
    policy: Mapping[str, JsonValue] | None
    since: datetime
    synced_at: datetime | None = None


@frozen(kw_only=True)
class PolicyDifference:
    """One key in which the policy that a store has differs from that of stores.yaml; a key that is absent is None.

    `key` is its path with dots, as `metafields.app.tier.from`, or `columns.NAME` for the mapping of columns.
    """

    key: str
    before: JsonValue
    after: JsonValue

    @property
    def added(self) -> tuple[JsonValue, ...]:
        """What a list gets; empty where one of the values is no list."""
        return _only_in_first(self.after, self.before)

    @property
    def removed(self) -> tuple[JsonValue, ...]:
        """What a list loses; empty where one of the values is no list."""
        return _only_in_first(self.before, self.after)


def _only_in_first(first: JsonValue, second: JsonValue) -> tuple[JsonValue, ...]:
    if not isinstance(first, list) or not isinstance(second, list):
        return ()
    known = set(map(repr, second))
    return tuple(each for each in first if repr(each) not in known)


@frozen(kw_only=True)
class WaveCounts:
    """What a wave did to its users. `touched` are those that were changed, failed or are newly held, each once."""

    touched: int = 0
    changed: int = 0
    failed: int = 0
    held: int = 0

    def __add__(self, other: WaveCounts) -> WaveCounts:
        return WaveCounts(
            touched=self.touched + other.touched,
            changed=self.changed + other.changed,
            failed=self.failed + other.failed,
            held=self.held + other.held,
        )


@frozen(kw_only=True)
class StoreProgress:
    """How far a store is with the policy of its wave.

    `waits_for`: what it still waits for; empty: it is done. `asks`: an operator has to end that.
    """

    waits_for: str = ""
    asks: bool = False
    counts: WaveCounts = field(default_factory=WaveCounts)


@frozen(kw_only=True)
class Rollout:
    """One change of policy on its way through the waves. At most one is under way.

    `target` is the digest of each store's policy in the file. `work` are the shops that it reaches, `opened` those that it
    has reached so far, `current` those of the present wave. `unproven` are shops that an earlier rollout had reached when it
    was superseded; they are judged again. `wave` is 0 before the first wave. `version` grows with each transition.
    """

    id: int
    version: int = 0
    target: Mapping[ShopDomain, str]
    phase: Phase = "rolling"
    wave: int = 0
    work: tuple[ShopDomain, ...]
    opened: tuple[ShopDomain, ...] = ()
    current: tuple[ShopDomain, ...] = ()
    unproven: tuple[ShopDomain, ...] = ()
    began_at: datetime
    actor: Actor
    opened_at: datetime
    soak_until: datetime | None = None
    message: str = ""
    waves: Mapping[int, WaveCounts] = field(default_factory=dict)

    @property
    def step(self) -> str:
        """The name of this moment of the rollout: another one after each transition."""
        return f"{self.id}.{self.version}"

    @property
    def is_under_way(self) -> bool:
        """Whether it has neither finished nor been aborted."""
        return self.phase not in ENDED


@frozen
class RolloutState:
    """What the state knows: the newest rollout, and the policy of each store."""

    rollout: Rollout | None
    policies: Mapping[ShopDomain, KeptPolicy]
