"""Renders a certificate as text and as JSON."""

from __future__ import annotations

from rich.console import Console

from reconciler.cli.render.flow import LinePrinter
from reconciler.cli.render.json import dumps
from reconciler.cli.render.plain import clean
from reconciler.core.model.json import json_of, time_z
from reconciler.core.report.certificate import Certificate


def certificate_json(found: Certificate) -> str:
    """The certificate with its summary sentence, as JSON."""
    return dumps({**json_of(found), "at": time_z(found.at), "sentence": found.sentence})


def print_certificate(found: Certificate, console: Console) -> None:
    """Print the summary sentence, the exceptions by reason, and the digest."""
    lines = LinePrinter(console)
    whole = found.equal == found.users and found.stores_equal == found.stores
    lines.prose(found.sentence, "bold green" if whole else "bold yellow")
    for store in found.details:
        if store.error is not None:
            lines.prose(f"{clean(store.store)}: could not be scanned: {clean(store.error)}", "red", indent=2, hang=2)
            continue
        if store.exceptions:
            parts = [(f"{count:,} {reason}", "yellow") for reason, count in store.exceptions.items()]
            counts = (f"{clean(store.store)}: {store.equal:,} of {store.users:,} equal", "")
            lines.flow([counts, *parts], indent=2, hang=2, between=" · ")
    lines.put(("digest ", "dim"), (found.digest, "dim"))
