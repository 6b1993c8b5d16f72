"""customer-parity: Shopify Customers kept equal to user profiles, as a controller would."""
