"""The project's own study on a task: real books and a real search, whose trials are looked up."""

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
from tests.study.inline import InlinePool
from workbench.parts.weights import RANDOM
from workbench.rules.rulebook import Verdict
from workbench.screening.screening import Candidate, Screening, choose, first_drafts, narrowed
from workbench.search import loop as search_module
from workbench.search.forecast import Forecast
from workbench.search.loop import Search, Settings
from workbench.search.pool import Event
from workbench.search.recording import StudyRuns
from workbench.search.store import StudyStore
from workbench.space import recipe_builder as making_module
from workbench.space.experiment import Experiment
from workbench.space.precisions import Precisions
from workbench.space.recipe_builder import RecipeBuilder
from workbench.space.space import SampledConfig, Space
from workbench.space.weights_finder import WeightsFinder
from workbench.study.folder import StudyFolder
from workbench.trial.recipe import Recipe
from workbench.trial.result import Result
from workbench.trial.worker import Job
from workbench.values import build

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

    sampler: Literal["tpe", "tpe-flat", "gp", "random"] = "tpe"


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


class Meter(InlinePool):
    """A pool that looks trials up and counts what their epochs would have cost."""

    task: ClassVar[Task]
    spent: ClassVar[float]
    steps: ClassVar[list[Step]]

    @classmethod
    def begin(cls, task: Task, spent: float) -> None:
        """Count anew; so much was spent before."""
        cls.task, cls.spent, cls.steps = task, spent, []

        def epoch(recipe: Recipe, number: int) -> float:
            # Asked of new epochs alone: what a paused trial has, it has.
            asked = SampledConfig.of(recipe)
            cls.spent += task.cost(asked)
            return task.seen(asked).observed[number - 1]

        InlinePool.reset(epoch)

    def _say(self, slot: int, job: Job) -> Event:
        said = super()._say(slot, job)
        tried_out = job.folder.name == "tryout"
        if isinstance(said, Result) and said.state == "complete" and not tried_out:
            seen = self.task.seen(SampledConfig.of(Recipe.model_validate_json(job.recipe)))
            assert said.objective is not None and said.best_epoch is not None
            worth = seen.worth[said.best_epoch - 1]
            Meter.steps.append(Step(Meter.spent, said.objective, worth))
        return said


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

    def seconds(self, result: Result) -> float:
        return result.seconds


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
    Meter.begin(task, spent)
    with (
        tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as root,
        contextlib.redirect_stderr(io.StringIO()),
        patch.object(search_module, "WorkerPool", Meter),
        patch.object(making_module, "judge_start", _legal),
        # It only says something, by scores that nobody wrote.
        patch.object(Search, "_look_at_noise", lambda _: None),
    ):
        sit(space, drafts, seed, variant, Path(root), num_trials)
    return Spent(tuple(Meter.steps), Meter.spent)


def sit(
    space: Space, drafts: list[Any], seed: int, variant: Variant, root: Path, num_trials: int
) -> None:
    """Run one sitting of a study, its trials those of `Meter`."""
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
    folder = StudyFolder(root / "benchmark")
    folder.path.mkdir()
    books = StudyStore(
        folder,
        experiment,
        space,
        seed=seed,
        runs=cast(StudyRuns, NoRuns()),
    )
    for number, draft in enumerate(drafts):
        books.start_from(draft, f"known {number}")
    finder = cast(WeightsFinder, SimpleNamespace(find=lambda *_: RANDOM, store=root))
    Search(
        folder,
        experiment,
        books,
        maker=RecipeBuilder(experiment, "benchmark", finder, seed=0, precisions=Precisions(False)),
        forecast=cast(
            Forecast,
            SimpleNamespace(
                learn=lambda *_: None, of=lambda *_: None, is_used=False, is_shown=False
            ),
        ),
        settings=Settings(
            num_trials=num_trials,
            devices=("cpu",),
            threads_per_worker=1,
            memory_bytes=None,
            cache=root,
            deadline=None,
            stall_s=900.0,
        ),
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
    return Screening(candidates=tuple(ranked), kept=choose(ranked, space.backbones()), seconds=0.0)


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
