"""The rows of profiles that we write for Clerk: by webhooks, and for users that no webhook reported."""
