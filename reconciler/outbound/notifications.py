"""Messages to a webhook that takes Slack's JSON, {"text": …}. Each is bounded in time, size and tries."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable
from typing import Final

import httpx

from reconciler.errors import TemporaryError
from reconciler.outbound.certificates import UNTRUSTED, UNTRUSTED_HINT, is_untrusted
from reconciler.outbound.exchange import PACKED, USER_AGENT, Bounds, exchange
from reconciler.outbound.transport import BoundedTransport

HEADERS: Final = {"User-Agent": USER_AGENT, "Accept-Encoding": PACKED}
TIMEOUTS: Final = {"timeout": httpx.Timeout(5.0).as_dict()}
TRIES: Final = 3
PAUSE_S: Final = 1.0  # before the second try; it doubles
BOUNDS: Final = Bounds(seconds=10.0, body_bytes=65_536)
HINT: Final = "check notifications.url"
TEXT_MAX: Final = 3000  # Slack cuts longer texts


class Webhook:
    """Sends messages to one URL, which is a secret: no error names it."""

    def __init__(
        self,
        url: str,
        *,
        ssl_context: ssl.SSLContext,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._url, self._sleep = url, sleep
        self._transport = BoundedTransport(url, ssl_context=ssl_context, connections=1)

    def send(self, text: str) -> None:
        """Send this text. TemporaryError if no try gets a 2xx. A message may arrive twice if an answer was lost."""
        body = {"text": text if len(text) <= TEXT_MAX else text[: TEXT_MAX - 1] + "…"}
        why, hint = "", HINT
        for attempt in range(TRIES):
            if attempt:
                self._sleep(PAUSE_S * 2.0 ** (attempt - 1))
            try:
                request = httpx.Request("POST", self._url, headers=HEADERS, json=body, extensions=TIMEOUTS)
                answer = exchange(self._transport, request, BOUNDS)
            except httpx.RequestError as error:
                untrusted = is_untrusted(error)
                why, hint = (UNTRUSTED, UNTRUSTED_HINT) if untrusted else (type(error).__name__, HINT)
                continue
            if answer.is_success:
                return
            why, hint = f"HTTP {answer.status_code}", HINT
        raise TemporaryError(f"the notification was not taken: {why}", hint=hint)

    def close(self) -> None:
        self._transport.close()
