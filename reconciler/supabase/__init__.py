"""The profiles: any table or view of people, read only. Knows nothing of shops, nor of our own state."""
