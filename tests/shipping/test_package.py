"""The sdist and the wheel hold all that they need: built, and installed beside nothing but the dependencies."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from dataclasses import dataclass
from email import message_from_string
from email.message import Message
from pathlib import Path

from reconciler.cli.commands.docs import PAGES, pages
from tests.standards.tree import ROOT, project, tracked

EVERYTHING = """
import importlib, pathlib, pkgutil, reconciler
from reconciler.cli.main import run
for module in pkgutil.walk_packages(reconciler.__path__, "reconciler."):
    if "migrations" not in module.name and not module.name.endswith("__main__"):
        importlib.import_module(module.name)
print(pathlib.Path(reconciler.__file__).parent)
codes = [run(["docs", "EmailTaken"]), run(["docs", "--samples", "samples"]), run(["demo", "--help"])]
raise SystemExit(max(codes))
"""


def built(source: Path, kind: str, out: Path) -> Path:
    """The archive that the build backend makes of this source."""
    out.mkdir(exist_ok=True)
    program = f"from setuptools.build_meta import build_{kind} as build; build({str(out)!r})"
    done = subprocess.run([sys.executable, "-c", program], cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    (archive,) = out.iterdir()
    return archive


def copied_tree(folder: Path) -> Path:
    """The tracked files, and the links among them, in a folder of their own."""
    for path in tracked():
        target = folder / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, target)
    for name in ("reference", "samples"):
        (folder / "reconciler" / name).symlink_to((ROOT / "reconciler" / name).readlink())
    return folder


@dataclass(frozen=True, slots=True)
class Package:
    """Both archives, and an environment in which nothing but the wheel and the dependencies is installed."""

    sdist: set[str]
    wheel: set[str]
    metadata: Message
    python: Path
    folder: Path

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A command of the environment, in a folder outside the project."""
        environment = {"PATH": f"{self.python.parent}{os.pathsep}{os.defpath}", "HOME": str(self.folder)}
        return subprocess.run(words, cwd=self.folder, env=environment, capture_output=True, text=True, check=False)


def installed(folder: Path) -> Package:
    """The wheel is built from the sdist, so each file of it has to be in both."""
    sdist = built(copied_tree(folder / "tree"), "sdist", folder / "sdist")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder / "unpacked", filter="data")
        packed = {name.partition("/")[2] for name in archive.getnames()}
    (source,) = (folder / "unpacked").iterdir()
    wheel = built(source, "wheel", folder / "wheel")
    with zipfile.ZipFile(wheel) as archive_:
        names = set(archive_.namelist())
        (described,) = (name for name in names if name.endswith("dist-info/METADATA"))
        metadata = message_from_string(archive_.read(described).decode())
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    python = folder / "venv/bin/python"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(python), "install", "--quiet"]
    subprocess.run([*pip, "--no-deps", "--no-index", "--no-compile", str(wheel)], check=True)
    site = Path(sysconfig.get_path("purelib", vars={"base": str(folder / "venv")}))
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    (folder / "elsewhere").mkdir()
    return Package(packed, names, metadata, python, folder / "elsewhere")


def check_program_files(package: Package) -> None:
    ours = {str(path.relative_to(ROOT)) for path in tracked() if path.is_relative_to(ROOT / "reconciler")}
    expected = {name for name in ours if not name.endswith((".toml", ".md"))}
    expected |= {
        f"reconciler/reference/{page}.md" if page in PAGES else f"reconciler/reference/tasks/{page}.md"
        for page in pages()
    }
    expected |= {
        f"reconciler/samples/{path.relative_to(ROOT / 'config/samples')}"
        for path in tracked()
        if path.is_relative_to(ROOT / "config/samples")
    }
    assert expected - package.wheel == set()
    assert "reconciler/py.typed" in package.wheel
    assert {name for name in package.wheel if not name.startswith(("reconciler/", "customer_parity-"))} == set()


def check_sdist(package: Package) -> None:
    wanted = {"pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "Makefile", "requirements.txt",
              "config/reconciler.yaml", "stores.yaml", "docs/errors.md", "tests/conftest.py"}  # fmt: skip
    assert wanted - package.sdist == set()


def check_metadata(package: Package) -> None:
    assert "Typing :: Typed" in package.metadata.get_all("Classifier", ())
    assert package.metadata["License-Expression"] == "Apache-2.0"
    assert package.metadata["Version"] == project()["project"]["version"]


def test_the_newest_entry_of_the_changelog_is_of_this_version() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert text.split("\n## ")[1].split()[0] == project()["project"]["version"]


def check_use_elsewhere(package: Package) -> None:
    assert package.run("reconciler", "--version").stdout == f"reconciler {package.metadata['Version']}\n"
    used = package.run("python", "-c", EVERYTHING)
    assert used.returncode == 0, used.stderr
    assert Path(used.stdout.splitlines()[0]).is_relative_to(package.python.parents[1])
    assert "Who acts: the operator" in used.stdout
    assert (package.folder / "samples/single-shop/stores.yaml").is_file()


def test_the_package_is_complete_and_works_outside_the_project(tmp_path: Path) -> None:
    package = installed(tmp_path)  # one test: building takes most of its time
    check_program_files(package)
    check_sdist(package)
    check_metadata(package)
    check_use_elsewhere(package)
