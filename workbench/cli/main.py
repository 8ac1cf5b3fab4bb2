"""The command line, put together: every command, in the order of the help page.

A command parses, calls the library, and prints its result and the next command to type.
"""

import os
import sys
from importlib.metadata import version
from typing import Annotated

import typer

from workbench.cli import backbones, data, keys, maintenance, selection, study, submission, weights
from workbench.cli.init import init
from workbench.cli.shared import reporting_errors, require_address_space
from workbench.fence import SLEEP_AT_BARRIERS
from workbench.visibly import print_traceback

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"workbench {version('workbench')}")
        raise typer.Exit


@app.callback()
def main(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Search, compare, promote and export models for binary media classification under rules."""
    if "--help" not in sys.argv:
        with reporting_errors():
            require_address_space()
    for name, value in SLEEP_AT_BARRIERS.items():
        os.environ.setdefault(name, value)  # before torch is imported
    sys.excepthook = print_traceback


for command in (
    init,
    study.search,
    study.train,
    data.prepare,
    data.check,
    data.show,
    selection.finalists,
    selection.pack,
    study.compare,
    study.ui,
    study.promote,
    selection.soup,
    selection.audit,
    selection.refit,
    submission.export,
    submission.predict,
    submission.verify,
    submission.retrain,
    submission.score,
    maintenance.studies,
    maintenance.clean,
    maintenance.study_export,
    maintenance.study_import,
    data.demo_data,
    backbones.backbones,
    keys.keys,
):
    app.command()(command)

app.add_typer(weights.app, name="weights")
