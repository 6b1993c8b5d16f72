"""What the shop shows for what we sent, where no rule foresees it: remembered, so that it is no drift and not written again.

Nothing here knows how a value is normalised. A pair is remembered when Shopify answers a write, from its own answer: what is
seen at a later look may be somebody's edit.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Iterable, Mapping
from difflib import SequenceMatcher

from reconciler.core.fields import normalise
from reconciler.core.model.mapping import Applied

Respelt = Mapping[str, str | None]
"""By the key of a tag that we sent: the tag that is shown for it; None: nothing is."""


def respelt_tags(base: Applied | None) -> Respelt:
    """The tags that are shown in another spelling than they were sent."""
    found: Respelt = base.value.get("respelt", {}) if base is not None else {}
    return found


def is_shown(tag: str, present: Collection[str], respelt: Respelt) -> bool:
    """Whether a tag that should be there is, by itself or by what the shop makes of it. `present` are keys."""
    key = tag.casefold()
    if key in present:
        return True
    if key not in respelt:
        return False
    shown = respelt[key]
    return shown is None or shown.casefold() in present


def as_shown(tag: str, respelt: Respelt) -> str | None:
    """The tag as the shop shows it; None where it shows nothing for it."""
    return respelt.get(tag.casefold(), tag)


def learned(sent: Iterable[str], before: Collection[str], shown: Iterable[str]) -> dict[str, str | None]:
    """Of tags that were added: what stands for each that does not stand there by its own name.

    `before` are keys of the tags that were there. Tags are paired by likeness, the most similar first; None where no new
    tag is left.
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
    """How similar two tags are, from 0 to 1; wide letters and other forms of hyphens and blanks count as the plain ones."""
    plain, shown = (unicodedata.normalize("NFKC", tag).casefold() for tag in (one, other))
    return SequenceMatcher(None, plain, shown).ratio()
