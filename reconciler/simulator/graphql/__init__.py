"""GraphQL as Shopify takes it: documents, their validation and execution, costs and paging."""
