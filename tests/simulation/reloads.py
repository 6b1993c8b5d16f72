"""What owners do to the table as a whole, apart from the reloads of `outside.py`: each returns when the table is as it was.

None of it is a leaving (docs/rules.md, rule 1). A few rows may be away for less than the grace. Where most rows are away, or
do not match `where`, it may last as long as it will: the guard of releases (`RELEASE_PERCENT`) is the limit.

One is a leaving by rule 1: a row that does not match `where`, in a shop with `on_leave: tag`. It is undone with the row, but
another user with the email may have the customer by then. So rows of users who have exchanged addresses stay filled there.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.chaos.people import EU, SHOPS, US

if TYPE_CHECKING:
    from tests.simulation.faults import Faults
    from tests.simulation.outside import SimApp

SHORTER_S = 120.0  # with the time in which the rest comes back, less than the grace
LONGER_S = 2400.0  # more than the grace
RELEASE_PERCENT = 60
FEW = 0.2  # of the users of a shop, at most, who have a row while most have none
LEAST = 3  # so many users are needed for a majority
KEY = "clerk_user_id"


@contextmanager
def taken(faults: Faults) -> Iterator[SimApp | None]:
    """The table, without other writes meanwhile; None where another one has it, or a person reads a plan of it."""
    app = faults.simulation.app
    if app.reloading or faults.applying:
        yield None
        return
    app.reloading = True
    yield app
    app.give_back()


def in_one_transaction(faults: Faults) -> None:
    """DELETE and INSERT: readers see the rows as they were all the time."""
    with taken(faults) as app:
        if app is not None:
            app.table.execute("BEGIN IMMEDIATE")
            rows = app.table.execute("SELECT * FROM customers").fetchall()
            app.table.execute("DELETE FROM customers")
            app.pause(faults.lasts(1, SHORTER_S))
            _insert(app.table, rows)
            app.table.execute("COMMIT")


def swapped(faults: Faults) -> None:
    """A new table takes the place of the old one when a part of its rows is there; the others follow."""
    with taken(faults) as app:
        if app is not None:
            rows = app.table.execute(f"SELECT * FROM customers ORDER BY {KEY}").fetchall()
            part = round(len(rows) * faults.dice.choice((0.0, 0.5, 0.9, 1.0)))
            app.table.execute("BEGIN IMMEDIATE")
            app.table.execute("ALTER TABLE customers RENAME TO customers_old")
            created = app.table.execute("SELECT sql FROM sqlite_master WHERE name = 'customers_old'").fetchone()[0]
            app.table.execute(created.replace('"customers_old"', "customers"))
            _insert(app.table, rows[:part])
            app.table.execute("COMMIT")
            app.pause(faults.lasts(1, SHORTER_S))
            _insert(app.table, rows[part:])
            app.table.execute("DROP TABLE customers_old")


def emptied(faults: Faults) -> None:
    """No row is there, for longer than the grace."""
    with taken(faults) as app:
        if app is not None:
            rows = app.table.execute("SELECT * FROM customers").fetchall()
            app.table.execute("DELETE FROM customers")
            app.pause(faults.lasts(1, LONGER_S))
            _insert(app.table, rows)


def mostly_missing(faults: Faults) -> None:
    """Few rows are there, for longer than the grace; then the others come one after the other."""
    gone = _most(faults)
    with taken(faults) as app:
        if app is not None and gone:
            marks = ", ".join("?" for _ in gone)
            rows = app.table.execute(f"SELECT * FROM customers WHERE {KEY} IN ({marks})", gone).fetchall()
            app.table.execute(f"DELETE FROM customers WHERE {KEY} IN ({marks})", gone)
            app.pause(faults.lasts(1, LONGER_S))
            _insert(app.table, rows)


def mostly_unfilled(faults: Faults) -> None:
    """The column of `where` is filled after the rows, for longer than the grace; or all columns but the key."""
    population = faults.simulation.population
    users = _unentangled(faults, _most(faults))
    there = [user.id for user in population.users.values() if user.wanted(US)]
    if 100 * len(set(users) & set(there)) > RELEASE_PERCENT * len(there):
        _unfilled(faults, users, LONGER_S)


def partly_unfilled(faults: Faults) -> None:
    """As above, of some rows, for less than the grace."""
    users = sorted(faults.simulation.population.users)
    some = faults.dice.sample(users, min(len(users), faults.dice.choice((1, 2, 4))))
    _unfilled(faults, _unentangled(faults, some), SHORTER_S)


def _unentangled(faults: Faults, users: list[str]) -> list[str]:
    every = faults.simulation.population.users
    return [user for user in users if not (every[user].entangled and every[user].wanted(EU))]


def _unfilled(faults: Faults, users: list[str], longest_s: float) -> None:
    every = ("metadata", "email", "email_verified", "first_name", "last_name", "phone", "avatar_url", "updated_at")
    columns = faults.dice.choice((every[:1], every))
    with taken(faults) as app:
        if app is not None and users:
            marks, names = ", ".join("?" for _ in users), ", ".join(columns)
            query = f"SELECT {names}, {KEY} FROM customers WHERE {KEY} IN ({marks})"
            rows = app.table.execute(query, users).fetchall()
            blank = ", ".join(f"{name} = NULL" for name in columns)
            app.table.execute(f"UPDATE customers SET {blank} WHERE {KEY} IN ({marks})", users)
            app.pause(faults.lasts(1, longest_s))
            filled = ", ".join(f"{name} = ?" for name in columns)
            app.table.executemany(f"UPDATE customers SET {filled} WHERE {KEY} = ?", rows)


def _most(faults: Faults) -> list[str]:
    """All users but few: in each shop more than its guard allows. None where a shop has too few users."""
    users = faults.simulation.population.users
    fewest = min(sum(user.wanted(shop) for user in users.values()) for shop in SHOPS)
    if fewest < LEAST:
        return []
    there = [user.id for user in users.values() if any(user.wanted(shop) for shop in SHOPS)]
    return sorted(users.keys() - faults.dice.sample(there, int(fewest * FEW)))


def _insert(table: sqlite3.Connection, rows: list[tuple[object, ...]]) -> None:
    if rows:
        table.executemany(f"INSERT INTO customers VALUES ({', '.join('?' for _ in rows[0])})", rows)


RELOADS: Mapping[str, Callable[[Faults], None]] = {
    "table reloaded in one transaction": in_one_transaction,
    "table swapped": swapped,
    "table empty": emptied,
    "most rows missing": mostly_missing,
    "most rows unfilled": mostly_unfilled,
    "some rows unfilled": partly_unfilled,
}
