"""Other people's programs, installed outside of the project for as long as a benchmark runs; absent where that fails."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

INSTALL_S = 400
RUN_S = 1800
QUIET = {"PATH": "/usr/bin:/bin", "DO_NOT_TRACK": "1", "RUNTIME__DLTHUB_TELEMETRY": "false"}
"""They get nothing else of our environment, and report nothing to their makers; our programs beside them get the same."""


@contextmanager
def scratch(package: str, ready: Path | None = None) -> Iterator[Path | None]:
    """A Python that has this package: `ready` if that one does, else a fresh one in a folder that goes away. Or None."""
    if ready is not None:
        yield ready if _has(ready, package) else None
        return
    with tempfile.TemporaryDirectory() as folder:
        python = Path(folder) / "venv" / "bin" / "python"
        try:
            subprocess.run([sys.executable, "-m", "venv", str(python.parents[1])], check=True, timeout=INSTALL_S)
            install = [str(python), "-m", "pip", "install", "-q", package]
            subprocess.run(install, check=True, timeout=INSTALL_S, capture_output=True)
        except (subprocess.SubprocessError, OSError):
            yield None
            return
        yield python


def run(python: Path, script: Path, *words: str) -> dict[str, Any]:
    """What a script of ours says when it runs in that Python: its last line is JSON. Its failure is reported, not raised."""
    with tempfile.TemporaryDirectory() as home:
        try:
            done = subprocess.run(
                [str(python), str(script), *words],
                capture_output=True, text=True, timeout=RUN_S, check=False, cwd=home, env={**QUIET, "HOME": home},
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return {"error": f"had not ended after {RUN_S} s"}
    if done.returncode:
        return {"error": (done.stderr.strip().splitlines() or ["no word"])[-1]}
    said: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return said


def _has(python: Path, package: str) -> bool:
    return subprocess.run([str(python), "-m", "pip", "show", "-q", package], check=False).returncode == 0
