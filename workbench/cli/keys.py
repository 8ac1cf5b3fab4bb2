"""The command about the keys of experiments and search spaces."""

from typing import Annotated

import typer

from workbench.cli.shared import reporting_errors
from workbench.errors import ConfigError
from workbench.tables import width


def keys(
    word: Annotated[
        str,
        typer.Argument(help="Part of a dotted key, e.g. optimizer; without it all are listed."),
    ] = "",
) -> None:
    """Explain the keys of experiments and search spaces: type, bounds, default, meaning."""
    from workbench.space.reference import keys_as_text, matching

    with reporting_errors():
        found = matching(word)
        if not found:
            raise ConfigError(f"No key holds {word!r}. `workbench keys` without a word lists all.")
        typer.echo(keys_as_text(found, width()))
