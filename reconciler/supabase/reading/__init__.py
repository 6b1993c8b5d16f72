"""Read the profiles: pages of raw rows, and rows as profiles."""
