"""The memory that a process has at most, whatever it is sent: measured from outside, against each peer."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.outbound.peers import Answer, bomb, endless, peer, whole

pytestmark = pytest.mark.slow

MIB_MAX = 150
BOMBS: dict[str, Callable[[], Answer]] = {  # each is packed by the test that sends it
    "blanks": lambda: bomb(600),
    "lists": lambda: bomb(600, of=b"[]," * 349_525),
    "one text": lambda: bomb(600, of=b'"' + "\u00e9".encode() * 500_000),
    "objects": lambda: bomb(600, of=b'{"a":1},' * 131_072),
    "endless": lambda: endless(b'{"data": [' + b"1," * 30_000),
}


def asked(what: str, url: str) -> tuple[int, float, str]:
    """Its peak in MiB, the seconds that it took, and what was said."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.hostile.spoken", what, url],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    peak, seconds, said = done.stdout.split(" ", 2)
    return int(peak), float(seconds), said


@pytest.mark.matrix
@pytest.mark.parametrize("what", ["shop", "token", "clerk"])
@pytest.mark.parametrize("name", list(BOMBS))
def test_a_large_reply_takes_little_memory(name: str, what: str) -> None:
    with peer(BOMBS[name]()) as url:
        peak_mib, _, said = asked(what, url)
    assert peak_mib < MIB_MAX
    assert said.strip() != "nothing"


NEARLY: dict[str, Callable[[], bytes]] = {  # each as large as a reply may be
    "lists": lambda: b'{"data":{"nodes":[' + b"[]," * 130_000 + b"[]]}}",
    "objects": lambda: b'{"data":{"nodes":[' + b'{"a":1},' * 130_000 + b"{}]}}",
    "tags": lambda: b'{"data":{"nodes":[{"tags":[' + b'"ab",' * 390_000 + b'"ab"]}]}}',
    "text": lambda: b'{"data":{"nodes":["' + b"a" * 8_000_000 + "\U0001f600".encode() + b'"]}}',
    "escapes": lambda: b'{"data":{"nodes":["' + b"\\ud83d\\ude00" * 690_000 + b'"]}}',
}


@pytest.mark.parametrize("name", list(NEARLY))
def test_a_reply_that_is_just_small_enough_takes_little_memory(name: str) -> None:
    with peer(whole(NEARLY[name]())) as url:
        peak_mib, _, _ = asked("shop", url)
    assert peak_mib < MIB_MAX


def file_of(storage: str, size: int) -> bytes:
    node = {
        "id": "gid://shopify/BulkOperation/1", "status": "COMPLETED", "errorCode": None, "objectCount": "1",
        "fileSize": str(size), "url": storage, "partialDataUrl": None, "createdAt": "2026-11-29T00:00:00Z",
        "completedAt": "2026-11-29T00:00:00Z",
    }  # fmt: skip
    return json.dumps({"data": {"bulkOperation": node}}).encode()


FILES: dict[str, Callable[[], Answer]] = {
    "one line": lambda: endless(b"x" * 65_536),
    "blank lines": lambda: whole(b"\n" * 50_000_000),
    "a packed line": lambda: bomb(600),
    "many tags": lambda: whole(b'{"id":"gid://shopify/Customer/1","tags":[' + b'"ab",' * 800_000 + b'"ab"]}\n'),
    "long lines": lambda: whole((b'{"id":"gid://shopify/Customer/1","note":"' + b"a" * 3_900_000 + b'"}\n') * 20),
}


@pytest.mark.parametrize("name", list(FILES))
def test_a_large_file_takes_little_memory(name: str) -> None:
    with peer(FILES[name]()) as storage, peer(whole(file_of(storage, 10**12))) as url:
        peak_mib, _, said = asked("file", url)
    assert peak_mib < MIB_MAX
    assert said.strip() != "nothing"
