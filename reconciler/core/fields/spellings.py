"""Spellings that Shopify returns for tags that we sent, where no rule predicts them: they count as equal, not as drift.

A pair of spellings is learned from Shopify's answer to a write only: a later observation may show an edit.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Iterable, Mapping
from difflib import SequenceMatcher

from reconciler.core.fields import normalise
from reconciler.core.model.mapping import Applied, tags_in

Respelt = Mapping[str, str | None]
"""By the key of a tag that we sent: the tag that Shopify returns for it; None: no tag."""


def respelt_tags(base: Applied | None) -> Respelt:
    """The tags that Shopify returns in another spelling than we sent."""
    return tags_in(base).respelt


def is_shown(tag: str, present: Collection[str], respelt: Respelt) -> bool:
    """Whether a tag is present, in its own or in Shopify's spelling. `present` are keys."""
    key = tag.casefold()
    if key in present:
        return True
    if key not in respelt:
        return False
    shown = respelt[key]
    return shown is None or shown.casefold() in present


def as_shown(tag: str, respelt: Respelt) -> str | None:
    """The tag as Shopify returns it; None where it returns no tag for it."""
    return respelt.get(tag.casefold(), tag)


def spellings_of(sent: Iterable[str], before: Collection[str], shown: Iterable[str]) -> dict[str, str | None]:
    """Shopify's spelling of each added tag that is not returned in its own spelling.

    `before` are keys of the tags before the write. Tags are paired by similarity, the most similar first; None where no
    new tag is left.
    """
    there = {tag.casefold(): tag for tag in normalise.tags(shown)}
    lost = [tag for tag in sent if tag.casefold() not in there]
    sent_keys = {tag.casefold() for tag in sent}
    new = [tag for key, tag in there.items() if key not in before and key not in sent_keys]
    found: dict[str, str | None] = {tag.casefold(): None for tag in lost}
    pairs = ((_likeness(tag, name), tag.casefold(), name) for tag in lost for name in new)
    for _, key, name in sorted(pairs, key=lambda pair: (-pair[0], *pair[1:])):
        if found[key] is None and name in new:
            found[key] = name
            new.remove(name)
    return found


def _likeness(one: str, other: str) -> float:
    """The similarity of two tags, from 0 to 1, in Unicode form NFKC."""
    plain, shown = (unicodedata.normalize("NFKC", tag).casefold() for tag in (one, other))
    return SequenceMatcher(None, plain, shown).ratio()
