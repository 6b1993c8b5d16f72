"""What the HTTP server needs from the manager: status, webhooks, senders and probes."""
