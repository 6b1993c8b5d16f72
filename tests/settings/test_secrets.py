"""No secret can be printed: not by repr, not by str, not by a dump, not by an error."""

from __future__ import annotations

import json

import pytest

from reconciler.settings import Loaded
from tests.settings.domain import SECRET, Files, with_store

HIDDEN = "hunter2hunter2"
CONFIG = f"""\
version: 1
state: {{url: "postgresql://ada:{HIDDEN}@db.example/x"}}
profiles: {{url: "postgresql://db.example/x?user=ada&password={HIDDEN}"}}
clerk: {{webhook_secrets: ["{SECRET}"], secret_key: {HIDDEN}}}
server: {{console_token: {HIDDEN}}}
"""
STORE = f"""
auth: {{client_id: public, client_secret: {HIDDEN}, refresh_token: {HIDDEN}}}
webhook_secret: {HIDDEN}
"""


@pytest.fixture
def loaded(files: Files) -> Loaded:
    return files.load(CONFIG, with_store(STORE))


def test_neither_repr_nor_str_shows_a_secret(loaded: Loaded) -> None:
    for value in (loaded, loaded.settings, loaded.stores[0], loaded.settings.clerk, loaded.stores[0].auth):
        for text in (repr(value), str(value), f"{value}"):
            assert HIDDEN not in text
            assert SECRET not in text


def test_no_dump_shows_a_secret(loaded: Loaded) -> None:
    for value in (loaded.settings, loaded.stores[0], loaded.stores[0].auth):
        for text in (value.model_dump_json(), str(value.model_dump()), json.dumps(value.model_dump(mode="json"))):
            assert HIDDEN not in text
            assert SECRET not in text


def test_a_dump_still_tells_which_database_is_meant(loaded: Loaded) -> None:
    assert loaded.settings.model_dump()["state"]["url"] == "postgresql://ada:***@db.example/x"


def test_the_values_themselves_are_there_for_who_asks(loaded: Loaded) -> None:
    assert HIDDEN in loaded.settings.state.url
    assert loaded.settings.clerk.secret_key is not None
    assert loaded.settings.clerk.secret_key.get_secret_value() == HIDDEN


@pytest.mark.parametrize(
    "config",
    [
        f'state: {{url: "mysql://ada:{HIDDEN}@db.example/x"}}',
        f'state: {{url: "postgres:ada:{HIDDEN}@db.example"}}',
        f'state: {{url: "postgresql://ada:12/{HIDDEN}@db.example/x"}}',
        f'state: {{url: "postgresql://ada:{HIDDEN}@[::1/x"}}',
        f"state: {{url: [{HIDDEN}]}}",
        f'clerk: {{webhook_secrets: ["{HIDDEN}"]}}',
        f"clerk: {{webhook_secrets: {HIDDEN}}}",
        f'clerk: {{secret_key: "{HIDDEN} {HIDDEN}"}}',
        f"clerk: {{secret_key: [{HIDDEN}]}}",
        f'clerk: {{secret_key: "{HIDDEN}, x: y',
        f'clerk: {{secret_key: !vault "{HIDDEN}"}}',
        f'clerk: {{api_url: "https://user:{HIDDEN}@api.clerk.com"}}',
    ],
)
def test_no_error_shows_a_secret(files: Files, config: str) -> None:
    wrong = files.refused(f"version: 1\n{config}\n")
    assert wrong
    assert HIDDEN not in "\n".join(wrong)


@pytest.mark.parametrize(
    "lines",
    [
        f"auth: {{access_token: {HIDDEN}, client_id: x, client_secret: {HIDDEN}}}",
        f"auth: {HIDDEN}",
        f"auth: {{access_token: [{HIDDEN}]}}",
        f'webhook_secret: "{HIDDEN} "" "',
        f"admin_url: https://user:{HIDDEN}@acme.example",
    ],
)
def test_no_error_of_a_store_shows_a_secret(files: Files, lines: str) -> None:
    assert HIDDEN not in "\n".join(files.store_refused(lines))


@pytest.mark.parametrize(
    "secret",
    [
        "whsec_my-secret",
        "my-secret",
        "whsec_",
        "whsec_!!!!",
        "whsec_abcde",
        SECRET.removeprefix("whsec_"),
        "whsec_c2hvcnQ=",
    ],
)
def test_what_is_no_signing_secret_is_refused_at_start(files: Files, secret: str) -> None:
    [line] = files.refused(f"version: 1\nclerk:\n  webhook_secrets:\n    - {secret}\n")
    assert line.startswith("config.yaml:4: clerk.webhook_secrets[0]: it is not a signing secret of Clerk")
    assert "copy it from the endpoint's page" in line


def test_white_space_around_a_secret_does_no_harm(files: Files) -> None:
    config = "version: 1\nclerk: {webhook_secrets: ['${S}'], secret_key: '${K}'}\n"
    clerk = files.load(config, S=f" {SECRET}\n", K="sk_test_1\n").settings.clerk
    assert clerk.webhook_secrets[0].get_secret_value() == SECRET
    assert clerk.secret_key is not None
    assert clerk.secret_key.get_secret_value() == "sk_test_1"


@pytest.mark.parametrize("token", ["a b", "a\\nb", "tökén"])
def test_a_token_that_no_header_can_carry_is_refused(files: Files, token: str) -> None:
    [line] = files.store_refused(f'auth: {{access_token: "{token}"}}')
    assert line.startswith(
        "stores.yaml:5: stores[0].auth.access_token: it contains a blank, a line break or a non-ASCII character"
    )


@pytest.mark.parametrize("quote", ['"', "'"])
def test_quotes_that_were_kept_as_part_of_a_token_are_refused(files: Files, quote: str) -> None:
    config = "version: 1\nclerk: {secret_key: '${K}'}\n"
    [line] = files.refused(config, K=f"{quote}{HIDDEN}{quote}\n")
    assert line.startswith("config.yaml:2: clerk.secret_key: it is in quotes: remove them")
    assert HIDDEN not in line
