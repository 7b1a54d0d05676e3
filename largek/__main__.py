"""`python -m largek` is the same as the command `largek`."""

from largek.cli import command

command()
