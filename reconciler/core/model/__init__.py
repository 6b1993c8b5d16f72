"""The data of the product: profiles, customers, mappings, stores, requests, actions and holds."""
