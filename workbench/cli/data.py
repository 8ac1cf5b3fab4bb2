"""The commands about data: decode it, examine it, look at it, make the demo's."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from workbench.cli.shared import (
    DEMO,
    DataOption,
    ExperimentArgument,
    JsonOption,
    NoLockOption,
    StrictOption,
    reporting_errors,
    seconds,
    stoppable,
)
from workbench.errors import ConfigError
from workbench.workspace import Workspace

if TYPE_CHECKING:
    from workbench.checks.sheet import ContactSheet
    from workbench.space.space import Space

_GOES_ON = "The same command goes on with the rest."


def prepare(
    experiment: ExperimentArgument = DEMO,
    data: DataOption = None,
    jobs: Annotated[
        int | None, typer.Option(help="Decoding processes; one a core by default.", min=1)
    ] = None,
    limit: Annotated[str, typer.Option(help="Time that one file may take, e.g. 30s, 5m.")] = "5m",
    retry: Annotated[
        bool,
        typer.Option("--retry", help="Try again what was broken, took too long or crashed."),
    ] = False,
    verify: Annotated[
        bool,
        typer.Option("--verify", help="Check every file and every cached row against its hash."),
    ] = False,
    strict: StrictOption = False,
    _no_lock: NoLockOption = False,
) -> None:
    """Decode every file once into the experiment's views; a search does it by itself."""
    limit_s = seconds(limit)
    from workbench.api.data_check import decoded_data
    from workbench.data import manifest, prepared_report

    with reporting_errors():
        with stoppable(_GOES_ON):
            _, files, prepared = decoded_data(
                experiment,
                data,
                Workspace(Path.cwd()),
                jobs=jobs,
                limit_s=limit_s,
                retry=retry,
                verify=verify,
            )
        for line in (
            *manifest.describe_manifest(files),
            *prepared_report.describe_prepared(prepared),
        ):
            typer.echo(line)
        if verify:
            num_read = (files.table["content"] != "").sum()
            typer.echo(f"{num_read:,} files were read again and every cached row was checked.")
        typer.echo(f"\n{prepared_report.prepared_as_table(prepared)}")
        if strict:
            prepared_report.require_all(prepared)
        typer.echo(f"\nNext: workbench check {_again(experiment, data)}")


def check(
    experiment: ExperimentArgument = DEMO,
    data: DataOption = None,
    as_json: JsonOption = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 1 if there is any warning.")
    ] = False,
    _no_lock: NoLockOption = False,
) -> None:
    """Examine the data for what would fool a search: copies, shortcuts, shift, saturation."""
    from workbench.api.data_check import check as check_data

    with reporting_errors(), stoppable(_GOES_ON):
        checked = check_data(experiment, data=data)
        if as_json:
            typer.echo(checked.found.model_dump_json(indent=2))
        else:
            typer.echo(f"{checked}\n\nPage: {checked.page}")
            _, refusal = _space_of(experiment)
            if refusal:  # the data is looked at without what a search needs, and it is told now
                typer.echo(f"\nA search would be refused: {refusal}")
            else:
                typer.echo(f"\nNext: workbench search {_again(experiment, data)}")
        raise typer.Exit(1 if strict and checked.num_warnings else 0)


def show(
    experiment: ExperimentArgument = DEMO,
    data: DataOption = None,
    samples: Annotated[int, typer.Option(help="Files of each class.", min=1, max=64)] = 8,
    _no_lock: NoLockOption = False,
) -> None:
    """Write contact sheets: samples of every view, and what the search space may do to them."""
    from workbench.api.data_check import decoded_data
    from workbench.checks import sheet
    from workbench.checks.forged_page import write_forged_page
    from workbench.data.dataset import find_data
    from workbench.searching.augment_sheet import write_augment_sheets

    workspace = Workspace(Path.cwd())
    with reporting_errors():
        with stoppable(_GOES_ON):
            about, _, prepared = decoded_data(experiment, data, workspace)
        folder = workspace.checks / f"{about.name}-views"
        space, why_not = _space_of(experiment)
        augmented: list[ContactSheet] = []
        if space is not None:
            augmented = write_augment_sheets(space, prepared, folder / "augmentations")
            if not augmented:
                why_not = f"{space.file} can draw none."
        *sheets, index = sheet.write_sheets(prepared, folder, per_class=samples, more=augmented)
        for path in sheets:
            typer.echo(path)
        if why_not:
            typer.echo(f"\nNo sheets of augmentations: {why_not}")
        if space is not None:
            drawn = [draft.copies.forged for draft in space.corners()]
            names = list(dict.fromkeys(name for chances in drawn for name in chances))
            forged = folder / "forged.html"
            if write_forged_page(prepared, find_data(about, workspace, data), names, forged):
                typer.echo(f"\nForged media: {forged}")
        typer.echo(f"\nPage: {index}")
        typer.echo(f"\nNext: workbench check {_again(experiment, data)}")


def demo_data(
    folder: Annotated[Path, typer.Argument(help="Folder to make.")],
    seed: Annotated[int, typer.Option(help="Another seed makes another data set.", min=0)] = 0,
) -> None:
    """Make the demo data: 600 short clips, half of them forged."""
    from workbench.demo import build

    with reporting_errors():
        build.make_demo(folder, seed=seed)
        typer.echo(
            f"The demo data is in {folder}.\n\nNext: workbench search {DEMO} --data {folder}"
        )


def _space_of(experiment: Path) -> "tuple[Space | None, str]":
    """Return an experiment's search space, or none and what is wrong: data needs no space."""
    from workbench.space.experiment import read_experiment

    try:
        return read_experiment(experiment)[1], ""
    except ConfigError as error:
        return None, str(error)


def _again(experiment: Path, data: Path | None) -> str:
    """Return the arguments that name the same experiment and data."""
    return f"{experiment}{f' --data {data}' if data else ''}"
