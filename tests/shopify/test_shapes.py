"""Replies are taken into shapes by many workers at the same time, also the first ones after a start."""

from __future__ import annotations

import subprocess
import sys

FIRST_TWO_REPLIES = """
from __future__ import annotations

import threading

from reconciler.shopify.api.shapes import ReplyPart, as_shape

begun, go_on = threading.Event(), threading.Event()


def slow():
    begun.set()
    go_on.wait(30)
    return int


class Inner(ReplyPart, frozen=True):
    number: slow()  # a thread that loses the processor while msgspec reads the annotations


class Outer(ReplyPart, frozen=True):
    inner: Inner


read = []
threads = [
    threading.Thread(target=lambda: read.append(as_shape({"inner": {"number": 7}}, Outer).inner.number)) for _ in range(2)
]
threads[0].start()
begun.wait(30)
threads[1].start()
threads[1].join(1.0)
go_on.set()
for thread in threads:
    thread.join(30)
assert read == [7, 7], read
"""


def test_two_workers_that_read_the_first_reply_of_a_kind_do_not_end_the_process() -> None:
    ended = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", FIRST_TWO_REPLIES], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
