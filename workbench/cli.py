"""The command line: parse, call the library, print its result and the next command to type."""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from workbench.errors import WorkbenchError
from workbench.workspace import Workspace

if TYPE_CHECKING:
    from workbench.data.dataset import Dataset
    from workbench.data.manifest import Manifest
    from workbench.data.prepare import Prepared
    from workbench.parts.leaderboard_ranking import Limits
    from workbench.study.folder import StudyFolder

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False)

DEMO = Path("experiments/demo.yaml")

ExperimentArgument = Annotated[Path, typer.Argument(help="Experiment file.")]
StudyArgument = Annotated[
    str | None, typer.Argument(help="Name of the study; the last one searched by default.")
]
DataOption = Annotated[Path | None, typer.Option(help="Data folder.")]
StrictOption = Annotated[
    bool, typer.Option("--strict", help="Fail if any file cannot be decoded as asked.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]


@app.callback()
def main() -> None:
    """Search, compare, promote and export models for binary media classification under rules."""


@app.command()
def search(
    experiment: ExperimentArgument = DEMO,
    trials: Annotated[
        int,
        typer.Option(help="Trials of the whole study; a second run does what is missing.", min=1),
    ] = 50,
    study: Annotated[str | None, typer.Option(help="Name of the study.")] = None,
    data: DataOption = None,
    seed: Annotated[int, typer.Option(help="Seed of the sampler and the trials.", min=0)] = 0,
    jobs: Annotated[int | None, typer.Option(help="Trials side by side.", min=1)] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or e.g. cuda:1.")] = "auto",
    strict: StrictOption = False,
    timeout: Annotated[
        str | None, typer.Option(help="Start no trial that would end later, e.g. 90s, 30m, 8h.")
    ] = None,
) -> None:
    """Run a study: try recipes of a search space, record each, promote the best single model."""
    timeout_s = _seconds(timeout)
    from workbench.selection import leaderboard, promotion
    from workbench.study.records import read_trials
    from workbench.study.start import run_search
    from workbench.tracking import Tracking

    workspace = Workspace(Path.cwd())
    with reporting_errors():
        try:
            outcome = run_search(
                experiment,
                workspace,
                num_trials=trials,
                study=study,
                data=data,
                seed=seed,
                jobs=jobs,
                device=device,
                strict=strict,
                timeout_s=timeout_s,
            )
        except KeyboardInterrupt:
            typer.echo(
                "\nStopped. Ended trials are kept; the same command goes on with the rest.",
                err=True,
            )
            raise typer.Exit(130) from None
        rows = read_trials(outcome.folder)
        objective = outcome.experiment.objective
        typer.echo(leaderboard.as_table(rows, objective))
        if outcome.stopped:
            typer.echo(f"\n{outcome.stopped}")
        elif not outcome.num_new:
            typer.echo(f"\nThe study {outcome.folder.name} already has its {trials} trials.")
        if not any(row.state == "complete" for row in rows):
            raise WorkbenchError(
                "No trial is complete, so there is no champion: see the reasons above and "
                f"{outcome.folder.path}/trials/*/log.txt."
            )
        champion = promotion.promote_best(outcome.folder, Tracking(workspace.tracking))
        typer.echo(f"\n{promotion.describe(champion)}")
        typer.echo(f"\nNext: workbench compare {outcome.folder.name}")


@app.command()
def prepare(
    experiment: ExperimentArgument = DEMO,
    data: DataOption = None,
    jobs: Annotated[
        int | None, typer.Option(help="Decoding processes; one a core by default.", min=1)
    ] = None,
    limit: Annotated[str, typer.Option(help="Time that one file may take, e.g. 30s, 5m.")] = "5m",
    retry: Annotated[
        bool, typer.Option("--retry", help="Try again what took too long or crashed.")
    ] = False,
    strict: StrictOption = False,
) -> None:
    """Decode every file once into the experiment's views; a search does it by itself."""
    limit_s = _seconds(limit)
    from workbench.data import manifest
    from workbench.data import prepare as preparation

    with reporting_errors():
        _, files, prepared = _prepared(experiment, data, jobs, limit_s=limit_s, retry=retry)
        for line in (*manifest.describe(files), *preparation.describe(prepared)):
            typer.echo(line)
        typer.echo(f"\n{preparation.as_table(prepared)}")
        if strict:
            preparation.require_all(prepared)
        typer.echo(f"\nNext: workbench check {_again(experiment, data)}")


@app.command()
def check(
    experiment: ExperimentArgument = DEMO,
    data: DataOption = None,
    as_json: JsonOption = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 1 if there is any warning.")
    ] = False,
) -> None:
    """Examine the data for what would fool a search: copies, shortcuts, shift, saturation."""
    from workbench.data.facts import FactsStore
    from workbench.doctor import checkup, page

    workspace = Workspace(Path.cwd())
    with reporting_errors():
        about, files, prepared = _prepared(experiment, data, None)
        facts = FactsStore(workspace.cache).table(prepared.contents())
        found = checkup.check(files, prepared, facts, short=False)
        path = workspace.checks / f"{about.name}.html"
        page.write_page(found, path, title=about.name, prepared=prepared)
        if as_json:
            typer.echo(found.model_dump_json(indent=2))
        else:
            typer.echo(checkup.number_table(found))
            typer.echo(f"\n{checkup.as_text(found)}\n\nPage: {path}")
            typer.echo(f"\nNext: workbench search {_again(experiment, data)}")
        raise typer.Exit(1 if strict and found.num_warnings else 0)


@app.command()
def show(
    experiment: ExperimentArgument = DEMO,
    data: DataOption = None,
    samples: Annotated[int, typer.Option(help="Files of each class.", min=1, max=64)] = 8,
) -> None:
    """Write contact sheets: real and fake samples of every view, as a model sees them."""
    from workbench.doctor import sheet

    workspace = Workspace(Path.cwd())
    with reporting_errors():
        about, _, prepared = _prepared(experiment, data, None)
        folder = workspace.checks / f"{about.name}-views"
        *sheets, index = sheet.write_sheets(prepared, folder, per_class=samples)
        for path in sheets:
            typer.echo(path)
        typer.echo(f"\nPage: {index}")
        typer.echo(f"\nNext: workbench check {_again(experiment, data)}")


@app.command()
def compare(
    study: StudyArgument = None,
    as_json: JsonOption = False,
    top: Annotated[int, typer.Option(help="Trials in the table.", min=1)] = 10,
) -> None:
    """Rank the trials of a study; write one offline HTML page with its plots."""
    from workbench.selection import leaderboard, report
    from workbench.study.records import count_running, read_trials

    with reporting_errors():
        folder = _find(study)
        rows = read_trials(folder)
        if as_json:
            typer.echo(json.dumps(leaderboard.as_json(rows), indent=2, allow_nan=False))
            return
        objective = folder.experiment().objective
        typer.echo(leaderboard.as_table(rows, objective, top=top))
        if running := count_running(folder):
            typer.echo(f"{running} in flight or cut off; `workbench search` goes on with them.")
        report.write_report(folder, rows, objective, folder.report)
        typer.echo(f"\nPage: {folder.report}\n\nNext: workbench export {folder.name} --out bundle")


@app.command()
def ui(
    study: StudyArgument = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.", min=1, max=65535)] = 5000,
) -> None:
    """Open the tracking store in the MLflow user interface."""
    from workbench.tracking import Tracking, ui_command

    with reporting_errors():
        root = Workspace(Path.cwd()).tracking
        if not (root / "mlflow.db").exists():
            raise WorkbenchError(f"{root} holds no runs yet. Run `workbench search` first.")
        info = _find(study).info()
        tracking = Tracking(root)
        page = tracking.page(tracking.find_study(info.name, info.id))
        typer.echo(f"The study {info.name}, until Ctrl-C: http://{host}:{port}{page}")
        raise typer.Exit(subprocess.run(ui_command(root, host=host, port=port)).returncode)


@app.command()
def promote(
    study: StudyArgument = None,
    trial: Annotated[
        int | None, typer.Option(help="Number of the trial; the best one by default.", min=0)
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Make a finished trial the study's champion, a registered model version."""
    from workbench.selection import promotion
    from workbench.tracking import Tracking

    with reporting_errors():
        folder = _find(study)
        tracking = Tracking(Workspace(Path.cwd()).tracking)
        champion = promotion.promote(folder, tracking, trial)
        if as_json:
            typer.echo(champion.model_dump_json(indent=2))
            return
        typer.echo(promotion.describe(champion))
        typer.echo(f"\nNext: workbench export {folder.name} --out bundle")


@app.command()
def export(
    study: StudyArgument = None,
    out: Annotated[Path, typer.Option(help="Folder to make; it must not exist.")] = Path("bundle"),
) -> None:
    """Write the champion as a bundle: predictions, weights, recipe, code and hashes."""
    from workbench.submission import bundle

    with reporting_errors():
        made = bundle.export(_find(study), out)
        typer.echo(bundle.describe(made))
        typer.echo(f"\nNext: workbench predict {out} FILE... --out predictions.csv")


@app.command()
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


@app.command()
def score(
    predictions: Annotated[Path, typer.Argument(help="A filled template, e.g. of a bundle.")],
    labels: Annotated[Path, typer.Argument(help="Labels of the same files.")],
    as_json: JsonOption = False,
) -> None:
    """Hold predictions against labels that no search has seen."""
    from workbench.selection import grade

    with reporting_errors():
        graded = grade.grade(predictions, labels)
        typer.echo(graded.model_dump_json(indent=2) if as_json else grade.describe(graded))


@app.command("demo-data")
def demo_data(
    folder: Annotated[Path, typer.Argument(help="Folder to make.")],
    seed: Annotated[int, typer.Option(help="Another seed makes another data set.", min=0)] = 0,
) -> None:
    """Make the demo data: 600 short clips, half of them forged."""
    from workbench.data import demo

    with reporting_errors():
        demo.make_demo(folder, seed=seed)
        typer.echo(f"The demo data is in {folder}.\n\nNext: workbench search --data {folder}")


@app.command()
def backbones(
    check: Annotated[
        str | None, typer.Option(help="Judge one timm model name, with or without a tag.")
    ] = None,
    experiment: Annotated[
        Path | None, typer.Option(help="Judge by the rulebook of this experiment.")
    ] = None,
    limit: Annotated[
        str | None, typer.Option(help="Most parameters, e.g. 40M, instead of the rulebook's.")
    ] = None,
    pretrained: Annotated[
        list[str] | None,
        typer.Option(help="What weights may have seen, e.g. in1k, instead of the rulebook's."),
    ] = None,
    sort: Annotated[
        str | None, typer.Option(help="Figure to rank by, e.g. imagenet, imagenet-r, gap-a.")
    ] = None,
    image_px: Annotated[
        int | None, typer.Option("--image-px", help="Largest side of the images.", min=1)
    ] = None,
    memory: Annotated[
        str | None, typer.Option(help="Memory that training may take, e.g. 16GiB (estimated).")
    ] = None,
    batch: Annotated[
        int | None, typer.Option(help="Batch size that memory is estimated for.", min=1)
    ] = None,
    families: Annotated[int | None, typer.Option(help="Most models of one family.", min=1)] = None,
    top: Annotated[int | None, typer.Option(help="Models in the table.", min=1)] = None,
    excluded: Annotated[
        bool, typer.Option("--excluded", help="List every excluded row with its reason.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Rank timm's models under the rulebook, or judge one by --check: exit code 1 if illegal."""
    asked: dict[str, object] = {
        "sort": sort,
        "image_px": image_px,
        "memory": memory,
        "batch_size": batch,
        "families": families,
        "top": top,
    }
    asked = {key: value for key, value in asked.items() if value is not None}
    with reporting_errors():
        if check is not None:
            if asked or limit or pretrained or excluded:
                raise typer.BadParameter(
                    "--check judges by the rulebook alone: give it no option but --experiment "
                    "and --json."
                )
            _judge(check, experiment, as_json=as_json)
        from workbench.parts import leaderboard, leaderboard_ranking
        from workbench.values import build

        limits = _limits(experiment, limit, pretrained)
        query: leaderboard_ranking.Query = build(
            leaderboard_ranking.Query, {"top": 20, **asked}, where="workbench backbones"
        )
        figures = leaderboard.read_table()
        ranking = leaderboard_ranking.rank(figures, query, limits)
        if as_json:
            found = leaderboard_ranking.as_json(ranking, query, limits, source=figures.source)
            typer.echo(json.dumps(found, indent=2, allow_nan=False))
            return
        if excluded:
            typer.echo(f"{leaderboard_ranking.excluded_table(ranking)}\n")
        typer.echo(leaderboard_ranking.as_table(ranking, query, limits, source=figures.source))
        if ranking.rows:
            typer.echo(f"\nNext: workbench backbones --check {ranking.rows[0].model}")


@contextmanager
def reporting_errors() -> Iterator[None]:
    """Turn an expected error into its sentences on stderr and exit code 1; let bugs traceback."""
    try:
        yield
    except WorkbenchError as error:
        typer.secho(f"error: {error}", err=True, fg=typer.colors.RED)
        raise typer.Exit(1) from error


def _limits(experiment: Path | None, limit: str | None, pretrained: list[str] | None) -> "Limits":
    """Return what published figures are held against: an experiment's rules, or what is asked."""
    from workbench.parts.leaderboard_ranking import Limits
    from workbench.values import build

    limits = Limits()
    if experiment is not None:
        from workbench.data.dataset import read_tree

        # Of the rulebook these keys alone: the rest of an experiment takes torch to read.
        said = read_tree(experiment).get("rulebook", {})
        known = (
            said
            if not isinstance(said, dict)
            else {key: value for key, value in said.items() if key in Limits.model_fields}
        )
        limits = build(Limits, known, where=f"{experiment}, `rulebook`")
    asked: dict[str, object] = {"max_params": limit, "pretraining": tuple(pretrained or ()) or None}
    asked = {key: value for key, value in asked.items() if value is not None}
    return build(Limits, {**limits.model_dump(), **asked}, where="workbench backbones")


def _judge(backbone: str, experiment: Path | None, *, as_json: bool) -> None:
    """Print the rulebook's verdict on one backbone, and exit by it."""
    from workbench.rules.rulebook import Rulebook, judge_published

    rulebook = Rulebook()
    if experiment is not None:
        from workbench.study.experiment import read_experiment

        rulebook = read_experiment(experiment)[0].rulebook
    verdict = judge_published(rulebook, backbone)
    typer.echo(verdict.model_dump_json(indent=2) if as_json else verdict.sentence)
    raise typer.Exit(0 if verdict.legal else 1)


def _prepared(
    experiment: Path,
    data: Path | None,
    jobs: int | None,
    *,
    limit_s: float | None = None,
    retry: bool = False,
) -> "tuple[Dataset, Manifest, Prepared]":
    """Return an experiment's data, decoded as far as it was not yet."""
    from workbench.data import dataset, decoding, manifest
    from workbench.data import prepare as preparation

    workspace = Workspace(Path.cwd())
    about = dataset.read_dataset(experiment)
    try:
        folder = dataset.find_data(about, workspace, data)
        files = manifest.read_manifest(folder, about.data, cache=workspace.cache)
        prepared = preparation.prepare(
            files,
            folder,
            about.views,
            cache=workspace.cache,
            jobs=jobs or os.cpu_count() or 1,
            limit_s=limit_s or decoding.FILE_LIMIT_S,
            retry=retry,
        )
    except KeyboardInterrupt:
        typer.echo("\nStopped. The same command goes on with the rest.", err=True)
        raise typer.Exit(130) from None
    return about, files, prepared


def _again(experiment: Path, data: Path | None) -> str:
    """Return the arguments that name the same experiment and data."""
    return f"{experiment}{f' --data {data}' if data else ''}"


def _find(study: str | None) -> "StudyFolder":
    from workbench.study.folder import find

    return find(Workspace(Path.cwd()).studies, study)


def _seconds(text: str | None) -> float | None:
    if text is None:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text)
    if not match:
        raise typer.BadParameter(f"{text!r} is no time span: write e.g. 90s, 30m or 8h.")
    return float(match[1]) * {"s": 1, "m": 60, "h": 3600}[match[2]]
