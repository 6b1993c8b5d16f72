"""Names of things. NewTypes, so that a user is never passed where a customer is meant."""

from __future__ import annotations

from typing import Final, Literal, NewType

ClerkUserId = NewType("ClerkUserId", str)  # user_…
StoreName = NewType("StoreName", str)  # as in stores.yaml
ShopDomain = NewType("ShopDomain", str)  # acme-us.myshopify.com
CustomerId = NewType("CustomerId", str)  # gid://shopify/Customer/7
Unique = Literal["email", "phone"]  # fields of which no two customers of a shop may have the same value
UNIQUE: Final[tuple[Unique, ...]] = ("email", "phone")
