"""The commands about a study: search it, compare its trials, open its runs, promote one."""

import json
import time
from collections.abc import Callable
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from workbench.cli.selection import final_round
from workbench.cli.shared import (
    MOST_SEED,
    CompileOption,
    DataOption,
    DeviceOption,
    FittedArgument,
    JobsOption,
    JsonOption,
    MemoryOption,
    NoLockOption,
    StallOption,
    StrictOption,
    StudyArgument,
    TimeoutOption,
    compile_setting,
    finalists_asked,
    full_disks_told,
    named_folders,
    named_study,
    num_jobs,
    parse_bytes,
    reporting_errors,
    seconds,
    tracking_of,
    without_locks,
)
from workbench.errors import WorkbenchError
from workbench.tables import width
from workbench.workspace import Workspace

if TYPE_CHECKING:
    from workbench.search.options import RunOptions
    from workbench.search.start import SearchOutcome


class PackSetting(StrEnum):
    """Whether the end of a search looks for a pack."""

    auto = "auto"
    off = "off"


def search(
    experiment: FittedArgument = None,
    trials: Annotated[
        int,
        typer.Option(help="Trials of the whole study; a second run does what is missing.", min=1),
    ] = 50,
    study: Annotated[
        str | None, typer.Option(help="Name of the study; the experiment's by default.")
    ] = None,
    data: DataOption = None,
    slices: Annotated[
        list[str] | None,
        typer.Option(
            "--slice",
            help="Another labelled folder as a slice, NAME=DIR; repeatable. `objective.over` may "
            "name it; else trials are scored on it at their end.",
        ),
    ] = None,
    start_from: Annotated[
        list[Path] | None, typer.Option(help="Known recipe to try first; repeatable.")
    ] = None,
    seed: Annotated[
        int, typer.Option(help="Seed of the sampler and the trials.", min=0, max=MOST_SEED)
    ] = 0,
    jobs: JobsOption = None,
    device: DeviceOption = "auto",
    memory: MemoryOption = None,
    compiled: CompileOption = "off",
    strict: StrictOption = False,
    timeout: TimeoutOption = None,
    stop_at_noise: Annotated[
        bool,
        typer.Option(
            "--stop-at-noise",
            help="Start no more once chance moves the best AUC by more than is still to be gained.",
        ),
    ] = False,
    pack: Annotated[
        PackSetting,
        typer.Option(help="Also promote a pack of trials, if it is worth more than the best one."),
    ] = PackSetting.auto,
    finalists: Annotated[
        str | None,
        typer.Option(help="Train the best again at the end, e.g. 5x3: five, with three seeds."),
    ] = None,
    stall: StallOption = "15m",
    no_lock: NoLockOption = False,
) -> None:
    """Run a study: try recipes of a search space, record each, promote the best single model."""
    timeout_s, stall_s, memory_bytes = seconds(timeout), seconds(stall), parse_bytes(memory)
    asked = finalists_asked(finalists)
    without_locks(no_lock)
    from workbench.search.options import RunOptions
    from workbench.search.start import run_search

    options = RunOptions(
        num_trials=trials,
        study=study,
        data=data,
        slices=named_folders(slices or ()),
        seed=seed,
        jobs=num_jobs(jobs),
        device=device,
        timeout_s=timeout_s,
        finalists=asked,
        stall_s=stall_s,
        stop_at_noise=stop_at_noise,
        memory_bytes=memory_bytes,
        compiled=compile_setting(compiled),
        strict=strict,
    )

    def run(workspace: Workspace) -> "SearchOutcome":
        return run_search(experiment, workspace, options, start_from=start_from or ())

    whole = "its trial" if trials == 1 else f"its {trials} trials"
    _conclude(run, options, whole, packs="best" if pack is PackSetting.auto else "none")


