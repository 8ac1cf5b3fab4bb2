"""The commands about a submission: export the champion, predict by it, score what it said."""

from pathlib import Path
from typing import Annotated

import typer

from workbench.cli.shared import JsonOption, StudyArgument, named_study, reporting_errors


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
    from workbench.submission import bundle

    with reporting_errors():
        made = bundle.export(
            named_study(study), out, allow_missing=allow_missing, is_calibrated=calibrated
        )
        typer.echo(bundle.describe_bundle(made))
        typer.echo(f"\nNext: workbench predict {out} FILE... --out predictions.csv")


def predict(
    bundle: Annotated[Path, typer.Argument(help="Folder made by `workbench export`.")],
    files: Annotated[list[Path], typer.Argument(help="Media files, or one folder of them.")],
    out: Annotated[Path, typer.Option(help="CSV file to write.")],
    device: Annotated[str, typer.Option(help="A torch device.")] = "cpu",
) -> None:
    """Score media files by a bundle alone: its own code, its own weights."""
    from workbench.submission import folder_predictions, verify

    with reporting_errors():
        number = len(files)
        if number == 1 and files[0].is_dir():
            number = folder_predictions.predict_folder(bundle, files[0], out, device)
        else:
            verify.run_predict(bundle, files, out, device)
        typer.echo(f"{number} scores are in {out}.")


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
