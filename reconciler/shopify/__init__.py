"""The Shopify edge: the reader and the writer of customers, and what a shop needs set up, over the Admin GraphQL API."""
