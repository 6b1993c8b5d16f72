"""Names of processes that hold a lease, by which processes on the same machine can prove that a holder has ended.

Proof exists only if the kernel no longer knows the process, or another process has its number. A process on another
machine, in another container, or frozen, is never proven ended: its lease must expire.
"""

from __future__ import annotations

import os
import platform
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Final
from uuid import uuid4

_BOOT: Final = Path("/proc/sys/kernel/random/boot_id")
_NAMESPACE: Final = Path("/proc/self/ns/pid")
_DEAD: Final = frozenset("ZXx")  # process states of one that has ended and is not reaped yet


def new_holder() -> str:
    """Return a unique holder name: machine, process id, process start and a random number, separated by dots."""
    pid = os.getpid()
    return f"{_machine()}.{pid}.{_began(pid) or 0}.{uuid4().hex[:12]}"


def is_gone(holder: str) -> bool:
    """Return whether the holder's process has provably ended."""
    return (pid := _pid_here(holder)) is not None and not _lives(pid, began=int(holder.split(".")[2]))


def where(holder: str) -> str:
    """Return the holder's location as text for messages."""
    pid = _pid_here(holder)
    return "elsewhere" if pid is None else f"process {pid} on this machine"


def _pid_here(holder: str) -> int | None:
    """Return the holder's process id if it belongs to this machine, else None."""
    parts = holder.split(".")
    if len(parts) != 4 or not _machine() or parts[0] != _machine() or not parts[1].isdigit() or not parts[2].isdigit():  # noqa: PLR2004
        return None
    return int(parts[1])


@cache
def _machine() -> str:
    """Return an id of this boot and process namespace; empty if the kernel does not provide it."""
    try:
        seen = f"{platform.node()} {_BOOT.read_text()} {_NAMESPACE.readlink()}"
    except OSError:
        return ""
    return sha256(seen.encode()).hexdigest()[:16]


def _lives(pid: int, *, began: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it exists and belongs to another user
        pass
    try:
        state = _stat(pid)[0]
    except OSError:  # its identity is hidden from us
        return True
    return state not in _DEAD and began in {0, _began(pid)}


def _began(pid: int) -> int | None:
    """Return when this process began, in ticks since boot; None if the kernel does not provide it."""
    try:
        return int(_stat(pid)[19])
    except OSError:
        return None


def _stat(pid: int) -> list[str]:
    """Return the fields after the program's name, which may hold any character."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
