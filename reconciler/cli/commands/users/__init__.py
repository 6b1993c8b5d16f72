"""The commands about single users and their mappings: nudge, explain, mappings."""
