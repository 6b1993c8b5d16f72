"""The commands that read everything once: users from Clerk, customers into a mirror."""
