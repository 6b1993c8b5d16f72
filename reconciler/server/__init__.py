"""HTTP in: webhooks become requests in the queue, probes and metrics answer, and the console shows what the state knows."""
