"""Write profile rows from what Clerk says."""
