"""One measurement in a process of its own, so that its peak memory and its CPU are its own."""

from __future__ import annotations

import multiprocessing
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Ready = Callable[..., Callable[[], int]]


def alone(ready: Ready, *words: Any) -> dict[str, Any]:
    """What the work of `ready(*words)` counted, its CPU and wall seconds, and peak memory; readying it is not timed."""
    spawn = multiprocessing.get_context("spawn")
    receive, send = spawn.Pipe(duplex=False)
    process = spawn.Process(target=_measured, args=(ready, words, send))
    process.start()
    send.close()
    try:
        found: dict[str, Any] = receive.recv()
    except EOFError as error:
        raise RuntimeError(f"the measurement {words} ended without a result") from error
    finally:
        process.join()
    return found


def _measured(ready: Ready, words: tuple[Any, ...], send: Any) -> None:
    work = ready(*words)
    cpu, wall = time.process_time(), time.perf_counter()
    count = work()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    send.send({"count": count, "cpu_s": round(cpu, 3), "wall_s": round(wall, 3), "peak_mb": _peak_mb()})


def _peak_mb() -> float:
    """Of this process alone: Linux lets ru_maxrss begin with the parent's, so the kernel's own mark goes first."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return round(int(line.split()[1]) / 1024, 1)
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)
