"""YAML as people write it: its traps don't bite, and what is no settings file is refused with its place."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from reconciler.errors import ConfigError
from reconciler.settings import load
from tests.settings.domain import CONFIG, STORES, Files


def test_norway_is_a_country(files: Files) -> None:
    assert files.store("country: NO").stores[0].country == "NO"


def test_yes_no_and_on_are_booleans_where_one_is_expected(files: Files) -> None:
    assert files.store("paused: yes").stores[0].paused is True
    assert files.store("require_email: off").stores[0].require_email is False
    assert files.store("paused: True").stores[0].paused is True


def test_selectors_keep_what_was_written(files: Files) -> None:
    lines = "where: {metadata.country: NO, metadata.zip: 01234, metadata.day: 2026-11-25, metadata.at: 12:30}"
    where = files.store(lines).stores[0].where
    assert where == {
        "metadata.country": "NO",
        "metadata.zip": "01234",
        "metadata.day": "2026-11-25",
        "metadata.at": "12:30",
    }


def test_selectors_may_hold_numbers_booleans_and_null(files: Files) -> None:
    where = files.store("where: {metadata.a: 7, metadata.b: true, metadata.c: ~, metadata.d: [1.5, x]}").stores[0].where
    assert where == {"metadata.a": 7, "metadata.b": True, "metadata.c": None, "metadata.d": [1.5, "x"]}


@pytest.mark.parametrize(
    ("written", "read"),
    [("+49", "49"), ("1.10", "1.1"), ("-0", "0"), ("1e3", "1000.0"), (".5", "0.5"), ("5.", "5.0")],
)
def test_a_selector_with_a_number_that_is_not_what_was_written_is_refused(
    files: Files, written: str, read: str
) -> None:
    """No row would match it, and a store that wants no user releases all of them."""
    for rule, place in ((written, ""), (f"[x, {written}]", "[1]")):
        (wrong,) = files.store_refused(f"where: {{metadata.dial: {rule}}}")
        assert (
            f"where.metadata.dial{place}: {written} is read as the number {read}: write it in quotes, '{written}'"
            in wrong
        )
    assert files.store(f"where: {{metadata.dial: '{written}'}}").stores[0].where == {"metadata.dial": written}


def test_a_selector_without_a_value_is_refused(files: Files) -> None:
    (wrong,) = files.store_refused("where:\n      metadata.brand:")
    assert "it has no value: write null for users without one" in wrong


def test_text_that_yaml_takes_for_something_else_is_refused_with_the_way_to_write_it(files: Files) -> None:
    wrong = files.store_refused("tags: [2026, true]")
    assert [line.split(": ", 2)[:2] for line in wrong] == [
        ["stores.yaml:5", "stores[0].tags[0]"],
        ["stores.yaml:5", "stores[0].tags[1]"],
    ]
    assert wrong[0].endswith('YAML does not read 2026 as text: quote it, "2026"')
    assert wrong[1].endswith('YAML does not read true as text: quote it, "true"')


def test_a_key_that_occurs_twice_is_refused_on_its_second_line(files: Files) -> None:
    assert files.store_refused("paused: true\ncountry: US\npaused: false") == [
        "stores.yaml:7: stores[0].paused: this key is repeated"
    ]


def test_anchors_and_merge_keys_work(files: Files) -> None:
    stores = """\
version: 1
stores:
  - &one
    name: one
    shop: one.myshopify.com
    country: DK
    tags: &tags [a, b]
  - <<: *one
    name: two
    shop: two.myshopify.com
  - {<<: [{country: SE}, *one], name: three, shop: three.myshopify.com, tags: *tags}
