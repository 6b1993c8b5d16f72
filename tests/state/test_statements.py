"""The queue's statements in sqlite.sql and postgres.sql."""

from __future__ import annotations

import re

import pytest

from reconciler.core.model.request import DELETED, Priority
from reconciler.state.requests.statements import read_statements

SQLITE, POSTGRES = "sqlite.sql", "postgres.sql"
OF_SQLITE = {"picked", "next_number", "first_number"}  # parts of a claim, which is one statement on Postgres


def test_both_files_have_the_same_statements() -> None:
    assert read_statements(SQLITE).keys() - OF_SQLITE == read_statements(POSTGRES).keys()


@pytest.mark.parametrize("file", [SQLITE, POSTGRES])
def test_the_values_in_the_statements_are_those_of_the_core(file: str) -> None:
    named = read_statements(file)
    assert f"excluded.priority = {int(Priority.RESYNC)} " in named["add"]
    assert f"priority = {int(Priority.RETRY)}," in named["put_off"]
    assert f"priority = {int(Priority.NUDGE)}," in named["again"]
    assert set(re.findall(r"'user\.[a-z]+'", "".join(named.values()))) == {f"'{DELETED}'"}
