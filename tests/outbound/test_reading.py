"""JSON from others, as some servers and proxies send it."""

import codecs
import gc
from contextlib import suppress

import pytest

from reconciler.outbound.reading import MalformedError, decode_json


@pytest.mark.parametrize("name", [rb"Ada", rb"\ud83d"])
def test_a_byte_order_mark_before_json_is_ignored(name: bytes) -> None:
    text = b'{"data": {"name": "' + name + b'"}}'
    assert decode_json(codecs.BOM_UTF8 + text, with_surrogates=True) == decode_json(text, with_surrogates=True)


def deep(levels: int) -> int:
    return levels and deep(levels - 1)


@pytest.mark.parametrize("with_surrogates", [False, True])
@pytest.mark.parametrize("opened", [b"[", b'{"\\ud83d":', b'[{"a":'])
def test_no_garbage_is_collected_at_the_depth_of_a_parser(opened: bytes, *, with_surrogates: bool) -> None:
    """There a finalizer ends with a RecursionError that no caller sees."""
    ended: list[str] = []

    def finalize(phase: str, _info: dict[str, int]) -> None:
        with suppress(RecursionError):
            deep(50)
            ended.append(phase)
            return
        ended.append("RecursionError")

    before = gc.get_threshold()
    gc.callbacks.append(finalize)
    gc.set_threshold(1, 1000, 1000)
    try:
        with pytest.raises(MalformedError):
            decode_json(opened * 5000, with_surrogates=with_surrogates)
    finally:
        gc.set_threshold(*before)
        gc.callbacks.remove(finalize)
    assert set(ended) == {"start", "stop"}
    assert gc.isenabled()
