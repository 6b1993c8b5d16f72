"""The command line, for what a command imports."""

from tests.cli.conftest import cli  # noqa: F401  a fixture
