"""`python -m stethoscope` does the same as `stethoscope`."""

from stethoscope.cli.main import main

main()
