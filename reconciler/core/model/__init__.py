"""Values that the rest is about: users, customers, mappings, stores, requests, actions and holds."""
