"""A search, and the training of a known recipe, from the experiment to the promoted model."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from numbers import Integral, Real
from pathlib import Path
from typing import Literal

from workbench.api.disks import full_disks_told
from workbench.api.study import Study
from workbench.errors import ConfigError, StudyError
from workbench.searching import start
from workbench.searching.local_runner import LocalRunner
from workbench.searching.options import FinalistsAsked, RunOptions
from workbench.searching.ray_cluster import ClusterOptions
from workbench.searching.ray_runner import on_ray
from workbench.searching.runner import MakeRunner
from workbench.selection.best_model import promote_as_asked
from workbench.selection.final_round import run_final_round
from workbench.selection.leaderboard import complete_trials
from workbench.space.pack_presets import is_pack
from workbench.study.alike import measured_alike
from workbench.study.scored import read_scored_trials
from workbench.tracking.registry import ModelRegistry
from workbench.trial.compiling import Compile
from workbench.workspace import Workspace

MOST_SEED = 2**31 - 1
"""As in recipes: what is counted up from it is still a seed to every library."""


def search(
    experiment: str | Path | None = None,
    *,
    data: str | Path | None = None,
    trials: int = 50,
    study: str | None = None,
    slices: Mapping[str, str | Path] | None = None,
    start_from: Sequence[str | Path] = (),
    seed: int = 0,
    jobs: int | Literal["auto"] | None = None,
    device: str = "auto",
    memory_bytes: int | None = None,
    compiled: Compile = "off",
    strict: bool = False,
    timeout_s: float | None = None,
    stall_s: float = 900.0,
    stop_at_noise: bool = False,
    pack: bool = True,
    finalists: tuple[int, int] | None = None,
    runner: Literal["local", "ray"] = "local",
    address: str | None = None,
    trial_cpus: int = 1,
    trial_gpus: float | None = None,
    root: str | Path = ".",
    after_trials: Callable[[Study], None] | None = None,
) -> Study:
    """Try recipes of a search space, record each, and promote the best model.

    It returns when all trials have ended. A study that was begun goes on: the call does what is
    missing. Trials are trained in processes of their own, which do not run the calling script
    again: it needs no `if __name__ == "__main__"`. In a notebook, how the search stands is shown
    below the cell; interrupting the kernel ends it after the current epochs, and the same call
    then goes on.

    Args:
        experiment: An experiment file; by default one made for the data folder, or else the demo's.
        data: The data folder; by default the demo, where the experiment is about it.
        trials: Trials of the whole study, at least 1.
        study: Its name; the experiment's by default.
        slices: Other labelled folders, each a slice of this name.
        start_from: Files of known recipes to try first.
        seed: Seed of the sampler and the trials, 0 to 2**31 - 1.
        jobs: Trials side by side, or `auto`, which measures how many the device is good for; by
            default one on each GPU, or one on each core up to four.
        device: `auto`, `cpu`, `cuda` or e.g. `cuda:1`.
        memory_bytes: What a trial may take of its device's memory; its share by default.
        compiled: `on` compiles the training pass by torch.compile.
        strict: Fail if any file cannot be decoded as asked.
        timeout_s: No epoch begins after so many seconds.
        stall_s: A trial in which no batch ends for so many seconds is ended.
        stop_at_noise: Start no more trials once chance moves the best AUC by more than is still to
            be gained.
        pack: Also promote a pack of trials, if it is worth more than the best one.
        finalists: `(5, 3)` trains the best five again at the end, with three seeds each, and
            promotes by the mean.
        runner: `local` trains in processes of this machine; `ray` on a Ray cluster, for which the
            extra `ray` is installed.
        address: Of the cluster's head, or `auto` for the one that this machine is of; by default a
            cluster of this machine alone.
        trial_cpus: CPU cores of a trial on a cluster.
        trial_gpus: GPUs of a trial on a cluster, 1 or a part of one; by default 1 where this
            machine trains on one.
        root: The folder that holds `experiments/` and `mlruns/`; each machine of a cluster sees it.
        after_trials: Called with the study when its trials have ended, before the finalists are
            trained and the best model is promoted.

    Returns:
        The study. `stopped` says why, if it ended before its number of trials; where no trial was
        complete by then, nothing is promoted.

    Raises:
        ConfigError: an argument, the experiment or the search space says what cannot be used.
        DataError: there is no data folder, or its labels cannot be used.
        StudyError: another process searches the study, or all its trials failed.
        WorkbenchError: of another kind; each says what to do.
        KeyboardInterrupt: Ctrl-C, or an interrupted kernel.

    Example:
        >>> study = wb.search("experiments/mine.yaml", data="../data", trials=20)
        >>> study.champion.value
        0.9431
    """
    _require_several("start_from", start_from)
    _require_call("after_trials", after_trials)
    if slices is not None and not isinstance(slices, Mapping):
        raise ConfigError(f"`slices` is {slices!r}: give a name for each folder, as a dict.")
    options = _options(
        num_trials=trials,
        study=study,
        data=None if data is None else Path(data),
        slices={name: Path(folder) for name, folder in (slices or {}).items()},
        seed=seed,
        jobs=jobs,
        device=device,
        memory_bytes=memory_bytes,
        compiled=compiled,
        strict=strict,
        timeout_s=timeout_s,
        stall_s=stall_s,
        stop_at_noise=stop_at_noise,
        finalists=_finalists(finalists),
    )
    workspace, first = Workspace(Path(root).absolute()), [Path(file) for file in start_from]
    make = _make_runner(runner, ClusterOptions(address, trial_cpus, trial_gpus))

    def run() -> start.SearchOutcome:
        file = None if experiment is None else Path(experiment)
        return start.run_search(file, workspace, options, start_from=first, make_runner=make)

    return _concluded(run, workspace, options, "best" if pack else "none", after_trials, make)


def train(
    recipe: str | Path,
    *,
    data: str | Path,
    settings: Sequence[str] = (),
    study: str | None = None,
    seed: int = 0,
    device: str = "auto",
    memory_bytes: int | None = None,
    compiled: Compile = "off",
    root: str | Path = ".",
    after_trials: Callable[[Study], None] | None = None,
) -> Study:
    """Train one known recipe as it is: a study of one trial; of a pack, of one for each member.

    Args:
        recipe: The recipe's file.
        data: The data folder.
        settings: What to change of it, as `KEY=VALUE` each, e.g. `num_epochs=1`.
        study: The study's name; the recipe file's by default.
        seed: Seed of the trial, 0 to 2**31 - 1.
        device: `auto`, `cpu`, `cuda` or e.g. `cuda:1`.
        memory_bytes: What it may take of the device's memory; all by default.
        compiled: `on` compiles the training pass by torch.compile.
        root: The folder that holds `experiments/` and `mlruns/`.
        after_trials: Called with the study when it is trained, before it is promoted.

    Returns:
        The study, its trial or its pack promoted. Where it was stopped before every member of a
        pack had ended, nothing is promoted, and `stopped` says which are missing.

    Raises:
        ConfigError: an argument or the recipe says what cannot be used.
        DataError: there is no data folder, or its labels cannot be used.
        StudyError: the training failed.
        KeyboardInterrupt: Ctrl-C, or an interrupted kernel.

    Example:
        >>> wb.train("experiments/recipes/alexnet.yaml", data="../data", settings=["num_epochs=1"])
    """
    _require_several("settings", settings)
    _require_call("after_trials", after_trials)
    options = _options(
        num_trials=1,
        study=study,
        data=Path(data),
        seed=seed,
        jobs=1,
        device=device,
        memory_bytes=memory_bytes,
        compiled=compiled,
    )
    workspace = Workspace(Path(root).absolute())

    def run() -> start.SearchOutcome:
        return start.run_preset(Path(recipe), workspace, options, settings=settings)

    packs: Literal["all", "none"] = "all" if is_pack(Path(recipe)) else "none"
    return _concluded(run, workspace, options, packs, after_trials)


def _options(**asked: object) -> RunOptions:
    """Return how a study is to be searched.

    Raises:
        ConfigError: a number is none, or out of its range.
    """
    options = RunOptions(**asked)  # type: ignore[arg-type]  # a caller's own: checked below
    counts = {"trials": options.num_trials, "seed": options.seed, "jobs": options.jobs}
    counts |= {"memory_bytes": options.memory_bytes}
    counts |= dict(zip(("finalists", "seeds of finalists"), options.finalists or (), strict=False))
    for name, number in counts.items():
        if number is None and name in ("jobs", "memory_bytes"):
            continue
        if name == "jobs" and number == "auto":
            continue
        if isinstance(number, bool) or not isinstance(number, Integral):
            raise ConfigError(f"`{name}` is {number!r}: give a whole number.")
        if name != "seed" and number < 1:
            raise ConfigError(f"`{name}` is {number}: give 1 or more.")
    for name, seconds in {"timeout_s": options.timeout_s, "stall_s": options.stall_s}.items():
        if seconds is not None and not (isinstance(seconds, Real) and seconds >= 0):
            raise ConfigError(f"`{name}` is {seconds!r}: give seconds, 0 or more.")
    if not isinstance(options.device, str):
        raise ConfigError(f"`device` is {options.device!r}: give auto, cpu, cuda or e.g. cuda:1.")
    if not isinstance(options.study, str | None):
        raise ConfigError(f"`study` is {options.study!r}: give a study's name.")
    if not 0 <= options.seed <= MOST_SEED:
        raise ConfigError(f"`seed` is {options.seed}: give 0 to {MOST_SEED}.")
    return options


def _require_several(name: str, given: object) -> None:
    """Raise ConfigError where one text is given for several: its letters would be taken."""
    if isinstance(given, str | Path):
        raise ConfigError(f"`{name}` is {str(given)!r}: give a list, [{str(given)!r}].")


def _require_call(name: str, given: object) -> None:
    """Raise ConfigError, before hours of training, where what is to be called cannot be."""
    if given is not None and not callable(given):
        raise ConfigError(f"`{name}` is {given!r}: give a function of the study.")


def _make_runner(runner: str, cluster: ClusterOptions) -> MakeRunner:
    """Return what starts the runner of this name.

    Raises:
        ConfigError: it is not known, or what is asked of a cluster cannot be, or is asked of none.
    """
    if runner == "ray":
        return on_ray(cluster)
    if runner != "local":
        raise ConfigError(f"--runner {runner} is not known. Use local or ray.")
    if cluster != ClusterOptions():
        raise ConfigError(
            "--address, --trial-cpus and --trial-gpus are for a cluster. Add --runner ray."
        )
    return LocalRunner


def _finalists(asked: Sequence[int] | None) -> FinalistsAsked | None:
    """Return how many finalists are asked for, with how many seeds.

    Raises:
        ConfigError: these are not two numbers.
    """
    if asked is None:
        return None
    if not isinstance(asked, Sequence) or len(asked) != 2:
        raise ConfigError(f"`finalists` is {asked!r}: give two numbers, such as (5, 3).")
    return FinalistsAsked(*asked)


def _concluded(
    run: Callable[[], start.SearchOutcome],
    workspace: Workspace,
    options: RunOptions,
    packs: Literal["none", "best", "all"],
    after_trials: Callable[[Study], None] | None,
    make_runner: MakeRunner = LocalRunner,
) -> Study:
    """Run the search of a study, with its final round, and promote the best; return the study."""
    began = time.monotonic()
    outcome = run()
    folder = outcome.folder
    stopped = " ".join(filter(None, (outcome.stopped, outcome.lacks)))
    study = Study(folder, workspace, stopped=stopped, num_new=outcome.num_new)
    if after_trials is not None:
        after_trials(study)
    if outcome.lacks:
        return study
    rows, _ = measured_alike(folder, read_scored_trials(folder))
    if not complete_trials(rows):
        if stopped:  # nothing is wrong: what stopped it is said
            return study
        raise StudyError(
            "No trial is complete, so there is no champion: see the reasons above and "
            f"{folder.path}/trials/*/log.txt."
        )
    if options.finalists is not None:
        left = options.timeout_s and max(0.0, options.timeout_s - time.monotonic() + began)
        ended = run_final_round(
            folder,
            workspace,
            replace(options, timeout_s=left),
            top=options.finalists.top,
            num_seeds=options.finalists.num_seeds,
            make_runner=make_runner,
        )
        stopped = ended.stopped or stopped
    with full_disks_told(folder, workspace) as root:
        promote_as_asked(folder, ModelRegistry(root), root, packs)
    return Study(folder, workspace, stopped=stopped, num_new=outcome.num_new)
