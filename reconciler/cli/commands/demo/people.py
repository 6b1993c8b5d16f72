"""The users of the demo: 200 users from many countries, the same in each run, in a table as an app has it."""

from __future__ import annotations

import random
import sqlite3
import unicodedata
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

from faker import Faker

SEED = 20261123
US_LOCALES = ("en-US", "en-GB", "en-CA", "es-MX", "vi-VN", "ja-JP")
EU_LOCALES = ("de-DE", "fr-FR", "it-IT", "es-ES", "pl-PL", "da-DK", "tr-TR", "cs-CZ", "el-GR", "uk-UA")
US_PEOPLE, EU_PEOPLE = 120, 80
LETTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
COLUMNS = (
    "clerk_user_id", "email", "email_verified", "first_name", "last_name", "phone", "avatar_url", "locale", "updated_at",
)  # fmt: skip


@dataclass(slots=True)
class DemoUser:
    """One user of the demo: a row of the app's table."""

    clerk_user_id: str
    email: str
    email_verified: bool
    first_name: str
    last_name: str
    phone: str | None
    avatar_url: str
    locale: str
    updated_at: str = "2026-11-23T09:00:00Z"


def demo_users(locales: Sequence[str], count: int, *, phones: str) -> list[DemoUser]:
    """`count` users, with the locales in turn. Their phone numbers are `phones` and five digits."""
    fake = Faker([locale.replace("-", "_") for locale in locales])
    for place, locale in enumerate(locales):
        fake[locale.replace("-", "_")].seed_instance(SEED + place)
    chance = random.Random(f"{SEED} {phones}")  # noqa: S311  names of a demo, no secrets
    found = []
    for number in range(count):
        locale = locales[number % len(locales)]
        names = fake[locale.replace("-", "_")]
        first, last = names.first_name(), names.last_name()
        user = "user_2" + "".join(chance.choices(LETTERS, k=26))
        person = DemoUser(
            clerk_user_id=user,
            email=f"{_mail_name(first)}.{locale[-2:].lower()}{number}@example.com",
            email_verified=True,
            first_name=first,
            last_name=last,
            phone=f"{phones}{20000 + number:05}" if number % 3 == 0 else None,
            avatar_url=f"https://img.example.com/{user}.png",
            locale=locale,
        )
        found.append(person)
    return found


class UsersTable:
    """The app's table of users; the reconciler only reads it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def make(self, rows: Iterable[DemoUser]) -> None:
        """Create the table with these rows."""
        with closing(sqlite3.connect(self._path)) as connection, connection:
            kinds = ("text primary key", "text", "integer", *["text"] * (len(COLUMNS) - 3))
            connection.execute(
                f"create table customers ({', '.join(f'{c} {k}' for c, k in zip(COLUMNS, kinds, strict=True))})"
            )
            connection.executemany(
                f"insert into customers values ({', '.join(f':{c}' for c in COLUMNS)})",  # noqa: S608  names of ours
                [asdict(row) for row in rows],
            )

    def rows(self) -> list[DemoUser]:
        """All users, the last changed first."""
        with closing(sqlite3.connect(self._path)) as connection:
            found = connection.execute(f"select {', '.join(COLUMNS)} from customers order by updated_at desc, email")  # noqa: S608  names of ours
            return [DemoUser(*row) for row in found]

    def add(self, row: DemoUser) -> None:
        """Insert a user."""
        with closing(sqlite3.connect(self._path)) as connection, connection:
            values = ", ".join(f":{c}" for c in COLUMNS)
            connection.execute(f"insert into customers values ({values})", asdict(row))  # noqa: S608  names of ours

    def maintain_updated_at(self) -> None:
        """Let a trigger set `updated_at` at each change, as in a well-kept table."""
        now = "strftime('%Y-%m-%dT%H:%M:%fZ', 'now')"
        with closing(sqlite3.connect(self._path)) as connection, connection:
            for event in ("insert", "update"):
                connection.execute(
                    f"create trigger {event}_updated_at after {event} on customers begin update customers "  # noqa: S608  names of ours
                    f"set updated_at = {now} where clerk_user_id = new.clerk_user_id; end"
                )

    def change(self, user: str, **values: str | bool | None) -> None:
        """Set columns of one user, as the app would."""
        sets = ", ".join(f"{column} = :{column}" for column in values)
        with closing(sqlite3.connect(self._path)) as connection, connection:
            statement = f"update customers set {sets} where clerk_user_id = :user"  # noqa: S608  names of ours
            connection.execute(statement, {**values, "user": user})

    def remove(self, user: str) -> None:
        with closing(sqlite3.connect(self._path)) as connection, connection:
            connection.execute("delete from customers where clerk_user_id = ?", [user])


def _mail_name(name: str) -> str:
    """The ASCII letters and digits of a name; `friend` if it has none."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return "".join(c for c in plain.lower() if c.isalnum()) or "friend"
