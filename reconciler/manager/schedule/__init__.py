"""What `run` does on a schedule: scans, probes of suspended stores, outbox, housekeeping."""
