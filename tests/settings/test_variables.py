"""`${…}`: in values only, several in one, and what is missing is named with its place."""

from __future__ import annotations

from pathlib import Path

from tests.settings.domain import SECRET, Files, with_store


def test_a_variable_is_filled_in_from_the_environment(files: Files) -> None:
    assert files.load("version: 1\nserver: {host: '${HOST}'}\n", HOST="::1").settings.server.host == "::1"


def test_several_variables_in_one_value_are_all_filled_in(files: Files) -> None:
    config = "version: 1\nstate:\n  url: postgresql://${USER}:${file:PW}@${HOST:-db.example}:5432/${NAME}\n"
    password = files.config.parent / "password"
    password.write_text("s3cret\n")
    loaded = files.load(config.replace("PW", str(password)), USER="ada", NAME="parity")
    assert loaded.settings.state.url == "postgresql://ada:s3cret@db.example:5432/parity"


def test_a_default_replaces_a_variable_that_is_missing_or_empty(files: Files) -> None:
    config = "version: 1\nserver:\n  port: ${PORT:-9090}\n"
    assert files.load(config).settings.server.port == 9090
    assert files.load(config, PORT="").settings.server.port == 9090
    assert files.load(config, PORT="81").settings.server.port == 81


def test_a_missing_variable_is_named_with_its_file_line_and_key(files: Files) -> None:
    [line] = files.store_refused("auth:\n  access_token: ${ACME_TOKEN}")
    place, said = (
        "stores.yaml:6: stores[0].auth.access_token: ",
        "the environment variable ACME_TOKEN is not set; set it, or write ",
    )
    assert line == place + said + "${ACME_TOKEN:-default}"


def test_all_missing_variables_of_both_files_are_named_together(files: Files) -> None:
    wrong = files.refused(
        "version: 1\nclerk:\n  secret_key: ${A}\nserver:\n  host: ${B}${C}\n", with_store("tags: [x, '${D}']")
    )
    places = [(line.split(":")[0], line.split(":")[1], line.split("environment variable ")[1][0]) for line in wrong]
    assert places == [
        ("config.yaml", "3", "A"),
        ("config.yaml", "5", "B"),
        ("config.yaml", "5", "C"),
        ("stores.yaml", "5", "D"),
    ]


def test_an_empty_variable_is_distinguished_from_a_missing_one(files: Files) -> None:
    [line] = files.store_refused("auth: {access_token: '${T}'}", T="")
    assert line.endswith("the environment variable T is empty; write ${T:-} if it may be")


def test_a_value_of_one_empty_variable_counts_as_not_set(files: Files) -> None:
    config = "version: 1\nserver: {public_url: '${URL:-}', port: '${PORT:-}', console_token: '${TOKEN:-}'}\n"
    server = files.load(config).settings.server
    assert (server.public_url, server.port, server.console_token) == ("", 8080, None)


def test_an_empty_variable_in_a_list_is_dropped(files: Files) -> None:
    config = "version: 1\nclerk:\n  webhook_secrets: ['${OLD:-}', '${NEW}', '${OLDER:-}']\n"
    secrets = files.load(config, NEW=SECRET).settings.clerk.webhook_secrets
    assert [s.get_secret_value() for s in secrets] == [SECRET]


def test_what_follows_a_dropped_entry_is_still_found_on_its_line(files: Files) -> None:
    config = "version: 1\nclerk:\n  webhook_secrets:\n    - ${OLD:-}\n    - whsec_my-secret\n"
    [line] = files.refused(config)
    assert line.startswith("config.yaml:5: clerk.webhook_secrets[0]: ")


def test_an_empty_variable_never_widens_a_selector(files: Files) -> None:
    where = files.store("where: {metadata.brand: '${BRAND:-}'}").stores[0].where
    assert where == {"metadata.brand": ""}


def test_keys_are_never_filled_in(files: Files) -> None:
    [line] = files.refused("version: 1\n${KEY}: x\n", KEY="state")
    assert line.startswith("config.yaml:2: ${KEY}: unknown key")


def test_what_a_variable_holds_is_not_read_again(files: Files) -> None:
    tags = files.store("tags: ['${A}']", A="${B}", B="never").stores[0].tags
    assert tags == ("${B}",)


def test_a_variable_inside_a_default_is_refused(files: Files) -> None:
    assert "can't be nested" in "".join(files.store_refused("tags: ['${A:-${B}}']"))


def test_a_variable_that_is_never_closed_is_refused(files: Files) -> None:
    [line] = files.store_refused("tags: ['${A']")
    assert line == "stores.yaml:5: stores[0].tags[0]: a '${' is not closed by '}'"


def test_what_is_no_variable_is_refused_with_the_ways_to_write_one(files: Files) -> None:
    for text in ("${}", "${A B}", "${1}", "${A-b}", "${A:b}"):
        [line] = files.store_refused(f"tags: ['{text}']")
        assert "use ${NAME}, ${NAME:-default} or ${file:PATH}" in line


def test_a_file_is_read_without_the_line_break_at_its_end(files: Files, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("shpat_1\r\n")
    auth = files.store(f"auth: {{access_token: '${{file:{tmp_path}/token}}'}}").stores[0].auth
    assert auth.access_token is not None
    assert auth.access_token.get_secret_value() == "shpat_1"


def test_a_file_that_cannot_be_used_is_named_with_the_reason(files: Files, tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    (tmp_path / "large").write_bytes(b"x" * 100_000)
    said = {
        "absent": "No such file or directory",
        "empty": "is empty",
        "binary": "it is not text",
        "large": "larger than 64 KiB",
        ".": "Is a directory",
        "a\\0b": "it is not text",
    }
    for name, reason in said.items():
        [line] = files.store_refused(f'tags: ["${{file:{tmp_path}/{name}}}"]')
        assert line.startswith("stores.yaml:5: stores[0].tags[0]: the file ")
        assert reason in line
    [line] = files.store_refused("tags: ['${file:}']")
    assert "names no file" in line
