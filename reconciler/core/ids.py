"""Names of things. NewTypes, so that a user is never passed where a customer is meant."""

from __future__ import annotations

from typing import NewType

ClerkUserId = NewType("ClerkUserId", str)  # user_…
StoreName = NewType("StoreName", str)  # as in stores.yaml
ShopDomain = NewType("ShopDomain", str)  # acme-us.myshopify.com
CustomerId = NewType("CustomerId", str)  # gid://shopify/Customer/7
