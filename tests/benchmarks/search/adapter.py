"""The project's own study on a task: a real store and a real search, whose trials are looked up."""

import contextlib
import io
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar, Literal, NamedTuple, cast
from unittest.mock import patch

from tests.benchmarks.search.tasks import Task
from tests.study.inline import InlineTrials
from workbench.parts.weights import RANDOM
from workbench.rules.rulebook import Verdict
from workbench.screening.screening import (
    Candidate,
    Screening,
    choose_backbones,
    first_drafts,
    narrowed,
)
from workbench.searching.devices import Seats
from workbench.searching.forecast import Forecast
from workbench.searching.loop import Search
from workbench.searching.options import RunOptions
from workbench.searching.queue import TrialQueue
from workbench.searching.recording import StudyRuns
from workbench.searching.scheduler import make_scheduler
from workbench.searching.stopping import SearchLimits
from workbench.searching.study_store import StudyStore
from workbench.space import recipe_builder
from workbench.space.experiment import Experiment
from workbench.space.precisions import Precisions
from workbench.space.recipe_builder import RecipeBuilder
from workbench.space.space import SampledConfig, Space
from workbench.space.weights_finder import WeightsFinder
from workbench.study.folder import StudyFolder
from workbench.trial.recipe import Recipe
from workbench.validation import build
from workbench.workspace import Workspace

MEMORY = Path("/dev/shm")
"""Where a study is kept if there is such a place: its journal waits for a disk otherwise."""


@dataclass(frozen=True)
class Variant:
    """A way to search."""

    name: str
    screening: bool = True
    pruning: Mapping[str, Any] = field(default_factory=lambda: {"kind": "halving"})
    """As an experiment says it."""

    warm_start: bool = True
    """Whether known recipes, and the screening's first drafts, come first."""

    sampler: Literal["tpe", "gp", "random"] = "tpe"


class Step(NamedTuple):
    """A trial that ended complete."""

    spent: float
    """By the whole study until then."""

    objective: float
    worth: float
    """Of the epoch that was chosen; see `Seen`."""


class Spent(NamedTuple):
    """What a study found, and for how much."""

    steps: tuple[Step, ...]
    total: float


class Meter:
    """Looks trials up, and counts what their epochs would have cost.

    Args:
        task: What is searched.
        spent: So much was spent before.
    """

    def __init__(self, task: Task, spent: float) -> None:
        self.task, self.spent = task, spent
        self.steps: list[Step] = []
        self.trials = InlineTrials()
        self.trials.reset(self._epoch)

    def _epoch(self, recipe: Recipe, number: int) -> float:
        # Asked of new epochs alone: what a paused trial has, it has.
        asked = SampledConfig.of(recipe)
        self.spent += self.task.cost(asked)
        seen = self.task.seen(asked)
        if number == len(seen.observed):
            objective = max(seen.observed)
            worth = seen.worth[seen.observed.index(objective)]
            self.steps.append(Step(self.spent, objective, worth))
        return seen.observed[number - 1]


class NoTracking:
    """Stands in for MLflow, which takes no part in what is tried."""

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: ""


class NoRuns(NoTracking):
    """Stands in for a study's record there."""

    tracking = NoTracking()
    made_by: ClassVar[dict[str, str]] = {}

    def is_there(self) -> bool:
        return True


def search(task: Task, seed: int, variant: Variant, *, num_trials: int) -> Spent:
    """Search `task` as the project does, from one seed."""
    space = Space(file=task.name, tree=task.tree)
    spent = 0.0
    drafts = task.known() if variant.warm_start else []
    if variant.screening:
        screening, spent = screen(task, space), task.screening_cost()
        if variant.warm_start:
            drafts += first_drafts(space, screening)
        space = narrowed(space, screening)
    meter = Meter(task, spent)
    with (
        tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as root,
        contextlib.redirect_stderr(io.StringIO()),
        patch.object(recipe_builder, "judge_start", _legal),
    ):
        run(space, drafts, seed, variant, Path(root), num_trials, meter.trials)
    return Spent(tuple(meter.steps), meter.spent)


def run(
    space: Space,
    drafts: list[Any],
    seed: int,
    variant: Variant,
    root: Path,
    num_trials: int,
    trials: InlineTrials,
) -> None:
    """Run the search of a study whose trials are `trials`."""
    experiment: Experiment = build(
        Experiment,
        {
            "name": "benchmark",
            "views": {"mel": {"kind": "mel"}, "frames": {"kind": "frames", "num_frames": 1}},
            "search_space": "none",
            "pruning": dict(variant.pruning),
            "sampler": {"kind": variant.sampler},
        },
        where="benchmark",
    )
    workspace = Workspace(root)
    folder = StudyFolder(workspace.studies / "benchmark")
    folder.path.mkdir(parents=True)
    runs = cast(StudyRuns, NoRuns())
    store = StudyStore(folder, experiment, space, seed=seed, runs=runs)
    for number, draft in enumerate(drafts):
        store.proposals.start_from(draft, f"known {number}")
    finder = cast(WeightsFinder, SimpleNamespace(find=lambda *_: RANDOM, store=root))
    forecast = SimpleNamespace(
        learn=lambda *_: None,
        of=lambda *_: None,
        seconds_of=lambda *_: 0.0,
        is_used=False,
        is_shown=False,
    )
    builder = RecipeBuilder(experiment, "benchmark", finder, 0, Precisions(False))
    options = RunOptions(num_trials=num_trials)
    scheduler, limits = make_scheduler(experiment), SearchLimits(root, None)
    nothing_known = cast(Forecast, forecast)
    Search(
        folder,
        store,
        queue=TrialQueue(store, builder, scheduler, nothing_known, limits, num_trials=num_trials),
        scheduler=scheduler,
        runner=trials.make_runner(workspace, Seats(("cpu",), 1), options),
        forecast=nothing_known,
        limits=limits,
        options=options,
    ).run()


def screen(task: Task, space: Space) -> Screening:
    """Return the screening that the task's probes give."""
    candidates = [
        Candidate(
            backbone=backbone,
            views=views,
            pretrained="none",
            image_px=224,
            auc=task.probe(backbone, views),
        )
        for backbone in space.backbones()
        for views in space.view_sets()
    ]
    ranked = sorted(candidates, key=lambda one: one.auc or 0.0, reverse=True)
    return Screening(
        candidates=tuple(ranked), kept=choose_backbones(ranked, space.backbones()), seconds=0.0
    )


def _legal(*_: object, **__: object) -> Verdict:
    return Verdict(
        legal=True,
        backbone="",
        params_thop=1,
        params_true=1,
        params_counted=1,
        over_limit=0,
        counted_by="",
        pretraining="none",
        helpers=(),
        results=(),
        sentence="",
    )
