"""The profiles adapter: reads any table or view of users, and writes rows only for `clerk.upsert_profiles`."""