def train(
    recipe: Annotated[Path, typer.Argument(help="Recipe file, e.g. of experiments/recipes.")],
    data: Annotated[Path, typer.Option(help="Data folder.")],
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="Change a key of the recipe, e.g. num_epochs=1; repeatable."),
    ] = None,
    study: Annotated[str | None, typer.Option(help="Name; the recipe file's by default.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the trial.", min=0, max=MOST_SEED)] = 0,
    device: DeviceOption = "auto",
    memory: MemoryOption = None,
    compiled: CompileOption = "off",
    no_lock: NoLockOption = False,
) -> None:
    """Train one known recipe as it is: a study of one trial, to compare, promote and export."""
    memory_bytes = parse_bytes(memory)
    without_locks(no_lock)
    from workbench.search.options import RunOptions
    from workbench.search.start import run_preset
    from workbench.space.pack_presets import is_pack

    options = RunOptions(
        num_trials=1,
        study=study,
        data=data,
        seed=seed,
        jobs=1,
        device=device,
        memory_bytes=memory_bytes,
        compiled=compile_setting(compiled),
    )

    def run(workspace: Workspace) -> "SearchOutcome":
        return run_preset(recipe, workspace, options, settings=settings or ())

    with reporting_errors():
        many = is_pack(recipe)
    _conclude(run, options, "its trials" if many else "its trial", packs="all" if many else "none")


def _conclude(
    run: Callable[[Workspace], "SearchOutcome"],
    options: "RunOptions",
    whole: str,
    *,
    packs: Literal["none", "best", "all"],
) -> None:
    """Run the search of a study, with its final round; print its trials and promote the best."""
    from workbench.selection import leaderboard
    from workbench.selection.best_model import promote_as_asked
    from workbench.selection.champion import describe_champion
    from workbench.selection.statistics import read_scored_trials
    from workbench.study.alike import measured_alike
    from workbench.tracking.registry import ModelRegistry

    workspace, began = Workspace(Path.cwd()), time.monotonic()
    with reporting_errors():
        try:
            outcome = run(workspace)
        except KeyboardInterrupt:
            typer.echo(
                "\nStopped. Ended trials are kept; the same command goes on with the rest.",
                err=True,
            )
            raise typer.Exit(130) from None
        rows, _ = measured_alike(outcome.folder, read_scored_trials(outcome.folder))
        typer.echo(leaderboard.as_table(rows, outcome.experiment.objective, width=width()))
        if outcome.stopped:
            typer.echo(f"\n{outcome.stopped}")
        elif not outcome.num_new:
            typer.echo(f"\nThe study {outcome.folder.name} already has {whole}.")
        if not leaderboard.complete_trials(rows):
            if outcome.stopped:  # nothing is wrong: what stopped it is said
                raise typer.Exit(1)
            raise WorkbenchError(
                "No trial is complete, so there is no champion: see the reasons above and "
                f"{outcome.folder.path}/trials/*/log.txt."
            )
        if options.finalists is not None:
            left = options.timeout_s and max(0.0, options.timeout_s - time.monotonic() + began)
            final_round(outcome.folder, replace(options, timeout_s=left), options.finalists)
        with full_disks_told(outcome.folder) as place:
            champion = promote_as_asked(outcome.folder, ModelRegistry(place), place, packs)
        typer.echo(f"\n{describe_champion(champion)}")
        typer.echo(f"\nNext: workbench compare {outcome.folder.name}")


def compare(
    study: StudyArgument = None,
    as_json: JsonOption = False,
    top: Annotated[int, typer.Option(help="Trials in the table.", min=1)] = 10,
) -> None:
    """Rank the trials of a study; write one offline HTML page that one decides from."""
    from workbench.report.page import write_report
    from workbench.selection import leaderboard
    from workbench.selection.finalists import read_finalists
    from workbench.selection.finalists_told import finalists_as_table
    from workbench.selection.pack_summary import describe_pack, kept_pack
    from workbench.selection.statistics import read_scored_trials
    from workbench.selection.summary import describe_summary, kept_champion, summarise
    from workbench.study.alike import measured_alike
    from workbench.study.disk import kept_weights
    from workbench.study.looks import describe_looks, read_looks
    from workbench.study.records import count_running

    with reporting_errors():
        folder = named_study(study)
        rows, other = measured_alike(folder, read_scored_trials(folder))
        if other:
            typer.echo(other, err=True)
        objective = folder.experiment().objective
        if as_json:
            summary, _ = summarise(folder, rows, objective)
            found = {
                "decision": summary.model_dump(mode="json"),
                "trials": leaderboard.as_json(rows),
            }
            typer.echo(json.dumps(found, indent=2, allow_nan=False))
            return
        typer.echo(leaderboard.as_table(rows, objective, top=top, width=width()))
        if standing := read_finalists(folder, rows):
            typer.echo(f"\nFinalists:\n{finalists_as_table(standing)}")
        if made := kept_pack(folder, kept_champion(folder)):
            typer.echo(f"\nPack of trials:\n{describe_pack(made)}")
        if looks := read_looks(folder):
            typer.echo(f"\n{describe_looks(looks)}")
        if running := count_running(folder):
            typer.echo(
                f"{running} in flight, paused or cut off; `workbench search` goes on with them."
            )
        typer.echo(kept_weights(folder, leaderboard.rank(rows, objective)), nl=False)
        summary = write_report(folder, rows, objective, folder.report)
        if said := describe_summary(summary):
            typer.echo(f"\n{said}")
        after = "search"
        if leaderboard.complete_trials(rows):
            promoted = folder.champion.exists()
            after = f"export {folder.name} --out bundle" if promoted else f"promote {folder.name}"
        typer.echo(f"\nPage: {folder.report}\n\nNext: workbench {after}")