"""
    found = files.load(stores=stores).stores
    assert [(s.name, s.country, s.tags) for s in found] == [
        ("one", "DK", ("a", "b")),
        ("two", "DK", ("a", "b")),
        ("three", "SE", ("a", "b")),
    ]


def test_an_error_in_what_was_merged_in_is_found_where_it_was_written(files: Files) -> None:
    stores = "version: 1\nstores:\n  - &one\n    name: one\n    shop: one.myshopify.com\n    paused: [x]\n"
    wrong = files.refused(stores=stores + "  - <<: *one\n    name: two\n    shop: two.myshopify.com\n")
    assert [line.split(": ")[:2] for line in wrong] == [
        ["stores.yaml:6", "stores[0].paused"],
        ["stores.yaml:6", "stores[1].paused"],
    ]


def test_only_mappings_can_be_merged_in(files: Files) -> None:
    assert "only a mapping" in files.store_refused("<<: [x]")[0]


def _bomb() -> str:
    rows = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    rows += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    return "version: 1\n" + "\n".join(rows) + "\n"


def _merge_bomb() -> str:
    rows = ["a0: &a0 {x: 1}"]
    rows += [f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 10)}]}}" for i in range(1, 12)]
    return "version: 1\n" + "\n".join(rows) + "\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "it must be a mapping"),
        ("# nothing but a comment\n", "it must be a mapping"),
        ("- version: 1\n", "it must be a mapping"),
        ("version\n", "it must be a mapping"),
        ("version: 1\nstate:\n\turl: x\n", "indent with spaces"),
        ("version: 1\nstate: [\n", "not valid YAML"),
        ("version: 1\nstate: {url: ${URL}}\n", 'quote a variable inside { } and [ ]: "${NAME}"'),
        ("version: 1\nstate: {url: '${URL}'\nprofiles: 1\n", "is every { and [ before it closed?"),
        ('version: 1\nstate: {url: "${URL}"\nserver: {}\n', "(is every { and [ before it closed?)"),
        ("version: 1\nstate:\n  url: ${URL}\n server: {}\n", "(compare the indentation with the lines above)"),
        ("version: 1\nstate: *no_anchor\n", "not valid YAML"),
        ("version: 1\n---\nversion: 1\n", "not valid YAML"),
        ("version: 1\nserver: {host: 'a\x07b'}\n", "a control character"),
        ("[" * 5000, "nested too deeply"),
        ("version: 1\na: " + "{a: " * 100 + "1" + "}" * 100, "unfold to more than"),
        (_bomb(), "unfold to more than"),
        (_merge_bomb(), "unfold to more than"),
        ("version: 1\na: &a [*a]\n", "unfold to more than"),
        ("version: 1\na: &a {<<: *a}\n", "unfold to more than"),
        ("version: 1\nserver: {host: !!python/object:os.system x}\n", "the tag"),
        ("version: 1\nserver: {port: !!int many}\n", "it is tagged as int, but is not one"),
        ("version: 1\nserver: !!set {host}\n", "the tag !!set has no meaning here"),
        ("version: 1\nserver: !!omap [host]\n", "the tag !!omap has no meaning here"),
        ("version: 1\n? [a, b]\n: c\n", "a key that is not plain text"),
        ("version: 1\n? {a: b}\n: c\n", "a key that is not plain text"),
        ("version: " + "1" * 5000 + "\n", "it is tagged as int"),
        ("# " + "x" * 5_000_000, "larger than 4 MiB"),
    ],
)
def test_what_is_no_settings_file_is_refused_with_file_and_reason(files: Files, text: str, said: str) -> None:
    [line] = [line for line in files.refused(text) if said in line]
    assert line.startswith("config.yaml")


def test_what_is_not_utf_8_is_refused_on_its_line(files: Files) -> None:
    files.stores.write_text(STORES)
    files.config.write_bytes("version: 1\nserver: {host: bücher}\n".encode("latin-1"))
    with pytest.raises(ConfigError, match=r"config\.yaml:2: it is not UTF-8 text"):
        load(files.config, files.stores, {})
    files.config.write_bytes("version: 1\n".encode("utf-16"))
    with pytest.raises(ConfigError, match="it is not UTF-8 text"):
        load(files.config, files.stores, {})


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(files: Files) -> None:
    files.stores.write_text(STORES)
    files.config.write_bytes(b"\xef\xbb\xbfversion: 1\r\nserver:\r\n  port: 81\r\n")
    assert load(files.config, files.stores, {}).settings.server.port == 81


def test_a_file_that_is_not_there_is_named_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "stores.yaml").write_text(STORES)
    with pytest.raises(ConfigError, match=r"absent\.yaml can't be read: No such file") as caught:
        load(tmp_path / "absent.yaml", tmp_path / "stores.yaml", {})
    assert "--config" in caught.value.hint


def test_the_environment_names_other_files_and_options_win_over_it(files: Files, tmp_path: Path) -> None:
    files.load(CONFIG + "server: {port: 1}\n")
    other = tmp_path / "other.yaml"
    other.write_text(CONFIG + "server: {port: 2}\n")
    env = {"RECONCILER_CONFIG": str(other), "RECONCILER_STORES": str(files.stores)}
    assert load(None, None, env).settings.server.port == 2
    assert load(files.config, None, env).settings.server.port == 1


@pytest.mark.parametrize("indent", [None, 2, "\t"])
@pytest.mark.parametrize("ensure_ascii", [True, False])
def test_valid_json_is_valid(files: Files, indent: int | str | None, *, ensure_ascii: bool) -> None:
    tags = ["\U0001f6d2 buyer", "tab\there", 'quote " and \\ and / and {}', "del \x7f c1 \x85 line \u2028 bom \ufeff"]
    store = {
        "name": "one",
        "shop": "one.myshopify.com",
        "tags": tags,
        "where": {"metadata.\U0001f469\u200d\U0001f680": "\U0001f680"},
    }
    text = json.dumps({"version": 1, "stores": [store]}, indent=indent, ensure_ascii=ensure_ascii)
    found = files.load(stores=text).stores[0]
    assert list(found.tags) == tags
    assert found.where == store["where"]


def test_an_escaped_emoji_is_one_character_in_yaml_too(files: Files) -> None:
    assert files.store(r'tags: ["\ud83d\uded2", "\U0001f6d2 two"]').stores[0].tags == ("\U0001f6d2", "\U0001f6d2 two")


@pytest.mark.parametrize("half", [r"\ud83d", r"\uded2", r"\uded2\ud83d", r"\ud83d \uded2", r"x\ud83d\ud83d\uded2"])
def test_half_a_character_is_refused_with_its_place(files: Files, half: str) -> None:
    assert files.store_refused(f'tags: ["good", "{half}"]') == [
        "stores.yaml:5: stores[0].tags[1]: an escape in it is half a character: \\ud83d and the like come in pairs"
    ]
    assert any("half a character" in line for line in files.store_refused(f'where: {{"metadata.{half}": x}}'))
