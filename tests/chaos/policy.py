"""stores.yaml of both shops."""

from __future__ import annotations

from collections.abc import Mapping

from tests.chaos.consent import settings_of
from tests.chaos.people import EU, US
from tests.chaos.shops import SECRET, domain


def stores_text(
    wave: int, admin_urls: Mapping[str, str], *, release_percent: int | None = None, leave_eu: str = "keep"
) -> str:
    """stores.yaml; the last line of each store is its `where`, so that half a file is valid YAML without it."""
    lines = ["version: 1", "defaults:", f"  tags: [app-user, wave-{wave}]"]
    lines += ["  fields: {email: enforce, first_name: enforce, last_name: enforce, phone: enforce}"]
    lines += ["  metafields: {clerk.avatar_url: {from: image_url, type: url, policy: enforce}}"]
    kinds = ("create", "adopt", "update", "relink", "merge", "consent")
    guards = ", ".join(f"{kind}: {{max: 100000}}" for kind in kinds)
    percent = f", percent: {release_percent}" if release_percent is not None else ""
    guards += f", release: {{max: 100000{percent}}}"
    lines += [f"  guards: {{{guards}}}", "stores:"]
    for shop, leave, key in ((EU, leave_eu, "eu"), (US, "delete", "us")):
        lines += [f"  - name: {shop}", f"    shop: {domain(shop)}"]
        lines += [f"    admin_url: {admin_urls[shop]}"] if shop in admin_urls else []
        lines += [
            f"    auth: {{access_token: token-{shop}}}", f"    webhook_secret: {SECRET}", "    country: US",
            f"    on_leave: {leave}", f"    {settings_of(shop)}", f"    where: {{metadata.{key}: true}}",
        ]  # fmt: skip
    return "\n".join(lines) + "\n"
