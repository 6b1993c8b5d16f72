"""What we depend on: each line earned, pinned, hashed, and never an address to download from."""

from __future__ import annotations

import re

from tests.standards.tree import ROOT, project

NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]*")


def name_of(requirement: str) -> str:
    found = NAME.match(requirement)
    assert found, requirement
    return re.sub(r"[-_.]+", "-", found.group()).lower()


def pinned(file: str) -> dict[str, str]:
    """Version by name; each with at least one hash."""
    found: dict[str, str] = {}
    text = (ROOT / file).read_text(encoding="utf-8").replace("\\\n", " ")
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        requirement, *hashes = line.split("--hash=")
        pin = re.match(r"^([\w.-]+)(\[[\w,-]+\])?==([\w.!+]+)\s*(;.*)?$", requirement.strip())
        assert pin, f"{file}: {requirement.strip()} is not pinned"
        assert hashes, f"{file}: {pin[1]} has no hash"
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", h.strip()) for h in hashes), pin[1]
        found[name_of(pin[1])] = pin[3]
    return found


def test_every_dependency_is_pinned_and_hashed() -> None:
    runtime, everything = pinned("requirements.txt"), pinned("requirements-dev.txt")
    wanted = {name_of(r) for r in project()["project"]["dependencies"]}
    wanted_dev = {name_of(r) for r in project()["project"]["optional-dependencies"]["dev"]}
    assert wanted <= set(runtime)
    wanted_simulator = {name_of(r) for r in project()["project"]["optional-dependencies"]["simulator"]}
    assert wanted_dev | wanted_simulator <= set(everything)
    assert not wanted_simulator & set(runtime)


def test_what_is_tested_is_what_runs() -> None:
    runtime, everything = pinned("requirements.txt"), pinned("requirements-dev.txt")
    assert {name: everything.get(name) for name in runtime} == runtime


def test_what_builds_the_package_is_pinned_too() -> None:
    wanted = {name_of(r) for r in project()["build-system"]["requires"]}
    assert wanted <= set(pinned("requirements-build.txt"))


def test_what_checks_the_files_for_operators_fits_beside_what_is_tested() -> None:
    validators, everything = pinned("requirements-validators.txt"), pinned("requirements-dev.txt")
    wanted = {name_of(r) for r in project()["project"]["optional-dependencies"]["validators"]}
    assert wanted <= set(validators)
    assert {name: version for name, version in validators.items() if everything.get(name, version) != version} == {}


def test_no_requirement_file_records_where_to_download_from() -> None:
    for file in ROOT.glob("requirements*.txt"):
        assert not re.search(r"https?://|--(extra-)?index-url|--find-links|@ ", file.read_text(encoding="utf-8")), file


def test_every_runtime_dependency_says_what_it_is_for() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    block = text.split("\ndependencies = [\n")[1].split("\n]")[0]
    entries = [line for line in block.splitlines() if line.strip().startswith('"')]
    assert len(entries) == len(project()["project"]["dependencies"])
    assert [line for line in entries if not re.search(r'",\s+# \S', line)] == []
