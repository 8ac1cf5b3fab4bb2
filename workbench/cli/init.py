"""The command that begins with a stranger's data: look at it, and write an experiment for it."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from workbench.cli.shared import DeviceOption, reporting_errors
from workbench.workspace import Workspace


def init(
    data: Annotated[Path, typer.Argument(help="Data folder, in any layout.", readable=False)],
    name: Annotated[
        str | None, typer.Option(help="Name of the experiment; the data folder's by default.")
    ] = None,
    table: Annotated[
        str | None, typer.Option(help="The table of labels, by its name in the data folder.")
    ] = None,
    file_column: Annotated[
        str | None,
        typer.Option(help="The table's column of file names, where it cannot be guessed."),
    ] = None,
    label_column: Annotated[
        str | None, typer.Option(help="The table's column of labels, where it cannot be guessed.")
    ] = None,
    split_column: Annotated[
        str | None, typer.Option(help="The table's column of splits, where it cannot be guessed.")
    ] = None,
    fake: Annotated[
        list[str] | None, typer.Option(help="Label, or folder, of fakes; repeatable.")
    ] = None,
    real: Annotated[
        list[str] | None, typer.Option(help="Label, or folder, of real files; repeatable.")
    ] = None,
    device: DeviceOption = "auto",
) -> None:
    """Look at a data folder; write an experiment that fits it and this machine."""
    from workbench.data.guessed_columns import Answers
    from workbench.searching.fitted_experiment import fit_experiment, write_fitted
    from workbench.searching.fitted_texts import trials_for

    answers = Answers(
        table=table,
        name=file_column,
        label=label_column,
        split=split_column,
        fake=tuple(fake or ()),
        real=tuple(real or ()),
    )
    with reporting_errors():
        workspace = Workspace(Path.cwd())
        fitted = fit_experiment(data, workspace, name=name, device=device, answers=answers)
        files = write_fitted(fitted, workspace.root)
        for line in (*fitted.found.lines(), fitted.machine.sentence):
            typer.echo(line)
        about, space = (path.relative_to(workspace.root) for path in files)
        typer.echo(f"\nWritten, with what was understood: {about}, {space}")
        then = f"{about} --data {shlex.quote(str(data))} --trials {trials_for(fitted.machine)}"
        typer.echo(f"\nNext: workbench search {then}")
