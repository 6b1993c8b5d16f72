"""`python -m reconciler.cli`: the command line without its script."""

from reconciler.cli.main import main

main()
