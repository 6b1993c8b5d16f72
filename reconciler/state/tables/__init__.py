"""The tables, and rows turned into values."""
