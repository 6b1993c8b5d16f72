"""The waves of a rollout: how it begins, when a wave is done, what stops it, and what opens the next one. Pure.

Phases: rolling (a wave is open), soaking (it was within its limits, and is judged once more), waiting (for `continue`),
stopped (it was not within its limits), finished, aborted.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from collections.abc import Mapping as MappingOf
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import reduce
from operator import add

from reconciler.core.model.act import Actor
from reconciler.core.model.frozen import frozen
from reconciler.core.model.ids import ShopDomain, StoreName
from reconciler.core.model.rollout import Rollout, RolloutSettings, StoreProgress, WaveCounts

Progress = Callable[[Collection[ShopDomain]], MappingOf[ShopDomain, StoreProgress]]
"""How far these stores are with the policy of their wave."""


@frozen(kw_only=True)
class WaveStore:
    """A store as a rollout knows it: its wave, the digest of its policy in the file, and of the policy that it has."""

    name: StoreName
    shop: ShopDomain
    wave: int
    target: str
    kept: str | None


def begin(former: Rollout | None, stores: Sequence[WaveStore], *, actor: Actor, now: datetime) -> Rollout | None:
    """The rollout to the policies of the file, with its first wave open; None where there is nothing to begin.

    It supersedes one that has not finished: the stores that this one had reached are judged again, in their waves. After a
    finished one to the same policies, stores have others only if they had no waves meanwhile.
    """
    target = {store.shop: store.target for store in stores}
    if former is not None and former.target == target and (former.phase != "finished" or not is_left(stores)):
        return None
    is_proven = former is None or former.phase == "finished"
    unproven = () if is_proven or former is None else tuple(sorted({*former.opened, *former.unproven} & target.keys()))
    work = tuple(sorted({store.shop for store in stores if store.kept != store.target} | set(unproven)))
    if not work and is_proven:
        return None
    rollout = Rollout(
        id=former.id + 1 if former is not None else 1,
        target=target,
        work=work,
        unproven=unproven,
        began_at=now,
        actor=actor,
        opened_at=now,
    )
    return open_next(rollout, stores, now=now)


def open_next(rollout: Rollout, stores: Sequence[WaveStore], *, now: datetime) -> Rollout:
    """The rollout with its next wave open; finished where there is none."""
    left = [store for store in stores if store.shop in rollout.work and store.shop not in rollout.opened]
    if not left:
        return replace(rollout, phase="finished", current=(), soak_until=None, message="")
    wave = min(store.wave for store in left)
    shops = tuple(sorted(store.shop for store in left if store.wave == wave))
    return replace(
        rollout,
        phase="rolling",
        wave=wave,
        opened=tuple(sorted({*rollout.opened, *shops})),
        current=shops,
        opened_at=now,
        soak_until=None,
        message="",
    )


def advance(
    rollout: Rollout,
    stores: Sequence[WaveStore],
    progress: Progress,
    limits: RolloutSettings,
    *,
    now: datetime,
    may_open: bool = True,
) -> Rollout:
    """The rollout as of now: a wave that is done is judged, soaks, and is judged again before the next one opens.

    `may_open` False: a next wave is left to the next call. Where the clock was set back, what it had dated begins again now.
    """
    if rollout.phase == "rolling":
        if rollout.opened_at > now:
            return replace(rollout, opened_at=now)
        found = progress(rollout.current)
        if any(one.waits_for for one in found.values()):
            return rollout
        rollout = _judge(rollout, found, limits)
        if rollout.phase == "stopped":
            return rollout
        if next_wave(rollout, stores) is None:
            return open_next(rollout, stores, now=now)
        rollout = replace(rollout, phase="soaking", soak_until=now + timedelta(seconds=limits.soak_s))
    if rollout.phase != "soaking":
        return rollout
    latest = now + timedelta(seconds=limits.soak_s)
    until = min(rollout.soak_until or latest, latest)
    if now < until:
        return replace(rollout, soak_until=until)
    rollout = _judge(rollout, progress(rollout.current), limits)
    if rollout.phase == "stopped":
        return rollout
    if limits.pause == "manual":
        return replace(rollout, phase="waiting", soak_until=None)
    return open_next(rollout, stores, now=now) if may_open else rollout


def next_wave(rollout: Rollout, stores: Iterable[WaveStore]) -> int | None:
    """The wave that opens next; None where all have begun."""
    return min((s.wave for s in stores if s.shop in rollout.work and s.shop not in rollout.opened), default=None)


def is_left(stores: Iterable[WaveStore]) -> bool:
    """Whether a store has another policy than that of the file."""
    return any(store.kept != store.target for store in stores)


def missing(rollout: Rollout | None, stores: Iterable[WaveStore]) -> list[ShopDomain]:
    """The shops of a rollout under way that these stores lack. With a part of the stores, no wave is begun or judged."""
    if rollout is None or not rollout.is_under_way:
        return []
    return sorted(rollout.target.keys() - {store.shop for store in stores})


def resume(
    rollout: Rollout | None, stores: Sequence[WaveStore], progress: Progress, *, now: datetime
) -> Rollout | None:
    """The rollout with its next wave open because an operator says so; None where there is none to continue.

    What the present wave did is noted, and not judged.
    """
    if rollout is None or rollout.phase == "finished":
        return None
    noted = rollout if rollout.phase == "aborted" else _noted(rollout, progress(rollout.current))
    return open_next(noted, stores, now=now)


def end(rollout: Rollout | None) -> Rollout | None:
    """The rollout, finished: all stores are in one wave now, also those that an aborted one had left. None without one."""
    if rollout is None or rollout.phase == "finished":
        return None
    return replace(rollout, phase="finished", current=(), soak_until=None, message="", version=rollout.version + 1)


def abort(rollout: Rollout | None, progress: Progress) -> Rollout | None:
    """The rollout, ended: later waves keep the policy that they had. None where none is under way."""
    if rollout is None or not rollout.is_under_way:
        return None
    return replace(_noted(rollout, progress(rollout.current)), phase="aborted", soak_until=None, message="")


def exceeded(wave: int, counts: WaveCounts, limits: RolloutSettings) -> str:
    """Which limit these counts exceed, in words; empty where none."""
    named = (("failed_percent", limits.failed_percent, counts.failed, "failed"),
             ("held_percent", limits.held_percent, counts.held, "are newly held"))  # fmt: skip
    for name, limit, count, words in named:
        share = 100 * count / counts.touched if counts.touched else 0.0
        if share > limit:
            of = f"{count:,} of {counts.touched:,} touched users {words} ({share:.1f} %)"
            return f"wave {wave} exceeds {name} {limit:g}: {of}"
    return ""


def why_held_back(rollout: Rollout | None, wave: int) -> str:
    """Why the stores of this wave keep the policy that they had."""
    if rollout is None or rollout.wave == 0:
        return f"wave {wave} of the rollout has not begun"
    theirs = f"wave {wave}" if wave > rollout.wave else f"the rest of wave {wave}"  # a store that was moved to it
    match rollout.phase:
        case "stopped":
            return f"{theirs} does not begin: {rollout.message}"
        case "aborted":
            return f"{theirs} does not begin: the rollout was aborted at wave {rollout.wave}"
        case "waiting":
            return f"{theirs} waits for `reconciler rollout continue` after wave {rollout.wave}"
        case "soaking" if rollout.soak_until is not None:
            until = rollout.soak_until.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
            return f"{theirs} has not begun: wave {rollout.wave} is watched until {until}"
        case "rolling":
            return f"{theirs} has not begun: wave {rollout.wave} is in progress"
        case _:
            return f"wave {wave} of the rollout has not begun"


def _judge(rollout: Rollout, found: MappingOf[ShopDomain, StoreProgress], limits: RolloutSettings) -> Rollout:
    judged = _noted(rollout, found)
    why = exceeded(rollout.wave, judged.waves[rollout.wave], limits)
    return replace(judged, phase="stopped", soak_until=None, message=why) if why else judged


def _noted(rollout: Rollout, found: MappingOf[ShopDomain, StoreProgress]) -> Rollout:
    counts = reduce(add, (one.counts for one in found.values()), WaveCounts())
    return replace(rollout, waves={**rollout.waves, rollout.wave: counts})
