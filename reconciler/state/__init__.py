"""Our own database: mappings, events, what is remembered of stores. Rows never leave this room."""
