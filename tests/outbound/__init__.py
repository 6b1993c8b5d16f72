"""HTTP to others, bounded."""
