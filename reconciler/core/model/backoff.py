"""How long to wait before the next look at a key that failed: exponential, jittered, capped. Pure.

The jitter comes from the key and the attempt, so that a shop's thousand failed keys don't come back in one moment,
and the same failure waits as long in every process and every test.
"""

from __future__ import annotations

import hashlib

BASE_S = 1.0
CAP_S = 900.0
_DOUBLINGS_MAX = 60  # 2**60 seconds is above any cap, and far from what a float can't hold


def delay_s(attempts: int, fraction: float, *, base_s: float = BASE_S, cap_s: float = CAP_S) -> float:
    """Seconds to wait after the `attempts`-th failure in a row (1: the first), with equal jitter.

    Half of the exponential step is kept, the other half is scaled by `fraction` (0 to 1): a key never comes back at
    once, as with full jitter it could, and two keys that failed together don't come back together.
    """
    if attempts < 1:
        raise ValueError(f"attempts counts failures from 1, not {attempts}")
    if not 0.0 <= fraction <= 1.0:
        raise ValueError(f"the jitter's fraction lies between 0 and 1, {fraction} doesn't")
    step_s = min(cap_s, base_s * 2.0 ** min(attempts - 1, _DOUBLINGS_MAX))
    return step_s / 2 + fraction * step_s / 2


def fraction_of(*parts: str | int) -> float:
    """A number from 0 up to 1, evenly spread over keys, the same in every process (Python's own `hash()` isn't)."""
    digest = hashlib.blake2b("\0".join(str(part) for part in parts).encode(), digest_size=6).digest()
    return int.from_bytes(digest) / (1 << 48)
