"""Certificates that this machine does not trust: a proxy that opens TLS, a wrong host, or a certificate that has ended."""

from __future__ import annotations

import ssl
from typing import Final

UNTRUSTED: Final = "its TLS certificate is not trusted here"
UNTRUSTED_HINT: Final = (
    "the TLS certificate is not trusted: check the host in the settings, this machine's clock, and whether a proxy opens"
    " TLS, whose CA must then be named in SSL_CERT_FILE"
)


def is_untrusted(error: BaseException | None) -> bool:
    """Whether a certificate was refused, in this error or in what led to it."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return True
        error = error.__cause__ or error.__context__
    return False
