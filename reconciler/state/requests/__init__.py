"""The queue of requests: statements, claims and fencing."""
