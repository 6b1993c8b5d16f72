"""Shops that answer as no honest shop does."""
