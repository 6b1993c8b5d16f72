"""The mirror: customers as last observed, and which mappings equal them."""
