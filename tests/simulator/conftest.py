"""What the tests of the simulator share."""

from tests.simulator.harness import sim

__all__ = ["sim"]
