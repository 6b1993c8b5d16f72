"""Certificates that this machine does not trust, by a TLS proxy, a wrong host or an expired certificate."""

from __future__ import annotations

import ssl
from typing import Final

UNTRUSTED: Final = "its TLS certificate is not trusted here"
UNTRUSTED_HINT: Final = (
    "the TLS certificate is not trusted: check the host in the settings and this machine's clock; if a proxy intercepts"
    " TLS, set SSL_CERT_FILE to its CA"
)


def is_untrusted(error: BaseException | None) -> bool:
    """Whether this error, or one of its causes, is an untrusted certificate."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return True
        error = error.__cause__ or error.__context__
    return False
