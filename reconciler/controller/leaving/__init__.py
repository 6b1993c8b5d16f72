"""Users who leave a store: whether they have left, who comes after them, and who acts first on their customers."""
