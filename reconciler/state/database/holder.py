"""Names of processes that hold something, by which others on the same machine can prove that a holder is gone.

Proven is little: the kernel knows no such process any more, or another one has its number. A process of another machine,
of another container, or that is frozen, is never proven gone: its lease must run out.
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
_DEAD: Final = frozenset("ZXx")  # of the states of a process: ended, and not waited for yet


def new_holder() -> str:
    """A name that no other holder has: machine, process, when that began, and a number of its own, dots between."""
    pid = os.getpid()
    return f"{_machine()}.{pid}.{_began(pid) or 0}.{uuid4().hex[:12]}"


def is_gone(holder: str) -> bool:
    """Whether the process of this holder has provably ended."""
    return (pid := _pid_here(holder)) is not None and not _lives(pid, began=int(holder.split(".")[2]))


def where(holder: str) -> str:
    """Where this holder is, for people."""
    pid = _pid_here(holder)
    return "elsewhere" if pid is None else f"process {pid} on this machine"


def _pid_here(holder: str) -> int | None:
    """The process of this holder, where it is or was one of this machine."""
    parts = holder.split(".")
    if len(parts) != 4 or not _machine() or parts[0] != _machine() or not parts[1].isdigit() or not parts[2].isdigit():  # noqa: PLR2004
        return None
    return int(parts[1])


@cache
def _machine() -> str:
    """This boot of this machine, as processes see each other in it; empty where the kernel does not say."""
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
    except OSError:  # it is there, and another user's
        pass
    try:
        state = _stat(pid)[0]
    except OSError:  # who it is can't be seen
        return True
    return state not in _DEAD and began in {0, _began(pid)}


def _began(pid: int) -> int | None:
    """When this process began, in ticks since the boot; None where the kernel does not say."""
    try:
        return int(_stat(pid)[19])
    except OSError:
        return None


def _stat(pid: int) -> list[str]:
    """What follows the name of the program, which may hold anything."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
