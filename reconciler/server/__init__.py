"""The HTTP server: webhooks become requests in the queue, probes and metrics report, and the console shows the state."""
