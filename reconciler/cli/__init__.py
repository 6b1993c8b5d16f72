"""Words in, text out: one file a command."""
