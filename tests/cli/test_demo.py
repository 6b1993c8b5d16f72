"""The demo runs the real commands to an empty plan, leaves nothing behind, and may be repeated."""

from pathlib import Path

import pytest

from reconciler.cli.main import run


def test_the_demo_ends_with_nothing_left_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["demo", "--dir", "files"]) == 0, capsys.readouterr().err
    out = " ".join(capsys.readouterr().out.split())
    assert "112 to create · 5 to adopt · 4 held" in out
    assert "`reconciler demo --all` shows the plans in full." in out
    assert "✓ The simulated shops confirm every claim above." in out
    assert list(tmp_path.iterdir()) == [tmp_path / "files"]
    assert run(["demo", "--dir", "files"]) == 64
    assert "is not an empty folder" in capsys.readouterr().err
