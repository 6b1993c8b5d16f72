"""The report on a rollout: its waves, what each changed, what it waits for, and what an operator can do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Final, Literal

from reconciler.core.model.frozen import frozen
from reconciler.core.model.ids import ShopDomain, StoreName
from reconciler.core.model.rollout import (
    Phase,
    PolicyDifference,
    Rollout,
    RolloutSettings,
    StoreProgress,
    WaveCounts,
)
from reconciler.core.plan.waves import WaveStore, exceeded, is_left, missing, next_wave

PolicyInForce = Literal["new", "earlier", "none"]
NO_CHANGES: Final[Mapping[ShopDomain, tuple[PolicyDifference, ...]]] = {}
WaveState = Literal["open", "done", "not begun", "nothing to do"]
NEXT_STEPS: Final[Mapping[Phase, str]] = {
    "rolling": "`reconciler run` continues by itself; without it, repeat `reconciler apply`",
    "soaking": "after the soak, `reconciler run` continues by itself; without it, repeat `reconciler apply`",
    "waiting": "`reconciler rollout continue` opens the next wave, `reconciler rollout abort` ends the rollout",
    "stopped": (
        "correct stores.yaml, which begins a new rollout; or `reconciler rollout continue` in spite of the limit; or "
        "`reconciler rollout abort`"
    ),
    "aborted": (
        "later waves keep the policy that they had until stores.yaml changes, or until `reconciler rollout continue`; "
        "earlier waves keep the new one: restore stores.yaml, and see `reconciler undo`"
    ),
    "finished": "",
}

HELD: Final = (
    "resume, correct or approve what these stores wait for (see `reconciler plan`); or `reconciler rollout continue` "
    "without them"
)
DIFFERS: Final = (
    "stores.yaml differs: `reconciler apply`, or a reload of `reconciler run` (SIGHUP), begins a new rollout"
)


@frozen(kw_only=True)
class StoreInWave:
    """One store: which policy it has, and what its wave waits for there (empty: nothing).

    `changes`: how an earlier policy differs from that of stores.yaml; empty where it was not asked for, or is not known.
    """

    store: StoreName
    shop: ShopDomain
    policy: PolicyInForce
    waits_for: str = ""
    changes: tuple[PolicyDifference, ...] = ()


@frozen(kw_only=True)
class WaveReport:
    """One wave; `counts` from its beginning on."""

    wave: int
    state: WaveState
    stores: tuple[StoreInWave, ...]
    counts: WaveCounts | None = None


@frozen(kw_only=True)
class RolloutReport:
    """The newest rollout; without one, `phase` is None. `is_current` False: it is that of another stores.yaml.

    `id` is its number, and `step` names this moment of it. `message`: the limit that stopped it, or that the present wave
    exceeds by now: it is not judged while it waits for an operator. `next_step`: what happens next, or what an operator can
    do. `next_wave`: the one that opens next; None after the last. `is_held`: a wave in progress waits for an operator.
    """

    phase: Phase | None
    id: int | None = None
    step: str | None = None
    wave: int | None = None
    began_at: datetime | None = None
    began_by: str | None = None
    soak_until: datetime | None = None
    message: str = ""
    next_step: str = ""
    next_wave: int | None = None
    is_current: bool = True
    is_held: bool = False
    limits: RolloutSettings
    waves: tuple[WaveReport, ...]

    @property
    def asks(self) -> bool:
        """Whether it waits for an operator."""
        return self.phase in {"waiting", "stopped"} or self.is_held

    @property
    def question(self) -> str:
        """What `rollout continue` asks."""
        match self.phase:
            case "rolling":
                so = f" now, although wave {self.wave} is not done?"
            case "stopped":
                so = " now, in spite of the limit?"
            case "soaking" | "waiting" if self.message:
                so = f" now, although {self.message}?"
            case _:
                so = " now?"
        return f"Open wave {self.next_wave}{so}" if self.next_wave else f"No wave is left. Finish the rollout{so}"

    @property
    def headline(self) -> str:
        """The state of the rollout in one line, and whether it is that of another stores.yaml."""
        changed = self.phase not in {None, "finished"} and not self.is_current
        return f"{self._state}{', but stores.yaml has changed since' if changed else ''}"

    @property
    def _state(self) -> str:
        last = max((each.wave for each in self.waves), default=0)
        judged = self.message or f"wave {self.wave} of {last} is within its limits"
        match self.phase:
            case None:
                kept = {store.policy for wave in self.waves for store in wave.stores}
                if "earlier" in kept:
                    return "no rollout has begun, and stores keep an earlier policy than that of stores.yaml"
                if "none" in kept:
                    return (
                        "no rollout has begun: stores wait for their first sync, or their earlier policy is not known"
                    )
                return "no rollout yet: all stores have the policy of stores.yaml"
            case "rolling":
                so_far = f"; so far, {self.message}" if self.message else ""
                return f"wave {self.wave} of {last} is in progress{so_far}"
            case "soaking" if self.soak_until is not None:
                until = self.soak_until.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
                return f"{judged}, and is watched until {until}"
            case "waiting":
                then = "; the next one waits for an operator" if self.is_current else ""
                return f"{judged}{then}"
            case "stopped":
                return f"stopped: {self.message}"
            case "aborted":
                return f"aborted at wave {self.wave} of {last}"
            case _ if self.next_step:
                return "finished, but stores.yaml has changed since"
            case _:
                return "finished: all waves have the policy of stores.yaml"


def rollout_report(
    rollout: Rollout | None,
    stores: Iterable[WaveStore],
    progress: Mapping[ShopDomain, StoreProgress],
    limits: RolloutSettings,
    changes: Mapping[ShopDomain, tuple[PolicyDifference, ...]] = NO_CHANGES,
) -> RolloutReport:
    """The report. `progress` is that of the stores in the present wave, `changes` of those with an earlier policy."""
    theirs = list(stores)
    is_current = rollout is None or rollout.target == {store.shop: store.target for store in theirs}
    waves = tuple(
        _wave(wave, [s for s in theirs if s.wave == wave], rollout, progress, changes)
        for wave in sorted({store.wave for store in theirs})
    )
    if rollout is None:
        next_step = "`reconciler apply` begins one" if is_left(theirs) else ""
        return RolloutReport(phase=None, next_step=next_step, limits=limits, waves=waves)
    is_over, left = rollout.phase == "finished", is_left(theirs)
    is_rolling, is_open = rollout.phase == "rolling", rollout.phase in {"rolling", "soaking", "waiting"}
    is_held = is_rolling and any(progress[store.shop].asks for store in theirs if store.shop in progress)
    differs = left if is_over else not is_current
    next_step = DIFFERS if differs else HELD if is_held else NEXT_STEPS[rollout.phase]
    if lacking := missing(rollout, theirs):
        next_step = (
            f"stores.yaml lacks {', '.join(lacking)}, so this rollout does not continue: restore it; or `reconciler rollout "
            "abort`, and `reconciler apply` begins a new rollout"
        )
    so_far = sum((each.counts for each in progress.values()), WaveCounts())
    return RolloutReport(
        phase=rollout.phase,
        id=rollout.id,
        step=rollout.step,
        wave=rollout.wave,
        began_at=rollout.began_at,
        began_by=rollout.actor.name,
        soak_until=rollout.soak_until,
        message=exceeded(rollout.wave, so_far, limits) if is_open else rollout.message,
        next_step=next_step,
        next_wave=next_wave(rollout, theirs),
        is_held=is_held,
        is_current=is_current,
        limits=limits,
        waves=waves,
    )


def _wave(
    wave: int,
    stores: list[WaveStore],
    rollout: Rollout | None,
    progress: Mapping[ShopDomain, StoreProgress],
    changes: Mapping[ShopDomain, tuple[PolicyDifference, ...]],
) -> WaveReport:
    lines = tuple(
        StoreInWave(
            store=store.name,
            shop=store.shop,
            policy="new" if store.kept == store.target else "none" if store.kept is None else "earlier",
            waits_for=progress[store.shop].waits_for if store.shop in progress and _is_open(wave, rollout) else "",
            changes=changes.get(store.shop, ()),
        )
        for store in stores
    )
    counts = rollout.waves.get(wave) if rollout is not None else None
    if rollout is not None and rollout.wave == wave and rollout.is_under_way:
        live = [progress[store.shop].counts for store in stores if store.shop in progress]
        counts = sum(live, WaveCounts()) if live else counts
    state = _state(wave, stores, rollout)
    has_begun = state in {"open", "done"}  # stores may have moved into a wave that others of them have passed
    return WaveReport(wave=wave, state=state, stores=lines, counts=counts if has_begun else None)


def _is_open(wave: int, rollout: Rollout | None) -> bool:
    return rollout is not None and rollout.wave == wave and rollout.phase == "rolling"


def _state(wave: int, stores: list[WaveStore], rollout: Rollout | None) -> WaveState:
    if _is_open(wave, rollout):
        return "open"
    if rollout is not None and any(store.shop in rollout.opened for store in stores):
        return "done"
    return "not begun" if any(store.kept != store.target for store in stores) else "nothing to do"