def ui(
    study: StudyArgument = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.", min=1, max=65535)] = 5000,
    no_lock: NoLockOption = False,
) -> None:
    """Open the tracking store in the MLflow user interface."""
    without_locks(no_lock)
    from workbench.tracking import ui as mlflow_ui
    from workbench.tracking.runs import find_page

    with reporting_errors():
        folder = named_study(study)
        info, root = folder.info(), tracking_of(folder)
        page = find_page(root, info.name, info.id)
        if not isinstance(root, Path):  # it serves its pages itself
            typer.echo(f"The study {info.name}: {root}{page}")
            return
        if (free := mlflow_ui.free_port(host, port)) != port:
            typer.echo(f"Port {port} is used by another program: this is port {free}.", err=True)
        where = f"{mlflow_ui.shown_host(host)}:{free}"
        if not mlflow_ui.is_private(host):
            typer.echo(
                f"Anybody who reaches {where} can read, change and delete all runs: there is no "
                "password.",
                err=True,
            )
        typer.echo(f"The study {info.name}, until Ctrl-C: http://{where}{page}")
        raise typer.Exit(mlflow_ui.serve(mlflow_ui.ui_command(root, host=host, port=free)))


def promote(
    study: StudyArgument = None,
    trial: Annotated[
        int | None, typer.Option(help="Number of the trial; the best one by default.", min=0)
    ] = None,
    pack: Annotated[
        bool, typer.Option("--pack", help="The pack that `workbench pack` made last.")
    ] = False,
    as_json: JsonOption = False,
    no_lock: NoLockOption = False,
) -> None:
    """Make a finished trial, or a pack, the study's champion, a registered model version."""
    if pack and trial is not None:
        raise typer.BadParameter("--trial and --pack name two models: write one of them.")
    from workbench.report.page import write_report
    from workbench.search.mending import mend_runs
    from workbench.selection import best_model, promotion
    from workbench.selection.champion import describe_champion
    from workbench.selection.statistics import read_scored_trials
    from workbench.selection.summary import describe_summary
    from workbench.study.alike import measured_alike
    from workbench.tracking.registry import ModelRegistry

    without_locks(no_lock)
    with reporting_errors():
        folder = named_study(study)
        with full_disks_told(folder) as root:
            mend_runs(folder, root)
            if pack:
                champion = best_model.promote_newest_pack(folder, ModelRegistry(root), root)
            else:
                champion = promotion.promote(folder, ModelRegistry(root), trial)
            rows, _ = measured_alike(folder, read_scored_trials(folder))
            summary = write_report(folder, rows, folder.experiment().objective, folder.report)
        if as_json:
            found = champion.model_dump(mode="json")
            found["decision"] = summary.model_dump(mode="json")
            typer.echo(json.dumps(found, indent=2, allow_nan=False))
            return
        typer.echo(describe_champion(champion))
        typer.echo(f"\n{describe_summary(summary, is_after_promotion=True)}")
        typer.echo(f"\nPage: {folder.report}\n\nNext: workbench export {folder.name} --out bundle")
