"""Values in, values out: no clock, file, socket, database or environment in here."""
