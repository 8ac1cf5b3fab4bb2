"""The commands about a study: search it, compare its trials, open its runs, promote one."""

import json
from collections.abc import Callable
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

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
    PackOption,
    PackSetting,
    StallOption,
    StrictOption,
    StudyArgument,
    TimeoutOption,
    compile_setting,
    finalists_asked,
    named_folders,
    named_study,
    num_jobs,
    opened_study,
    parse_bytes,
    reporting_errors,
    seconds,
    stoppable,
    tracking_of,
)
from workbench.tables import width

if TYPE_CHECKING:
    from workbench.api.study import Study


class RunnerSetting(StrEnum):
    """What trains the trials."""

    local = "local"
    ray = "ray"


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
            help=(
                "Start no more trials once chance moves the best AUC by more than new trials "
                "are expected to."
            ),
        ),
    ] = False,
    pack: PackOption = PackSetting.auto,
    finalists: Annotated[
        str | None,
        typer.Option(help="Train the best again at the end, e.g. 5x3: five, with three seeds."),
    ] = None,
    stall: StallOption = "15m",
    runner: Annotated[
        RunnerSetting, typer.Option(help="What trains: this machine, or a Ray cluster.")
    ] = RunnerSetting.local,
    address: Annotated[
        str | None,
        typer.Option(help="The cluster's head, or auto; by default a cluster of this machine."),
    ] = None,
    shared: Annotated[
        Path,
        typer.Option(
            metavar="DIR",
            help="Where studies are kept and each machine of a cluster sees them; by default here.",
        ),
    ] = Path(),
    trial_cpus: Annotated[int, typer.Option(help="CPU cores of a trial on a cluster.", min=1)] = 1,
    trial_gpus: Annotated[
        float | None, typer.Option(help="GPUs of a trial on a cluster, e.g. 0.25.", min=0, max=1)
    ] = None,
    _no_lock: NoLockOption = False,
) -> None:
    """Run a study: try recipes of a search space, record each, promote the best single model."""
    timeout_s, stall_s, memory_bytes = seconds(timeout), seconds(stall), parse_bytes(memory)
    asked = finalists_asked(finalists)
    from workbench.api.search import search as search_study

    run = partial(
        search_study,
        experiment,
        data=data,
        trials=trials,
        study=study,
        slices=named_folders(slices or ()),
        start_from=start_from or (),
        seed=seed,
        jobs=num_jobs(jobs),
        device=device,
        memory_bytes=memory_bytes,
        compiled=compile_setting(compiled),
        strict=strict,
        timeout_s=timeout_s,
        stall_s=stall_s,
        stop_at_noise=stop_at_noise,
        pack=pack is PackSetting.auto,
        finalists=asked,
        runner="ray" if runner is RunnerSetting.ray else "local",
        address=address,
        trial_cpus=trial_cpus,
        trial_gpus=trial_gpus,
        root=shared,
    )
    _conclude(run, "its trial" if trials == 1 else f"its {trials} trials")


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
    _no_lock: NoLockOption = False,
) -> None:
    """Train one known recipe as it is: a study of one trial, to compare, promote and export."""
    memory_bytes = parse_bytes(memory)
    from workbench.api.search import train as train_recipe

    run = partial(
        train_recipe,
        recipe,
        data=data,
        settings=settings or (),
        study=study,
        seed=seed,
        device=device,
        memory_bytes=memory_bytes,
        compiled=compile_setting(compiled),
    )
    _conclude(run, "what the recipe asks for")


def _conclude(run: "Callable[..., Study]", whole: str) -> None:
    """Run the search of a study; print its trials once they have ended, then what came of them."""
    told = ""

    def trials_told(study: "Study") -> None:
        nonlocal told
        told = study.stopped
        typer.echo(study.table(width=width()))
        if told:
            typer.echo(f"\n{told}")
        elif not study.num_new:
            typer.echo(f"\nThe study {study.name} already has {whole}.")

    with reporting_errors():
        with stoppable("Ended trials are kept; the same command goes on with the rest."):
            study = run(after_trials=trials_told)
        if study.champion is None:  # it was stopped before there was one
            raise typer.Exit(1)
        if finalists := study.finalists_table():
            typer.echo(f"\nFinalists:\n{finalists}")
        if study.stopped != told:
            typer.echo(f"\n{study.stopped}")
        typer.echo(f"\n{study.champion}")
        typer.echo(f"\nNext: workbench compare {study.name}")


def compare(
    study: StudyArgument = None,
    as_json: JsonOption = False,
    top: Annotated[int, typer.Option(help="Trials in the table.", min=1)] = 10,
) -> None:
    """Rank the trials of a study; write one offline HTML page to decide from."""
    with reporting_errors():
        opened = opened_study(study)
        compared = opened.compare(page=not as_json)
        if as_json:
            typer.echo(json.dumps(compared.as_json(), indent=2, allow_nan=False))
            return
        typer.echo(compared.text(top=top, width=width()))
        after = "search"
        if compared.decision:
            after = f"promote {opened.name}"
            if opened.folder.champion.exists():
                after = f"export {opened.name} --out bundle"
        typer.echo(f"\nPage: {compared.page}\n\nNext: workbench {after}")


def ui(
    study: StudyArgument = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.", min=1, max=65535)] = 5000,
    _no_lock: NoLockOption = False,
) -> None:
    """Open the tracking store in the MLflow user interface."""
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
        command = mlflow_ui.ui_command(root, host=host, port=free)
        raise typer.Exit(mlflow_ui.serve(command, root))


def promote(
    study: StudyArgument = None,
    trial: Annotated[
        int | None, typer.Option(help="Number of the trial; the best one by default.", min=0)
    ] = None,
    pack: Annotated[
        bool, typer.Option("--pack", help="The pack that `workbench pack` made last.")
    ] = False,
    soup: Annotated[
        bool, typer.Option("--soup", help="The soup that `workbench soup` made last.")
    ] = False,
    as_json: JsonOption = False,
    _no_lock: NoLockOption = False,
) -> None:
    """Make a finished trial, a pack or a soup the study's champion, a registered model version."""
    if pack + soup + (trial is not None) > 1:
        raise typer.BadParameter(
            "--trial, --pack and --soup name different models: write one of them."
        )
    from workbench.selection.summary import describe_summary

    with reporting_errors():
        opened = opened_study(study)
        champion = opened.promote(trial, pack=pack, soup=soup)
        compared = opened.compare(page=False)
        if as_json:
            found = champion.model_dump(mode="json")
            found["decision"] = compared.as_json()["decision"]
            typer.echo(json.dumps(found, indent=2, allow_nan=False))
            return
        typer.echo(champion)
        typer.echo(f"\n{describe_summary(compared.summary, is_after_promotion=True)}")
        page, name = opened.folder.report, opened.name
        typer.echo(f"\nPage: {page}\n\nNext: workbench export {name} --out bundle")
