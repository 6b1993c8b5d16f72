"""Which fault happens when, from a seed: lanes side by side, in each of them one fault after the other.

Left out, by rule: replies that lie in well-formed values, as the simulator's hostile kinds `shape` and `text` do. A shop
that names another customer than the one it means makes every controller write to that one. Strange spellings are no fault
that ends: a shop spells a value always in the same way, so some seeds have strange shops from the beginning (`soak.py`).

Each lane goes through its kinds in a shuffled order, again and again, so that every kind comes before one comes twice.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tests.chaos.people import SHOPS

# kind: shortest and longest duration in seconds
LANES: Mapping[str, Mapping[str, tuple[float, float]]] = {
    "replicas": {
        "kill": (1, 8), "freeze": (3, 40), "restart": (0, 1), "freeze in a transaction": (5, 35), "no space": (3, 10),
    },
    "database": {
        "crash": (2, 12), "backends cut": (0, 0), "pooler killed": (1, 6), "network cut": (2, 15), "disk full": (3, 10),
    },
    "table": {
        "locked": (2, 12), "reloaded": (2, 8), "swapped": (1, 5), "altered": (1, 4), "column away": (1, 5),
        "table away": (1, 5), "emptied": (1, 5),
    },
    "shops": {
        "lost_before": (2, 10), "lost_after": (2, 10), "slow": (3, 25), "status": (2, 12), "throttled": (2, 8),
        "html": (2, 10), "truncated": (2, 10), "missing_scope": (2, 8), "internal_error": (2, 10),
        "internal_error_after": (2, 10), "null_payload": (2, 10), "frozen shop": (2, 10), "busy neighbour": (3, 15),
    },
    "spoilt": {
        "bomb": (2, 8), "endless": (2, 8), "drip": (2, 8), "headers": (2, 8), "packed": (2, 8), "nan": (2, 8),
        "numbers": (2, 8), "deep": (2, 8), "twice": (2, 8), "urls": (2, 8),
    },
    "clerk": {"clerk away": (2, 20), "clerk busy": (2, 10)},
    "files": {"half-written": (1, 4), "broken": (2, 6), "clock moved": (5, 20), "swapped file": (0, 0)},
}  # fmt: skip
GAP_S: Mapping[str, tuple[float, float]] = {"table": (4.0, 14.0)}  # the app wants to write, too
OTHER_GAP_S = (1.0, 8.0)
OF_A_SHOP = frozenset({"shops", "spoilt"})


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: `at` and `seconds` after the beginning; `target` a shop or the number of a replica; `dice` for the rest."""

    at: float
    lane: str
    kind: str
    seconds: float
    target: str
    dice: int


def faults(seed: int, seconds: float, *, scale: float = 1.0) -> list[Fault]:
    """Everything that goes wrong in so many seconds, in the order in which it begins. `scale`: of durations and gaps."""
    found = [fault for lane in LANES for fault in _lane(seed, lane, seconds, scale)]
    return sorted(found, key=lambda fault: (fault.at, fault.lane))


def _lane(seed: int, lane: str, seconds: float, scale: float) -> Iterator[Fault]:
    chance = random.Random(f"{seed} {lane}")
    gap_s = GAP_S.get(lane, OTHER_GAP_S)
    at = chance.uniform(*gap_s) * scale
    while True:
        kinds = list(LANES[lane])
        chance.shuffle(kinds)
        for kind in kinds:
            lasts = chance.uniform(*LANES[lane][kind]) * scale
            target = chance.choice(SHOPS) if lane in OF_A_SHOP else str(chance.randrange(3))
            fault = Fault(round(at, 2), lane, kind, round(lasts, 2), target, chance.randrange(1_000_000))
            if at + lasts > seconds:
                return
            yield fault
            at += lasts + chance.uniform(*gap_s) * scale
