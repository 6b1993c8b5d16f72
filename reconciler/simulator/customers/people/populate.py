"""Fills a simulated shop fast: a million customers without a single GraphQL call.

`person(index, seed)` returns the index-th person, so that tests can create the matching profiles.
"""

import gc
import random
from collections.abc import Iterable
from typing import Any, Final

from reconciler.simulator.bulk.operations import Bulk
from reconciler.simulator.customers import normalisation
from reconciler.simulator.customers.records import Metafield, SimCustomer
from reconciler.simulator.graphql.documents import Json

FIRST_NAMES: Final = (
    "Ada", "Amara", "Björn", "Chloé", "Dmitri", "Elif", "Fatima", "Grace", "Hiro", "Ines", "Jürgen", "Kofi", "Leila",
    "Mei", "Noor", "Olu", "Priya", "Quentin", "Rosa", "Sven", "Tariq", "Uma", "Vera", "Wei", "Ximena", "Yusuf", "Zoë",
)  # fmt: skip
LAST_NAMES: Final = (
    "Adeyemi", "Brûlé", "Castillo", "Dupont", "Eriksen", "Fischer", "García", "Hopper", "Ito", "Jansen", "Kaya",
    "Lovelace", "Müller", "Nakamura", "O'Brien", "Papadakis", "Qureshi", "Rossi", "Silva", "Turing", "Ueda", "Varga",
    "Wang", "Yılmaz", "Zhang",
)  # fmt: skip


def person(index: int, seed: int = 0) -> Json:
    """One person: user_id, email, first_name, last_name, phone. Deterministic in index and seed."""
    pick = (index + 1) * 2_654_435_761 + seed * 40_503
    first = FIRST_NAMES[pick % len(FIRST_NAMES)]
    last = LAST_NAMES[(pick >> 8) % len(LAST_NAMES)]
    return {
        "user_id": f"user_{seed:x}p{index:09d}",
        "email": f"person{index}.{seed}@example.com",
        "first_name": first,
        "last_name": last,
        "phone": f"+1{212 + seed % 100}{2_000_000 + index:07d}" if index < 8_000_000 else None,  # noqa: PLR2004
    }


class Filling(Bulk):
    def fill(
        self, people: Iterable[Json], *, link: tuple[str, str] | None = ("clerk", "user_id"), age_s: float = 3600
    ) -> int:
        """Add people without conversion: email, first_name, last_name, phone, note, locale, tags, orders, and `user_id` for
        `link`.

        Values must be as Shopify stores them, and no email, phone or user id may exist already. Emits no events. Returns
        the number of people added.
        """
        if link is not None and ("CUSTOMER", *link) not in self.definitions:
            self._define(link)
        at = self.now() - age_s
        count = 0
        were_collecting = gc.isenabled()
        gc.disable()  # there is no garbage, and the collector would take most of the time
        try:
            for each in people:
                self.people.add(self._person(each, link, at))
                count += 1
        finally:
            if were_collecting:
                gc.enable()
        return count

    def populate(
        self,
        count: int,
        seed: int = 0,
        *,
        link: tuple[str, str] | None = ("clerk", "user_id"),
        tags: tuple[str, ...] = (),
        unlinked: float = 0.0,
        first: int = 0,
    ) -> int:
        """Add `count` people from index `first` on; the share `unlinked` has no back-link."""
        rand = random.Random(seed)  # noqa: S311 - repeatable on purpose
        extra: Json = {"tags": tags} if tags else {}

        def person_at(index: int) -> Json:
            made = person(index, seed) | extra
            return made | {"user_id": None} if unlinked and rand.random() < unlinked else made

        return self.fill((person_at(index) for index in range(first, first + count)), link=link)

    def _define(self, link: tuple[str, str]) -> None:
        definition = {
            "name": "User", "namespace": link[0], "key": link[1], "ownerType": "CUSTOMER", "type": "id", "pin": True
        }  # fmt: skip
        made = self.metafield_definition_create(definition)
        if made["userErrors"]:
            raise ValueError(made["userErrors"][0]["message"])

    def _person(self, given: Json, link: tuple[str, str] | None, at: float) -> SimCustomer:
        values: dict[str, Any] = {name: value for name, value in given.items() if name != "user_id"}
        metafields: tuple[Metafield, ...] = ()
        if link is not None and given.get("user_id") is not None:
            metafields = (Metafield(self.next_number(), *link, "id", given["user_id"], at, at),)
        if values.get("tags"):
            values["tags"] = normalisation.tags(values["tags"])
        values.setdefault("locale", self.primary_locale)
        return SimCustomer(self.next_number(), at, at, metafields=metafields, **values)
