"""GraphQL documents: the files in `documents/`, and the look-ups that are built from them.

Values are always sent as variables. Only the names of metafields, from the settings, become part of a text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from functools import lru_cache
from importlib import resources
from typing import Literal

from reconciler.core.model.consent import Channel
from reconciler.core.model.frozen import frozen
from reconciler.shopify.api.consents import with_consents
from reconciler.shopify.api.scalars import POINTS, READ_SELECTION, WRITTEN_SELECTION

Kind = Literal["query", "mutation"]
Identifier = Literal["customId", "emailAddress", "phoneNumber"]

_COMMENT = re.compile(r"^\s*#.*$", re.MULTILINE)
_POINTS = re.compile(r"^# points: (\d+)$", re.MULTILINE)
_VARIABLE_TYPE = {
    "customId": "UniqueMetafieldValueInput!",
    "emailAddress": "String!",
    "phoneNumber": "String!",
}  # customerByIdentifier's names; customerSet calls the last two email and phone
IDENTITY = "theShop"
_ROOT_FIELD = re.compile(rf"\b(?:query|mutation)\b[^{{]*{{\s*(?:{IDENTITY}: shop {{ id }}\s*)?(?:\w+\s*:\s*)?(\w+)")
CUSTOMER_POINTS = 1 + POINTS  # the customer, and the objects of its scalar fields; each metafield costs one more
_SCALARS = {"# scalars as read": READ_SELECTION, "# scalars as written": WRITTEN_SELECTION}


@frozen
class Document:
    """One operation as it is sent. `points`: the expected requested cost, until a reply states the real one."""

    name: str
    kind: Kind
    text: str
    points: int

    @property
    def operation(self) -> str:
        """What messages call it, by the field of Shopify's API: `mutation customerSet`."""
        field = _ROOT_FIELD.search(self.text)
        return f"{self.kind} {field[1]}" if field is not None else self.name.replace("_", " ")


@lru_cache(maxsize=64)
def document(name: str) -> Document:
    """The operation in `documents/NAME.graphql`; its first line states its points."""
    raw = _read(name)
    points = _POINTS.search(raw)
    if points is None:
        raise LookupError(f"documents/{name}.graphql does not state its points")
    text = _COMMENT.sub("", raw).strip()
    return Document(name, "mutation" if text.startswith("mutation") else "query", text, int(points[1]))


@lru_cache(maxsize=256)
def customers_by_ids(metafields: tuple[tuple[str, str], ...], channels: tuple[Channel, ...] = ()) -> Document:
    """`nodes(ids: $ids)` with the observed fields of a customer, and these metafields as m0, m1, …

    `channels`: the consents that are read, too.
    """
    ids = document("customers_by_ids")
    text = "\n".join([ids.text, _fragments(metafields, channels)])
    return Document(ids.name, "query", text, CUSTOMER_POINTS + len(metafields))


@lru_cache(maxsize=1024)
def customers_by(
    identifier: Identifier,
    count: int,
    metafields: tuple[tuple[str, str], ...] | None,
    channels: tuple[Channel, ...] = (),
) -> Document:
    """`count` look-ups in one document: c0, c1, … by the variables $k0, $k1, …; only the id if `metafields` is None."""
    variables = ", ".join(f"$k{i}: {_VARIABLE_TYPE[identifier]}" for i in range(count))
    selection = "id" if metafields is None else "...CustomerFields ...CustomerMetafields"
    lines = [
        f"  c{i}: customerByIdentifier(identifier: {{ {identifier}: $k{i} }}) {{ {selection} }}" for i in range(count)
    ]
    text = "\n".join([f"query CustomersBy{identifier[0].upper()}{identifier[1:]}({variables}) {{", *lines, "}"])
    if metafields is None:
        return Document(f"customers_by_{identifier}_ids", "query", text, count)
    points = count * (CUSTOMER_POINTS + len(metafields))
    return Document(f"customers_by_{identifier}", "query", f"{text}\n{_fragments(metafields, channels)}", points)


def bulk_customers(metafields: tuple[tuple[str, str], ...], channels: tuple[Channel, ...] = ()) -> str:
    """The text of a bulk query over all customers, one line each, with the names of the point reads.

    It has no sortKey: UPDATED_AT was seen to lose rows (read 2026-11-23). It has no fragments: no page documents them there.
    """
    own = with_consents(_COMMENT.sub("", _read("customer")).strip(), channels)
    fields = own.partition("{")[2].rpartition("}")[0]
    lines = "\n".join(_metafield_lines(metafields))
    return f"{{ customers {{ edges {{ node {{ {fields}\n{lines} }} }} }} }}"


def with_shop_id(each: Document) -> Document:
    """The same query, which also asks for the shop's gid, as IDENTITY."""
    text = each.text.replace("{", f"{{ {IDENTITY}: shop {{ id }}", 1)
    return Document(each.name, each.kind, text, each.points + 1)


def with_mark(each: Document, mark: str) -> str:
    """The mutation's text with a mark in its name, by which its bulk operation can be found."""
    return re.sub(r"^mutation (\w+)", rf"mutation \1_{mark}", each.text, count=1)


def names() -> tuple[str, ...]:
    """The names of all files with an operation, sorted."""
    files = resources.files("reconciler.shopify").joinpath("documents").iterdir()
    return tuple(sorted(name for f in files if (name := f.name.removesuffix(".graphql")) not in {f.name, "customer"}))


def _read(name: str) -> str:
    """The file's text, with the scalar fields in place of the comments that stand for them."""
    text = resources.files("reconciler.shopify").joinpath("documents", f"{name}.graphql").read_text("utf-8")
    for comment, selection in _SCALARS.items():
        text = text.replace(comment, selection)
    return text


def _fragments(metafields: Iterable[tuple[str, str]], channels: Iterable[Channel]) -> str:
    own = with_consents(_COMMENT.sub("", _read("customer")).strip(), channels)
    return "\n".join([own, "fragment CustomerMetafields on Customer {", *_metafield_lines(metafields), "}"])


def _metafield_lines(metafields: Iterable[tuple[str, str]]) -> list[str]:
    return [
        f"  m{i}: metafield(namespace: {json.dumps(namespace)}, key: {json.dumps(key)}) {{ value type compareDigest }}"
        for i, (namespace, key) in enumerate(metafields)
    ]
