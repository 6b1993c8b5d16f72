"""The mirror tier: our copy of the customers of large shops, kept and read. Optional: the main path does not know it."""
