"""The commands about a submission: export the champion, predict by it, score what it said."""

from pathlib import Path
from typing import Annotated

import typer

from workbench.cli.shared import JsonOption, StudyArgument, opened_study, reporting_errors


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
) -> None:
    """Write the champion as a bundle: predictions, weights, recipe, code and hashes."""
    with reporting_errors():
        study_of = opened_study(study)
        typer.echo(study_of.export(out, allow_missing=allow_missing, calibrated=calibrated))
        typer.echo(f"\nNext: workbench predict {out} FILE... --out predictions.csv")


def predict(
    bundle: Annotated[Path, typer.Argument(help="Folder made by `workbench export`.")],
    files: Annotated[list[Path], typer.Argument(help="Media files.")],
    out: Annotated[Path, typer.Option(help="CSV file to write.")],
    device: Annotated[str, typer.Option(help="A torch device.")] = "cpu",
) -> None:
    """Score media files by a bundle alone: its own code, its own weights."""
    from workbench.api.prediction import predict as score_files

    with reporting_errors():
        score_files(bundle, files, out=out, device=device)
        typer.echo(f"{len(files)} scores are in {out}.")


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
