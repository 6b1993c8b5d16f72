"""The customers of a simulated shop: mutations, queries, search, merges, consent, and what staff do."""
