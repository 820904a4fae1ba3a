"""`python -m edgerec`."""

from edgerec.cli.main import app

app()
