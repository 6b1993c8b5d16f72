"""GraphQL as in Shopify: documents, their validation and execution, costs and paging."""
