"""`python -m suite` is `lowbit`."""

from suite.cli import main

main()
