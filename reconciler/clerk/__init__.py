"""Clerk's side: its webhooks become user ids, its Backend API says who is there. Knows no shop and no table."""
