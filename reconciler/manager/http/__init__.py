"""What the HTTP server asks of the rest: status, webhooks, senders and probes."""
