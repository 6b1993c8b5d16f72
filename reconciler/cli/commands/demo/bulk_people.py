"""The customers of `reconciler simulate`: guests and account holders, as a shop has them before the first sync."""

from __future__ import annotations

import random
import unicodedata
from collections.abc import Iterator
from typing import Any

from faker import Faker

LOCALES = {
    "AT": "de_AT", "AU": "en_AU", "BR": "pt_BR", "CA": "en_CA", "CH": "de_CH", "DE": "de_DE", "DK": "da_DK",
    "ES": "es_ES", "FI": "fi_FI", "FR": "fr_FR", "GB": "en_GB", "IE": "en_IE", "IN": "en_IN", "IT": "it_IT",
    "JP": "ja_JP", "MX": "es_MX", "NL": "nl_NL", "NO": "no_NO", "PL": "pl_PL", "PT": "pt_PT", "SE": "sv_SE",
    "TR": "tr_TR", "UA": "uk_UA", "US": "en_US",
}  # fmt: skip
PHONES = {"US": "+1613", "CA": "+1613", "GB": "+4420", "DE": "+4930", "FR": "+331"}
NAMES = 500
NAMELESS, PHONED, TAGGED = 0.1, 0.3, 0.2
TAGS = ("newsletter", "vip", "wholesale", "returns-often")


def people(count: int, *, country: str, bought: float, seed: int) -> Iterator[dict[str, Any]]:
    """`count` customers as a shop stores them; a share of `bought` has orders. Deterministic."""
    fake = Faker(LOCALES.get(country, "en_US"))
    fake.seed_instance(seed)
    firsts = [fake.first_name() for _ in range(NAMES)]
    lasts = [fake.last_name() for _ in range(NAMES)]
    chance = random.Random(f"{seed} {country}")  # noqa: S311  generated names, no secrets
    prefix = PHONES.get(country, "+1613")
    for number in range(count):
        first, last = chance.choice(firsts), chance.choice(lasts)
        made: dict[str, Any] = {"email": f"{_mail_name(first)}.{_mail_name(last)}{number}@example.com"}
        if chance.random() >= NAMELESS:
            made |= {"first_name": first, "last_name": last}
        if chance.random() < PHONED:
            made["phone"] = f"{prefix}{2_000_000 + number:07}"
        if chance.random() < TAGGED:
            made["tags"] = (chance.choice(TAGS),)
        if chance.random() < bought:
            made["orders"] = chance.randint(1, 9)
        yield made


def _mail_name(name: str) -> str:
    """The ASCII letters and digits of a name; `someone` if it has none."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return "".join(char for char in plain if char.isalnum()) or "someone"
