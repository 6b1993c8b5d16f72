"""Starts and stops what `run` runs: workers, scheduled looks, the HTTP server. Decides nothing about customers."""
