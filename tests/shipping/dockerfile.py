"""The steps of the Dockerfile without Docker: `python -m tests.shipping.dockerfile` builds its first stage in a folder.

The RUN lines are executed as they are, with the folders of the image replaced by folders below a temporary one. Then the
result is used as the last stage would: probed by the HEALTHCHECK, and nothing is written to it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDERS = ("/opt/customer-parity", "/tools", "/src")
STORES = """
version: 1
stores: [{name: one, shop: one.myshopify.com, admin_url: "http://127.0.0.1:9", auth: {access_token: x}}]
"""
SETTINGS = """
version: 1
state: {url: "sqlite:///state.db"}
profiles: {columns: {clerk_user_id: clerk_user_id, email: email}, trust_email: never}
"""
WAIT_S = 60.0


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction, its continuation lines joined."""

    name: str
    text: str


def instructions() -> Iterator[Instruction]:
    """Those of the Dockerfile, in order."""
    text = re.sub(r"^\s*#.*\n", "", (ROOT / "Dockerfile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    for line in re.sub(r"\\\n\s*", " ", text).splitlines():
        if line.strip():
            name, _, rest = line.partition(" ")
            yield Instruction(name, rest.strip())


def build(folder: Path) -> Path:
    """Execute the first stage below the folder; gives the environment that the last stage copies."""
    subprocess.run([sys.executable, "-m", "venv", folder / "base"], check=True)  # the base image: Python with pip
    base = folder / "base/bin"
    paths = {inside: str(folder / inside.strip("/")) for inside in FOLDERS}
    (source := Path(paths["/src"])).mkdir(parents=True)
    environment = {"PATH": f"{base}{os.pathsep}{os.environ['PATH']}", "HOME": str(folder)}  # noqa: TID251  a child's
    environment |= {name: value for name, value in os.environ.items() if name.startswith("PIP_")}  # noqa: TID251  where pip looks
    stage = 0
    for instruction in instructions():
        stage += instruction.name == "FROM"
        if stage != 1:
            continue
        if instruction.name == "COPY":
            *names, target = instruction.text.split()
            for name in names:
                _copy(ROOT / name, source / (name if target == "./" else target))
        elif instruction.name == "RUN":
            script = instruction.text
            for inside, outside in paths.items():
                script = re.sub(rf"{re.escape(inside)}(?![\w-])", outside, script)
            say(f"RUN {instruction.text}")
            subprocess.run(["sh", "-ec", script], cwd=source, env=environment, check=True)
    return Path(paths["/opt/customer-parity"])


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy2(source, target)


def probe(environment: Path, folder: Path) -> None:
    """Run the controller until the HEALTHCHECK passes, then end it."""
    (folder / "state").mkdir()
    (folder / "stores.yaml").write_text(STORES)
    (folder / "reconciler.yaml").write_text(SETTINGS)
    with closing(sqlite3.connect(folder / "state/state.db")) as database:
        database.execute("create table customers (clerk_user_id text primary key, email text)")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    path = f"{environment / 'bin'}{os.pathsep}{os.defpath}"
    files = {"RECONCILER_CONFIG": f"{folder}/reconciler.yaml", "RECONCILER_STORES": f"{folder}/stores.yaml"}
    variables = {"PATH": path, "PYTHONDONTWRITEBYTECODE": "1", **files}
    (check,) = (i.text for i in instructions() if i.name == "HEALTHCHECK")
    command = [word.replace("8080", str(port)) for word in json.loads(check.partition("CMD ")[2])]
    run = ["reconciler", "run", "--port", str(port)]
    with subprocess.Popen(run, cwd=folder / "state", env=variables, stderr=subprocess.DEVNULL) as running:
        try:
            end = time.monotonic() + WAIT_S
            while subprocess.run(command, env=variables, capture_output=True, check=False).returncode:
                assert running.poll() is None, "the controller has ended"
                assert time.monotonic() < end, "the HEALTHCHECK does not pass"
                time.sleep(0.2)
            running.terminate()
            assert running.wait(WAIT_S) == 0
        finally:
            running.kill()
    assert subprocess.run(command, env=variables, capture_output=True, check=False).returncode, "nothing answers now"


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> None:
    """Build, use, and report the size."""
    with tempfile.TemporaryDirectory(prefix="image-") as name:
        folder = Path(name)
        environment = build(folder)
        sizes = {
            path: path.stat().st_size for path in environment.rglob("*") if path.is_file() and not path.is_symlink()
        }
        probe(environment, folder)
        assert {path for path in environment.rglob("*") if path.is_file() and not path.is_symlink()} == set(sizes)
        say(f"the Dockerfile's steps passed; the environment has {sum(sizes.values()) / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
