"""The Shopify adapter: reads and writes customers and sets up shops, over the Admin GraphQL API."""
