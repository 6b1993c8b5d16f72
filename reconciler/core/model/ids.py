"""Ids as NewTypes, so that mypy refuses a user id in place of a customer id."""

from __future__ import annotations

from typing import Final, Literal, NewType

ClerkUserId = NewType("ClerkUserId", str)  # user_…
StoreName = NewType("StoreName", str)  # as in stores.yaml
ShopDomain = NewType("ShopDomain", str)  # acme-us.myshopify.com
CustomerId = NewType("CustomerId", str)  # gid://shopify/Customer/7
Unique = Literal["email", "phone"]  # fields that are unique among the customers of a shop
UNIQUE: Final[tuple[Unique, ...]] = ("email", "phone")
USER_ID_MAX: Final = 255  # characters: an index of Postgres can hold no key of any length
