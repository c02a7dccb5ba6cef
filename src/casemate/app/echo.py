"""All that a command prints goes through here: names and messages come from elsewhere, and must not steer a terminal."""

from __future__ import annotations

from typing import Any

import click


def printable(text: Any) -> str:
    """The text with control characters and escape sequences as visible escapes; line ends and tabs stay."""
    plain = str(text)
    if plain.isascii() and plain.replace("\n", "").replace("\t", "").isprintable():
        return plain
    from ..report.words import clean

    return clean(plain)


def echo(text: Any = "", *, err: bool = False, nl: bool = True) -> None:
    """Print to standard output, or to standard error."""
    click.echo(printable(text), err=err, nl=nl)
