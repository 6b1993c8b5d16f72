"""Starts and stops the parts of `run`: workers, scheduled scans, the HTTP server. Decides nothing about customers."""
