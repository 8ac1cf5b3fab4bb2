"""The commands that make sure of a choice: train the best again, look at the locked holdout."""

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from workbench.cli.shared import (
    CompileOption,
    DeviceOption,
    JobsOption,
    JsonOption,
    MemoryOption,
    NoLockOption,
    PackOption,
    PackSetting,
    StallOption,
    StudyArgument,
    TimeoutOption,
    compile_setting,
    named_study,
    num_jobs,
    opened_study,
    parse_bytes,
    parse_params,
    reporting_errors,
    seconds,
    stoppable,
    trial_numbers,
)
from workbench.workspace import Workspace

if TYPE_CHECKING:
    from workbench.searching.options import FinalistsAsked, RunOptions
    from workbench.selection.final_round import FinalRound
    from workbench.study.folder import StudyFolder


class Joint(StrEnum):
    """How the members of a pack become one score."""

    mean = "mean"
    calibrated = "calibrated"
    logistic = "logistic"


def finalists(
    study: StudyArgument = None,
    top: Annotated[int, typer.Option(help="Number of the best trials to train again.", min=1)] = 5,
    seeds: Annotated[int, typer.Option(help="Number of new seeds for each.", min=1)] = 3,
    pack: PackOption = PackSetting.auto,
    jobs: JobsOption = None,
    device: DeviceOption = "auto",
    memory: MemoryOption = None,
    compiled: CompileOption = "off",
    timeout: TimeoutOption = None,
    stall: StallOption = "15m",
    as_json: JsonOption = False,
    _no_lock: NoLockOption = False,
) -> None:
    """Train the best trials again with new seeds; promote the best mean, or a better pack."""
    timeout_s, stall_s, memory_bytes = seconds(timeout), seconds(stall), parse_bytes(memory)
    from workbench.api.disks import full_disks_told
    from workbench.searching.options import FinalistsAsked, RunOptions
    from workbench.selection.best_model import promote_as_asked
    from workbench.selection.champion import describe_champion
    from workbench.selection.finalists_told import finalists_as_json
    from workbench.tracking.registry import ModelRegistry

    asked = FinalistsAsked(top, seeds)
    options = RunOptions(
        num_trials=top * seeds,
        jobs=num_jobs(jobs),
        device=device,
        timeout_s=timeout_s,
        stall_s=stall_s,
        memory_bytes=memory_bytes,
        compiled=compile_setting(compiled),
        finalists=asked,
    )
    with reporting_errors():
        folder = named_study(study)
        ended = final_round(folder, options, asked, is_shown=not as_json)
        with full_disks_told(folder, Workspace(Path.cwd())) as root:
            packs: Literal["best", "none"] = "best" if pack is PackSetting.auto else "none"
            champion = promote_as_asked(folder, ModelRegistry(root), root, packs)
        if as_json:
            typer.echo(json.dumps(finalists_as_json(ended.finalists), indent=2, allow_nan=False))
            return
        typer.echo(f"\n{describe_champion(champion)}")
        typer.echo(f"\nNext: workbench compare {folder.name}")


def soup(
    study: StudyArgument = None,
    trials: Annotated[
        str | None,
        typer.Option(
            help="Numbers of the trials, e.g. 3,5,9; the best that can be averaged by default.",
        ),
    ] = None,
    greedy: Annotated[
        bool, typer.Option("--greedy", help="Add trials one by one, none that makes it worse.")
    ] = False,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
    _no_lock: NoLockOption = False,
) -> None:
    """Average the weights of several trials of one model and one start; score the mean."""
    numbers = trial_numbers(trials)
    from workbench.selection.soup import make_soup
    from workbench.selection.soup_told import (
        describe_soup,
        is_clearly_behind,
        soup_as_json,
    )

    with reporting_errors():
        folder = named_study(study)
        made = make_soup(folder, numbers, greedy=greedy, device=device)
        if as_json:
            typer.echo(json.dumps(soup_as_json(made), indent=2, allow_nan=False))
            return
        typer.echo(describe_soup(made))
        if made.soup is not None:
            typer.echo(f"\nFolder: {folder.soup(made.soup.recipe).path}")
            words = "compare" if is_clearly_behind(made) else "promote"
            option = " --soup" if words == "promote" else ""
            typer.echo(f"\nNext: workbench {words} {folder.name}{option}")


