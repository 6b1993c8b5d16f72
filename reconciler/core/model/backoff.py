"""The delay before a failed request is reconciled again: exponential, jittered, capped.

The jitter is computed from the request and the attempt. A thousand failed requests of one shop are therefore retried
at different times, and one failure waits equally long in every process and every test.
"""

from __future__ import annotations

import hashlib

BASE_S = 1.0
CAP_S = 900.0
_DOUBLINGS_MAX = 60  # 2**60 seconds is above any cap, and far from what a float can't hold


def delay_s(attempts: int, fraction: float, *, base_s: float = BASE_S, cap_s: float = CAP_S) -> float:
    """Seconds to wait after the `attempts`-th failure in a row (1: the first), with equal jitter.

    Half of the exponential step is fixed, the other half is scaled by `fraction` (0 to 1). Unlike full jitter, this
    never retries immediately. ValueError if an argument is outside its range.
    """
    if attempts < 1:
        raise ValueError(f"attempts must be at least 1, not {attempts}")
    if not 0.0 <= fraction <= 1.0:
        raise ValueError(f"fraction must be between 0 and 1, not {fraction}")
    step_s = min(cap_s, base_s * 2.0 ** min(attempts - 1, _DOUBLINGS_MAX))
    return step_s / 2 + fraction * step_s / 2


def fraction_of(*parts: str | int) -> float:
    """A number from 0 up to 1, evenly distributed over keys and equal in every process (Python's own `hash()` is not)."""
    digest = hashlib.blake2b("\0".join(str(part) for part in parts).encode(), digest_size=6).digest()
    return int.from_bytes(digest) / (1 << 48)
