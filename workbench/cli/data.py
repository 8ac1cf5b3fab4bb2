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
    without_locks,
)
from workbench.errors import ConfigError
from workbench.fence import num_cores
from workbench.workspace import Workspace

if TYPE_CHECKING:
    from workbench.checks.sheet import ContactSheet
    from workbench.data.dataset import Dataset
    from workbench.data.manifest import Manifest
    from workbench.data.prepare import Prepared


def prepare(
    experiment: ExperimentArgument = DEMO,
    data: DataOption = None,
    jobs: Annotated[
        int | None, typer.Option(help="Decoding processes; one a core by default.", min=1)
    ] = None,
    limit: Annotated[str, typer.Option(help="Time that one file may take, e.g. 30s, 5m.")] = "5m",
    retry: Annotated[
        bool, typer.Option("--retry", help="Try again what took too long, crashed or failed oddly.")
    ] = False,
    verify: Annotated[
        bool,
        typer.Option("--verify", help="Hold every file and every cached row against its hash."),
    ] = False,
    strict: StrictOption = False,
    no_lock: NoLockOption = False,
) -> None:
    """Decode every file once into the experiment's views; a search does it by itself."""
    limit_s = seconds(limit)
    without_locks(no_lock)
    from workbench.data import manifest, prepared_report

    with reporting_errors():
        _, files, prepared = _prepared(
            experiment, data, jobs, limit_s=limit_s, retry=retry, verify=verify
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
    no_lock: NoLockOption = False,
) -> None:
    """Examine the data for what would fool a search: copies, shortcuts, shift, saturation."""
    without_locks(no_lock)
    from workbench.checks import checkup, page
    from workbench.data.facts import FactsStore

    workspace = Workspace(Path.cwd())
    with reporting_errors():
        about, files, prepared = _prepared(experiment, data, None)
        facts = FactsStore(workspace.cache).table(prepared.contents())
        found = checkup.run_checks(files, prepared, facts, short=False)
        path = workspace.checks / f"{about.name}.html"
        page.write_checks_page(found, path, title=about.name, prepared=prepared)
        if as_json:
            typer.echo(found.model_dump_json(indent=2))
        else:
            typer.echo(checkup.number_table(found))
            typer.echo(f"\n{checkup.as_text(found)}\n\nPage: {path}")
            typer.echo(f"\nNext: workbench search {_again(experiment, data)}")
        raise typer.Exit(1 if strict and found.num_warnings else 0)


def show(
    experiment: ExperimentArgument = DEMO,
    data: DataOption = None,
    samples: Annotated[int, typer.Option(help="Files of each class.", min=1, max=64)] = 8,
    no_lock: NoLockOption = False,
) -> None:
    """Write contact sheets: samples of every view, and what the search space may do to them."""
    without_locks(no_lock)
    from workbench.checks import sheet

    workspace = Workspace(Path.cwd())
    with reporting_errors():
        about, _, prepared = _prepared(experiment, data, None)
        folder = workspace.checks / f"{about.name}-views"
        augmented, why_not = _augmented(experiment, prepared, folder / "augmentations")
        *sheets, index = sheet.write_sheets(prepared, folder, per_class=samples, more=augmented)
        for path in sheets:
            typer.echo(path)
        if why_not:
            typer.echo(f"\n{why_not}")
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


def _augmented(
    experiment: Path, prepared: "Prepared", folder: Path
) -> "tuple[list[ContactSheet], str]":
    """Return the sheets of augmentations, or none and why: data is looked at without a space."""
    from workbench.search.augment_sheet import write_augment_sheets
    from workbench.space.experiment import read_experiment

    try:
        _, space = read_experiment(experiment)
    except ConfigError as error:
        return [], f"No sheets of augmentations: {error}"
    sheets = write_augment_sheets(space, prepared, folder)
    return sheets, "" if sheets else f"No sheets of augmentations: {space.file} can draw none."


def _prepared(
    experiment: Path,
    data: Path | None,
    jobs: int | None,
    *,
    limit_s: float | None = None,
    retry: bool = False,
    verify: bool = False,
) -> "tuple[Dataset, Manifest, Prepared]":
    """Return an experiment's data, decoded as far as it was not yet."""
    from workbench.data import dataset, folds, holdout, manifest
    from workbench.data import prepare as preparation
    from workbench.media.decoders import FILE_LIMIT_S

    workspace = Workspace(Path.cwd())
    about = dataset.read_dataset(experiment)
    try:
        folder = dataset.find_data(about, workspace, data)
        files = holdout.without_holdout(
            manifest.read_manifest(folder, about.data, cache=workspace.cache, verify=verify),
            about.holdout,
        )
        files = folds.with_fold(files, about.validation)
        prepared = preparation.prepare(
            files,
            folder,
            about.views,
            cache=workspace.cache,
            jobs=jobs or num_cores(),
            limit_s=limit_s or FILE_LIMIT_S,
            retry=retry,
            verify=verify,
        )
    except KeyboardInterrupt:
        typer.echo("\nStopped. The same command goes on with the rest.", err=True)
        raise typer.Exit(130) from None
    return about, files, prepared


def _again(experiment: Path, data: Path | None) -> str:
    """Return the arguments that name the same experiment and data."""
    return f"{experiment}{f' --data {data}' if data else ''}"
