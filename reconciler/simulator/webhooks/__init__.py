"""Webhooks of a simulated shop: subscriptions, bodies and delivery."""
