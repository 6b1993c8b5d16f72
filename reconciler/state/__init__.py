"""Our own database: mappings, events, the queue, the mirror. Table rows never leave this package."""
