"""What a trial will cost, in seconds and memory, told from the trials before it."""

import itertools
import statistics
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from workbench.errors import ConfigError, WorkbenchError
from workbench.media.view import View
from workbench.parts.example_inputs import example_inputs
from workbench.parts.heads import Head
from workbench.parts.model import MediaModel, Reading
from workbench.parts.model_spec import TTA
from workbench.parts.weights import RANDOM
from workbench.tables import duration
from workbench.trial.recipe import Recipe
from workbench.trial.result import Result

_SCORED: dict[TTA, int] = {"none": 1, "hflip": 2, "six": 6}
"""Forward passes of a sample that is scored."""


_LEARNED = {"all": 3, "norms": 2, "last_block": 1.2}
"""Forward passes that a sample costs which is learned from, by `transfer.scope`. On a CPU the last
two took 0.60 to 0.76 and 0.32 to 0.45 of the time of the first (EfficientNet-Lite0, ResNet-18,
ViT-tiny)."""


@dataclass(frozen=True)
class Wanted:
    """A trial whose costs are asked for."""

    backbone: str
    """In a few words, if it is several."""

    views: tuple[str, ...]
    image_px: int
    batch_size: int
    num_epochs: int
    work: float
    """Multiply-adds of all these epochs; see `epoch_work`."""

    estimated_memory_bytes: int | None = None
    """As counted before it starts, where that was done."""

    train_px: int = 1
    """The largest side of its pictures in all these epochs' training."""

    method: str = "fine-tune"
    """Trials of other methods say nothing of its time."""


@dataclass(frozen=True)
class Past(Wanted):
    """A trial that ran some whole epochs: its `num_epochs`, whatever became of it."""

    seconds: float = 0.0
    """Of these epochs, at their usual pace: the first one also loads and compiles."""

    peak_memory_bytes: int | None = None
    """As measured, where the device can."""

    @property
    def pace(self) -> float:
        """Seconds per multiply-add."""
        return self.seconds / self.work


@dataclass(frozen=True)
class CostForecast:
    """What a trial is expected to cost."""

    seconds: float
    epoch_seconds: float
    memory_bytes: int | None
    """None where nothing is known of it."""

    spread: float | None
    """Half of the past trials were off by no more than this share; None where one says nothing."""

    def __str__(self) -> str:
        """Return it as a person reads it: `about 40.0 s, 1.2 GiB`."""
        memory = "" if self.memory_bytes is None else f", {self.memory_bytes / 2**30:.1f} GiB"
        return f"about {duration(self.seconds)}{memory}"


def epoch_work(
    recipe: Recipe, *, num_train: int, num_scored: int, sides: Sequence[int] = ()
) -> float:
    """Return the multiply-adds of an epoch; a backward pass counts as two forward ones.

    Where pictures grow in training, it is the mean of the epochs that are meant.

    Sharpness-aware steps go through the model twice.

    A probe reads each training sample and each of its copies once. What its fit takes is no part.

    Args:
        recipe: What is trained.
        num_train: Training samples that there are; the recipe may take a part of them.
        num_scored: Samples that are scored.
        sides: Of the pictures in training, of each epoch that is meant; by default of all.

    Raises:
        ConfigError: the model cannot be built or run.
    """
    wanted = recipe.training.sampling.subset
    seen = wanted * num_train if isinstance(wanted, float) else min(wanted, num_train)
    steps = seen * (2 if recipe.training.gradient.sam_rho else 1)
    learned = 1 if recipe.training.frozen else _LEARNED[recipe.training.transfer.scope]
    areas = [(side / recipe.model.image_px) ** 2 for side in sides or recipe.train_sides]
    learned *= statistics.mean(areas)
    passes = learned * steps + _SCORED[recipe.model.tta] * num_scored
    if recipe.training.probe is not None:
        passes += recipe.training.probe.copies * seen
    model = recipe.model
    backbones, views = tuple(model.backbone_of.items()), tuple(model.views.items())
    return passes * _multiply_adds(backbones, views, model.image_px, model.head, model.reading)


def wanted_of(recipe: Recipe, work: float, estimated_memory_bytes: int | None = None) -> Wanted:
    """Return the question what `recipe` costs, at `work` an epoch."""
    return Wanted(
        backbone=recipe.model.backbone_label,
        views=tuple(recipe.model.views),
        image_px=recipe.model.image_px,
        batch_size=recipe.training.batch_size,
        num_epochs=recipe.training.num_epochs,
        work=recipe.training.num_epochs * work,
        train_px=max(recipe.train_sides),
        estimated_memory_bytes=estimated_memory_bytes,
        method=recipe.training.method.kind,
    )


