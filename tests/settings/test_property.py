"""Whatever is done to a file: it is loaded, or refused with its place. Nothing else comes out."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import yaml
from hypothesis import given
from hypothesis import strategies as st

from reconciler.errors import ConfigError
from reconciler.settings import load

ROOT = Path(__file__).parents[2]
CONFIG = (ROOT / "config/reconciler.yaml").read_text(encoding="utf-8")
STORES = (ROOT / "stores.yaml").read_text(encoding="utf-8")

PIECES = r"\t|\n|: |- |? |[|]|{|}|&a |*a|<<: |!!int |!x |${"
PIECES += r"|${A}|${A:-}|${file:/}|'|\"|>\n|---\n|%YAML 1.1\n|#|~|NO|0x1F|1e400|\x00"
pieces = st.one_of(
    st.text(max_size=8), st.sampled_from([p.encode().decode("unicode_escape") for p in PIECES.split("|")])
)


@st.composite
def mangled(draw: st.DrawFn, text: str) -> str:
    """The text with pieces cut out, doubled and put in."""
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.integers(0, 40)))
        text = text[:start] + draw(st.one_of(pieces, st.just(text[start:end] * 2))) + text[end:]
    return text


plain: st.SearchStrategy[Any] = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.dates(), st.binary(max_size=3)
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=6,
)


@st.composite
def swapped(draw: st.DrawFn, text: str) -> str:
    """The same keys, some with values of another type."""
    data = yaml.safe_load(text)
    for _ in range(draw(st.integers(1, 3))):
        part: Any = data
        while True:
            keys = list(part) if isinstance(part, dict) else list(range(len(part)))
            if not keys:
                break
            key = draw(st.sampled_from(keys))
            if isinstance(part[key], dict | list) and draw(st.booleans()):
                part = part[key]
                continue
            part[key] = draw(plain)
            break
    return yaml.safe_dump(data, allow_unicode=True)


def check_loads_or_says_where(config: bytes, stores: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        one, other = Path(folder, "config.yaml"), Path(folder, "stores.yaml")
        one.write_bytes(config)
        other.write_bytes(stores)
        try:
            loaded = load(one, other, {"A": "b"})
        except ConfigError as error:
            lines = error.message.splitlines()
            assert lines
            assert all(line.startswith((str(one), str(other))) for line in lines if line.startswith(folder))
            assert lines[0].startswith(folder)
        else:
            assert loaded.stores


@given(config=mangled(CONFIG), stores=mangled(STORES))
def test_property_mangled_text_is_loaded_or_refused(config: str, stores: str) -> None:
    check_loads_or_says_where(config.encode("utf-8", "surrogatepass"), stores.encode("utf-8", "surrogatepass"))


@given(config=swapped(CONFIG), stores=swapped(STORES))
def test_property_values_of_other_types_are_loaded_or_refused(config: str, stores: str) -> None:
    check_loads_or_says_where(config.encode("utf-8", "surrogatepass"), stores.encode("utf-8", "surrogatepass"))


@given(config=st.binary(max_size=60))
def test_property_any_bytes_are_loaded_or_refused(config: bytes) -> None:
    check_loads_or_says_where(config, b"version: 1\n" + config)
