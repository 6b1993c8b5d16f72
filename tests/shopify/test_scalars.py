"""Scalar fields in Shopify's names: each of them is asked for, sent, read from every reply, and named in refusals."""

from __future__ import annotations

import pytest

from reconciler.core.model.ids import CustomerId
from reconciler.core.model.scalars import FIELDS, SCALARS
from reconciler.core.model.write import Update
from reconciler.shopify.api.answers import shown_of
from reconciler.shopify.api.refusals import refusal
from reconciler.shopify.api.scalars import OURS_READ, OURS_WRITTEN, values_in
from reconciler.shopify.api.shapes import CustomerNode, WrittenCustomer, as_shape
from reconciler.shopify.api.writes import mutation_of

AT = CustomerId("gid://shopify/Customer/1")


def test_each_field_has_names_of_its_own() -> None:
    assert tuple(OURS_READ.values()) == tuple(OURS_WRITTEN.values()) == SCALARS


@pytest.mark.parametrize("field", SCALARS)
def test_each_field_is_sent_read_and_named(field: str) -> None:
    declared = FIELDS[field]
    sent = mutation_of(Update(AT, {field: "x"}), ("clerk", "user_id"))
    assert sent.variables["input"] == {declared.shopify: "x"}
    assert refusal({"field": ["input", declared.shopify], "message": "no"}).field == field
    written = as_shape({"id": AT, declared.shopify: "x"}, WrittenCustomer)
    assert {name for name, value in shown_of(written, ()).items() if value == "x"} == {field}
    value: object = "x"
    for name in reversed(declared.place[1:]):
        value = {name: value}
    reply = {"id": AT, "updatedAt": None, "tags": [], "canDelete": None} | dict.fromkeys(OURS_READ)
    read = values_in(as_shape(reply | {declared.place[0]: value}, CustomerNode))
    assert dict(zip(SCALARS, read, strict=True)) == dict.fromkeys(SCALARS) | {field: "x"}
