"""JSON from others, as some servers and proxies send it."""

import codecs

import pytest

from reconciler.outbound.reading import decode_json


@pytest.mark.parametrize("name", [rb"Ada", rb"\ud83d"])
def test_a_byte_order_mark_before_json_is_ignored(name: bytes) -> None:
    text = b'{"data": {"name": "' + name + b'"}}'
    assert decode_json(codecs.BOM_UTF8 + text, with_surrogates=True) == decode_json(text, with_surrogates=True)
