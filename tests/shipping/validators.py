"""The programs that check the files for operators, each the published one for its kind of file."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.servers import absent
from tests.standards.tree import ROOT

OF_DEBIAN = {
    "kubectl": "kubernetes-client",
    "promtool": "prometheus",
    "systemd-analyze": "systemd",
    "sqlite3": "sqlite3",
}


def program(name: str) -> str:
    """The path of a validator. Without it the test is skipped, or fails where servers are required."""
    beside = Path(sys.executable).parent
    found = shutil.which(name, path=os.pathsep.join([str(beside), os.environ.get("PATH", os.defpath)]))  # noqa: TID251  a search
    if found is None and name in OF_DEBIAN:
        absent(name, OF_DEBIAN[name])
    if found is None:
        absent(name, "", install="make validators")
    return found


def check_with(name: str, *words: str, text: str | None = None) -> str:
    """Run a validator in the project's root: it has to find nothing wrong. What it prints to stdout."""
    done = subprocess.run(
        [program(name), *words], cwd=ROOT, input=text, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
