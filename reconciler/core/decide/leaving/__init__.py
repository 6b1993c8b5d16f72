"""Users who left: proof of absence, release, succession and erased customers."""
