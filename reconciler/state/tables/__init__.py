"""The tables, and conversions between rows and values."""
