"""Replays recordings of real stores on the simulated shop: `python -m tests.simulator.replay` prints what differs."""
