"""Runs the command line as ``python -m streams.cli``."""

from streams.cli.main import main

main()
