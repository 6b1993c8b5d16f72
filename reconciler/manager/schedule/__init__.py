"""What `run` does by the clock: scans, probes of suspended stores, outbox, housekeeping."""
