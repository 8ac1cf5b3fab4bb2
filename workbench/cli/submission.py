"""The commands about a submission: export the champion, predict by it, score what it said."""

import json
from pathlib import Path
from typing import Annotated

import typer

from workbench.cli.shared import (
    JsonOption,
    StudyArgument,
    named_folders,
    opened_study,
    reporting_errors,
    stoppable,
)
from workbench.errors import BundleError
from workbench.workspace import Workspace

WheelsOption = Annotated[
    Path | None,
    typer.Option(help="Folder of wheels that the clean environment is made of, without network."),
]
InstalledOption = Annotated[
    bool,
    typer.Option(
        "--installed",
        help="Verify with the packages installed here, without this program; install none.",
    ),
]


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
    verify: Annotated[
        bool,
        typer.Option("--verify", help="Run the bundle over the test set in a clean environment."),
    ] = False,
    data: Annotated[
        Path | None, typer.Option(help="Data folder to verify on; the study's by default.")
    ] = None,
    wheels: WheelsOption = None,
    installed: InstalledOption = False,
) -> None:
    """Write the champion as a bundle: predictions, weights, recipe, code and hashes."""
    if not verify and (data or wheels or installed):
        raise typer.BadParameter("--data, --wheels and --installed need --verify: add it.")
    _require_one_source(wheels, installed)
    with reporting_errors():
        opened = opened_study(study)
        made = opened.export(out, allow_missing=allow_missing, calibrated=calibrated, refit=refit)
        typer.echo(made)
        if verify:
            typer.echo()
            _verify(out, data or Path(opened.folder.info().data), wheels, installed, "cpu", None)
        typer.echo(f"\nNext: workbench predict {out} FILE... --out predictions.csv")


def verify(
    bundle: Annotated[Path, typer.Argument(help="Folder made by `workbench export`.")],
    data: Annotated[Path, typer.Option(help="Data folder, or folder of the test media.")],
    wheels: WheelsOption = None,
    installed: InstalledOption = False,
    device: Annotated[str, typer.Option(help="A torch device.")] = "cpu",
    out: Annotated[
        Path | None, typer.Option(help="Folder of the report; BUNDLE-verify by default.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check a bundle: its files, and its scores of the whole test set in a clean environment."""
    _require_one_source(wheels, installed)
    with reporting_errors():
        _verify(bundle, data, wheels, installed, device, out, as_json=as_json)


def _require_one_source(wheels: Path | None, installed: bool) -> None:
    if wheels and installed:
        raise typer.BadParameter("--wheels and --installed name two sources: write one of them.")


def _verify(
    bundle: Path,
    data: Path,
    wheels: Path | None,
    installed: bool,
    device: str,
    out: Path | None,
    *,
    as_json: bool = False,
) -> None:
    """Verify a bundle, print and write the report, and end with exit code 1 if it fails."""
    from workbench.submission import verify_bundle, verify_report

    reports = verify_report.report_folder(bundle, out)
    found = verify_bundle.verify_bundle(
        bundle, data, wheels=wheels, is_linked=installed, device=device
    )
    verify_report.write_verify(found, reports)
    if as_json:
        typer.echo(found.as_json())
    else:
        typer.echo(verify_report.describe_verify(found))
        typer.echo(f"\nReport: {reports / verify_report.TEXT_NAME}")
    if not found.has_passed:
        raise BundleError(found.verdict)


def predict(
    bundle: Annotated[Path, typer.Argument(help="Folder made by `workbench export`.")],
    files: Annotated[list[Path], typer.Argument(help="Media files, or one folder of them.")],
    out: Annotated[Path, typer.Option(help="CSV file to write.")],
    frames: Annotated[
        Path | None,
        typer.Option(help="CSV file to write, too: the score of each frame, with its second."),
    ] = None,
    device: Annotated[str, typer.Option(help="A torch device.")] = "cpu",
) -> None:
    """Score media files by a bundle alone: its own code, its own weights."""
    from workbench.api.prediction import predict as score_files

    with reporting_errors():
        is_folder = len(files) == 1 and files[0].is_dir()
        those = files[0] if is_folder else files
        if frames is not None:  # first: a model without frames is refused before anything is read
            from workbench.api.frame_scores import frame_scores

            table = frame_scores(bundle, those, out=frames, device=device)
            typer.echo(f"The scores of {len(table)} frames are in {frames}.")
        scored = score_files(bundle, those, out=out, device=device)
        typer.echo(f"{len(scored)} scores are in {out}.")


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
        typer.Option(
            help="Largest difference of the objective that passes, where equal bits cannot be had.",
            min=0.0,
        ),
    ] = None,
    all_seeds: Annotated[
        bool, typer.Option("--all-seeds", help="Train the champion's other repeats, too.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Train a bundle's model again from scratch, and compare it with the exported one."""
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
        with stoppable("The same command goes on after the last epoch."):
            done = training.retrain(bundle, data, out, how)
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
    """Score predictions by labels that no search has seen."""
    from workbench.selection import grade

    with reporting_errors():
        graded = grade.grade(predictions, labels)
        typer.echo(graded.model_dump_json(indent=2) if as_json else grade.describe_grade(graded))
