"""What the tests of the simulator share."""

from tests.simulator.desk import desk

__all__ = ["desk"]
