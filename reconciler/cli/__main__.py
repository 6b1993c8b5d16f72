"""`python -m reconciler.cli`: runs the command line without the installed script."""

from reconciler.cli.start import main

main()
