"""The product's statements for Postgres, as SQLite runs them: the same rows are read, locked and written.

| Postgres | here |
|---|---|
| `json_array_elements(CAST(x AS json)) AS j(value)` | `json_each(x) AS j` |
| `CAST(x AS timestamptz)`, `greatest`, `least`, `nextval` | functions of these names |
| `CROSS JOIN LATERAL (SELECT … FROM t a WHERE …) b` | `CROSS JOIN t b ON b.rowid IN (SELECT a.rowid FROM t a WHERE …)` |
| `FOR UPDATE OF r` and `SKIP LOCKED` within a statement | `lock_row`, asked for each row that all other conditions find |
| `ON CONFLICT DO UPDATE` locks the row before it looks at the condition | `lock_row` before the condition |
| `FROM (SELECT … FROM t WHERE … FOR SHARE) AS hold` | `share_row`, asked for the row that all conditions find |
| `picked.turn` in `RETURNING`, where SQLite knows the new row only | `keep` as it is picked, `kept` where it is returned |

A statement in another form is left as it is, and SQLite refuses it: nothing is passed over.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

FENCING = "reconciler_fencing_id_seq"
_PLAIN = (
    (re.compile(r"\breconciler\.(reconciler_)"), r"\1"),
    (re.compile(r"json_array_elements(?:_text)?\(CAST\(\? AS json\)\) AS j\(value\)"), "json_each(?) AS j"),
    (re.compile(r"CAST\(([^()]*) AS timestamptz\)"), r"timestamptz(\1)"),
    (re.compile(r"(INSERT INTO reconciler_fencing) DEFAULT VALUES"), rf"\1 VALUES (nextval('{FENCING}'))"),
    (re.compile(r"rank_at AS turn\b"), "keep(clerk_user_id, store, rank_at) AS turn"),
    (
        re.compile(r"(\s)RETURNING (.*), picked\.turn AS turn", re.DOTALL),
        r"\1  AND picked.turn IS NOT NULL\1RETURNING \2, kept(r.clerk_user_id, r.store) AS turn",
    ),
)
_LATERAL = re.compile(
    r"CROSS JOIN LATERAL \(\s*SELECT .*? FROM (?P<table>\w+) (?P<inner>\w)\s+WHERE (?P<where>.*?)"
    r"(?P<rest>(?:\s+ORDER BY [\w.]+)?(?: LIMIT \?)?)(?P<locks>\s+FOR UPDATE OF \w)?\) (?P<outer>\w)\b",
    re.DOTALL,
)
_JOINED = re.compile(
    r"FROM (?P<first>\w+) JOIN (?P<table>\w+) (?P<inner>\w)\s+ON (?P<on>.*?)\s+WHERE (?P<where>.*?)"
    r"\s+(?P<rest>ORDER BY [\w.]+)\s+FOR UPDATE OF \w SKIP LOCKED",
    re.DOTALL,
)
_CONFLICT = re.compile(
    r"(?P<before>INSERT INTO (?P<table>\w+) AS (?P<inner>\w)\b.* DO UPDATE SET\b.*\n)WHERE (?P<where>.*)", re.DOTALL
)
_HOLD = re.compile(
    r"(?P<before>\(SELECT 1 AS held\s+FROM (?P<inner>(?:main\.)?(?P<table>\w+))\s+WHERE )(?P<where>.*?)"
    r"\s*/\*\s*FOR SHARE\s*\*/\s*(?P<after>\) AS hold)",
    re.DOTALL,
)
_RETURNING = re.compile(r"RETURNING .*", re.DOTALL)
Keys = Mapping[str, tuple[str, ...]]
"""The columns of each table's key."""


def translate(sql: str, keys: Keys) -> str:
    """One statement as SQLite runs it, with its parameters in the same order."""
    for pattern, instead in _PLAIN:
        sql = pattern.sub(instead, sql)
    sql = _LATERAL.sub(lambda found: _by_row_numbers(found, keys), sql)
    sql = _JOINED.sub(lambda found: _crossed(found, keys), sql)
    sql = _HOLD.sub(lambda found: _sharing(found, keys), sql)
    sql = _CONFLICT.sub(lambda found: _locking_first(found, keys), sql)
    return _RETURNING.sub(lambda found: re.sub(r"\br\.(\w)", r"\1", found[0]), sql)


def _by_row_numbers(found: re.Match[str], keys: Keys) -> str:
    table, inner, outer = found["table"], found["inner"], found["outer"]
    where = _locking(found, keys, found["where"], skips=False) if found["locks"] else found["where"]
    rows = f"SELECT {inner}.rowid FROM {table} {inner} WHERE {where}{found['rest']}"
    return f"CROSS JOIN {table} {outer} ON {outer}.rowid IN ({rows})"


def _crossed(found: re.Match[str], keys: Keys) -> str:
    where = _locking(found, keys, f"({found['on']}) AND ({found['where']})", skips=True)
    return f"FROM {found['first']} CROSS JOIN {found['table']} {found['inner']} WHERE {where} {found['rest']}"


def _locking_first(found: re.Match[str], keys: Keys) -> str:
    return f"{found['before']}WHERE CASE WHEN {_lock_row(found, keys, skips=False)} THEN {found['where']} END"


def _sharing(found: re.Match[str], keys: Keys) -> str:
    columns = ", ".join(f"{found['inner']}.{name}" for name in keys[found["table"]])
    lock = f"share_row('{found['table']}', {columns})"
    return f"{found['before']}CASE WHEN {found['where']} THEN {lock} ELSE 0 END{found['after']}"


def _locking(found: re.Match[str], keys: Keys, where: str, *, skips: bool) -> str:
    """CASE, since it says what is asked first."""
    return f"CASE WHEN {where} THEN {_lock_row(found, keys, skips=skips)} ELSE 0 END"


def _lock_row(found: re.Match[str], keys: Keys, *, skips: bool) -> str:
    columns = ", ".join(f"{found['inner']}.{name}" for name in keys[found["table"]])
    return f"lock_row({int(skips)}, '{found['table']}', {columns})"


# --- functions --------------------------------------------------------------------------------------------------------


def greatest(*values: Any) -> Any:
    """Null counts as no value."""
    return max((value for value in values if value is not None), default=None)


def least(*values: Any) -> Any:
    return min((value for value in values if value is not None), default=None)


def timestamptz(value: str | None) -> str | None:
    """A time in any zone, as SQLAlchemy stores times in SQLite."""
    if value is None:
        return None
    return datetime.fromisoformat(value).astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
