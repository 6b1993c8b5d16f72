"""The corridor of one request: look, decide, guard, apply, write down. Talks to the outside only through ports."""
