"""One call to a shop: tokens, pace, documents, shapes of replies, failures and refusals."""