def past_of(recipe: Recipe, result: Result, works: Sequence[float]) -> Past | None:
    """Return what a trial did cost; nothing if no epoch of it was whole.

    `works` has the multiply-adds of each of its epochs. The usual pace is the median of theirs, the
    first one left out where there are others.
    """
    if not result.epochs:
        return None
    paces = [epoch.seconds / one for epoch, one in zip(result.epochs, works, strict=True)]
    return Past(
        backbone=recipe.model.backbone_label,
        views=tuple(recipe.model.views),
        image_px=recipe.model.image_px,
        batch_size=recipe.training.batch_size,
        num_epochs=len(result.epochs),
        work=sum(works),
        train_px=max(recipe.train_sides[: len(result.epochs)]),
        estimated_memory_bytes=result.estimated_memory_bytes,
        method=recipe.training.method.kind,
        seconds=statistics.median(paces[1:] or paces) * sum(works),
        peak_memory_bytes=result.peak_memory_bytes,
    )


def predict_cost(past: Sequence[Past], wanted: Wanted) -> CostForecast | None:
    """Return what `wanted` will cost; nothing before a trial of its method has ended an epoch.

    Its pace is the median of those of its own kind: of backbone, views and size, else of backbone.
    Where there is none, an epoch takes as long as a line through all past epochs says.
    """
    past = [trial for trial in past if trial.method == wanted.method]
    if not past:
        return None
    alike = [trial for trial in past if _kind(trial) == _kind(wanted)] or [
        trial for trial in past if trial.backbone == wanted.backbone
    ]
    if alike:
        pace = statistics.median(trial.pace for trial in alike)
        seconds = pace * wanted.work
        errors = [abs(trial.pace / pace - 1) for trial in alike]
    else:
        line = _line(past)
        seconds = wanted.num_epochs * line(wanted.work / wanted.num_epochs)
        errors = [abs(t.seconds / (t.num_epochs * line(t.work / t.num_epochs)) - 1) for t in past]
    return CostForecast(
        seconds=seconds,
        epoch_seconds=seconds / wanted.num_epochs,
        memory_bytes=_memory(past, wanted),
        spread=statistics.median(errors) if len(errors) > 1 else None,
    )


def _kind(trial: Wanted) -> tuple[str, tuple[str, ...], int]:
    return trial.backbone, trial.views, trial.image_px


def _line(past: Sequence[Past]) -> Callable[[float], float]:
    """Return the seconds of an epoch by its work, a + b * work with a and b not below zero.

    b is the median of the slopes between any two kinds, so that a few odd ones do not bend it.
    Source: Sen 1968, "Estimates of the regression coefficient based on Kendall's tau".
    """
    by_kind = defaultdict[Any, list[Past]](list)
    for trial in past:
        by_kind[_kind(trial)].append(trial)
    points = sorted(
        (
            statistics.median(t.work / t.num_epochs for t in trials),
            statistics.median(t.seconds / t.num_epochs for t in trials),
        )
        for trials in by_kind.values()
    )
    slopes = [
        (later[1] - first[1]) / (later[0] - first[0])
        for first, later in itertools.combinations(points, 2)
        if later[0] > first[0]
    ]
    slope = max(0.0, statistics.median(slopes)) if slopes else 0.0
    start = statistics.median(y - slope * x for x, y in points)
    if start < 0 or not slopes:
        slope, start = statistics.median(y / x for x, y in points), 0.0
    return lambda work: start + slope * work


def _memory(past: Sequence[Past], wanted: Wanted) -> int | None:
    """Return the bytes of `wanted`: what was counted, and as much more as any past one took.

    Where nothing was counted, the most that one of its own kind took, for its larger batch and
    its larger pictures.
    """
    if counted := wanted.estimated_memory_bytes:
        ratios = [
            trial.peak_memory_bytes / trial.estimated_memory_bytes
            for trial in past
            if trial.peak_memory_bytes and trial.estimated_memory_bytes
        ]
        return int(counted * max(ratios, default=1.0))
    took = [
        int(
            most
            * max(1.0, wanted.batch_size / trial.batch_size)
            * max(1.0, wanted.train_px / trial.train_px) ** 2
        )
        for trial in past
        if _kind(trial) == _kind(wanted)
        and (most := trial.peak_memory_bytes or trial.estimated_memory_bytes)
    ]
    return max(took, default=None)


@lru_cache(maxsize=1024)
def _multiply_adds(
    backbones: tuple[tuple[str, str], ...],
    views: tuple[tuple[str, View], ...],
    image_px: int,
    head: Head,
    reading: Reading,
) -> int:
    """Return the multiply-adds of a forward pass of one sample, on tensors without contents.

    A recipe is asked about before it is judged, and anybody's own backbone may be in it.

    Raises:
        ConfigError: the model cannot be built or run, whatever it raised.
    """
    try:
        with torch.device("meta"):
            model = MediaModel(
                dict(backbones),
                dict(views),
                image_px=image_px,
                weights=RANDOM,
                head=head,
                reading=reading,
            )
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            model.eval()(example_inputs(model.views, 1, "meta"))
    except WorkbenchError:
        raise
    except Exception as error:  # whatever a network raises; raised again as what it says of it
        raise ConfigError(f"The model cannot be counted ({type(error).__name__}).") from error
    return max(1, int(counter.get_total_flops() // 2))  # trees multiply nothing