_OF_LOOKS = ("look", "before")


def audit(
    study: StudyArgument = None,
    trial: Annotated[
        int | None, typer.Option(help="Number of the trial; the champion by default.", min=0)
    ] = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
    _no_lock: NoLockOption = False,
) -> None:
    """Score the champion on the locked holdout; every look is logged."""
    from workbench.selection.audit import audit as look_at
    from workbench.selection.audit import describe_audit

    with reporting_errors():
        folder = named_study(study)
        audited = look_at(folder, Workspace(Path.cwd()), trial, device=device)
        if as_json:
            # What is told beside the value says how far it can be believed.
            beside = {key: value for key, value in vars(audited).items() if key not in _OF_LOOKS}
            typer.echo(json.dumps(audited.look.model_dump(mode="json") | beside, indent=2))
            return
        typer.echo(describe_audit(audited))
        typer.echo(f"\nLog: {folder.looks}")


def refit(
    study: StudyArgument = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
    _no_lock: NoLockOption = False,
) -> None:
    """Train the champion again on train and val together, to be exported in its place."""
    from workbench.selection.refit import refit_champion

    with reporting_errors():
        folder = named_study(study)
        with stoppable("The same command goes on after the last epoch."):
            made = refit_champion(folder, Workspace(Path.cwd()), device=device)
        if as_json:
            typer.echo(made.model_dump_json(indent=2))
            return
        typer.echo("\n".join(made.lines(folder.name)))
        typer.echo(f"\nFolder: {folder.model(made.recipe).path}")
        typer.echo(f"\nNext: workbench export {folder.name} --refit --out bundle")


def pack(
    studies: Annotated[
        list[str] | None,
        typer.Argument(
            help="Studies of the same data whose trials may be members; the first keeps the pack. "
            "The last one searched by default."
        ),
    ] = None,
    limit: Annotated[
        str | None, typer.Option(help="Most parameters, e.g. 100M; the rulebook's by default.")
    ] = None,
    ms_per_file: Annotated[
        float | None, typer.Option(help="Most milliseconds that scoring a file may take.", min=0.0)
    ] = None,
    members: Annotated[int, typer.Option(help="Most different trials in the pack.", min=2)] = 8,
    joint: Annotated[
        Joint,
        typer.Option(
            help="How scores become one: the mean of probabilities; that of logits, each by its "
            "own temperature; or a logistic regression on them."
        ),
    ] = Joint.calibrated,
    soups: Annotated[
        bool, typer.Option("--soups", help="Let soups that were made be members, too.")
    ] = False,
    as_json: JsonOption = False,
    _no_lock: NoLockOption = False,
) -> None:
    """Join several trials into one legal model, if that is worth more than the best of them."""
    most_params = parse_params(limit)

    with reporting_errors():
        names: list[str | None] = [*studies] if studies else [None]
        first, *others = [opened_study(name) for name in names]
        made = first.pack(
            others,
            max_params=most_params,
            ms_per_file=ms_per_file,
            members=members,
            joint=joint.value,
            soups=soups,
        )
        if as_json:
            found = made.summary.model_dump(mode="json")
            found["decision"] = made.decision
            typer.echo(json.dumps(found, indent=2, allow_nan=False))
            return
        typer.echo(f"{made}\n\nFolder: {made.path}")
        typer.echo(f"\nNext: workbench promote {made.next_study}{' --pack' * made.is_better}")


def final_round(
    folder: "StudyFolder",
    options: "RunOptions",
    asked: "FinalistsAsked",
    *,
    is_shown: bool = True,
) -> "FinalRound":
    """Train the finalists of a study; print how they stand, and why some are missing."""
    from workbench.selection.final_round import run_final_round
    from workbench.selection.finalists_told import finalists_as_table

    with stoppable("Repeats that ended are kept; the same command goes on with the rest."):
        ended = run_final_round(
            folder, Workspace(Path.cwd()), options, top=asked.top, num_seeds=asked.num_seeds
        )
    if is_shown:
        typer.echo(f"\nFinalists:\n{finalists_as_table(ended.finalists)}")
    if ended.stopped:
        typer.echo(f"\n{ended.stopped}", err=not is_shown)
    return ended
