"""HTTP to others, bounded: in the time and the size of a reply, and in the addresses that may be connected to."""
