"""The commands about a submission: export the champion, predict by it, score what it said."""

import json
from pathlib import Path
from typing import Annotated

import typer

from workbench.cli.shared import (
    JsonOption,
    StudyArgument,
    named_folders,
    named_study,
    reporting_errors,
)
from workbench.workspace import Workspace


def export(
    study: StudyArgument = None,
    out: Annotated[Path, typer.Option(help="Folder to make; it must not exist.")] = Path("bundle"),
    allow_missing: Annotated[
        bool,
        typer.Option(
            "--allow-missing", help="Export though over 1% of the test files could not be decoded."
        ),
    ] = False,
    calibrated: Annotated[
        bool,
        typer.Option(
            "--calibrated", help="Divide the scores' logits by a temperature fitted on val."
        ),
    ] = False,
    refit: Annotated[
        bool, typer.Option("--refit", help="Export the champion's refit in its place.")
    ] = False,
) -> None:
    """Write the champion as a bundle: predictions, weights, recipe, code and hashes."""
    from workbench.submission import bundle

    with reporting_errors():
        made = bundle.export(
            named_study(study),
            out,
            allow_missing=allow_missing,
            is_calibrated=calibrated,
            is_refit=refit,
        )
        typer.echo(bundle.describe_bundle(made))
        typer.echo(f"\nNext: workbench predict {out} FILE... --out predictions.csv")


def predict(
    bundle: Annotated[Path, typer.Argument(help="Folder made by `workbench export`.")],
    files: Annotated[list[Path], typer.Argument(help="Media files.")],
    out: Annotated[Path, typer.Option(help="CSV file to write.")],
    device: Annotated[str, typer.Option(help="A torch device.")] = "cpu",
) -> None:
    """Score media files by a bundle alone: its own code, its own weights."""
    from workbench.submission import verify

    with reporting_errors():
        verify.run_predict(bundle, files, out, device)
        typer.echo(f"{len(files)} scores are in {out}.")


def retrain(
    bundle: Annotated[Path, typer.Argument(help="Folder made by `workbench export`.")],
    data: Annotated[Path, typer.Option(help="Data folder of the study.", readable=False)],
    out: Annotated[
        Path, typer.Option(help="Folder to make for what is trained; the same one to go on.")
    ] = Path("retrained"),
    device: Annotated[
        str | None,
        typer.Option(help="auto, cpu, cuda or e.g. cuda:1; as the study's by default."),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(help="Folder of the starting weights; experiments/weights by default."),
    ] = None,
    slices: Annotated[
        list[str] | None,
        typer.Option("--slice", help="A labelled folder that the study had: NAME=DIR."),
    ] = None,
    tolerance: Annotated[
        float | None,
        typer.Option(help="Of the objective, where bits cannot be the same.", min=0.0),
    ] = None,
    all_seeds: Annotated[
        bool, typer.Option("--all-seeds", help="Train the champion's other repeats, too.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Train a bundle's model again from scratch, and hold it against the exported one."""
    folders = named_folders(slices or [])
    from workbench.submission import retrain as training
    from workbench.submission.retrain_checks import checks_as_table

    with reporting_errors():
        how = training.How(
            device=device,
            store=weights or Workspace(Path.cwd()).weights,
            slices=folders,
            tolerance=tolerance,
            all_seeds=all_seeds,
        )
        try:
            done = training.retrain(bundle, data, out, how)
        except KeyboardInterrupt:
            typer.echo("\nStopped. The same command goes on after the last epoch.", err=True)
            raise typer.Exit(130) from None
        if as_json:
            checks = [check.model_dump() for check in done.checks]
            typer.echo(json.dumps({"ok": done.ok, "checks": checks}, indent=2, allow_nan=False))
        else:
            typer.echo(checks_as_table(done.checks))
            outcome = "The training gave" if done.ok else "The training did not give"
            typer.echo(f"\n{outcome} the model of {bundle}. What it made is in {out}.")
        raise typer.Exit(0 if done.ok else 1)


def score(
    predictions: Annotated[Path, typer.Argument(help="A filled template, e.g. of a bundle.")],
    labels: Annotated[Path, typer.Argument(help="Labels of the same files.")],
    as_json: JsonOption = False,
) -> None:
    """Hold predictions against labels that no search has seen."""
    from workbench.selection import grade

    with reporting_errors():
        graded = grade.grade(predictions, labels)
        typer.echo(graded.model_dump_json(indent=2) if as_json else grade.describe_grade(graded))
