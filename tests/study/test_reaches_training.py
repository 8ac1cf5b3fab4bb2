"""Every dimension of every shipped search space changes the recipe, and what is trained by it."""

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from torch import Generator

from workbench.data.prepare import Prepared
from workbench.data.training_copies import copies_name
from workbench.degradation.degradations import AND, CHANGES, DAMAGES, FORGERIES, REAL_OF
from workbench.media.sound_view import SoundView
from workbench.media.view import View
from workbench.media.views import AnyView
from workbench.parts.suited import reads_waveforms
from workbench.parts.weights import RANDOM
from workbench.space.space import Dimension, SampledConfig, Space, read_space
from workbench.trial import plots, training
from workbench.trial.decision import Decision
from workbench.trial.recipe import Objective, Recipe
from workbench.trial.result import Epoch, TrialFolder
from workbench.trial.train import run_trial
from workbench.validation import build
from workbench.values import kinds

SMALLEST = {"image_px": 32, "num_frames": 2, "num_samples": 4_000}
VIEWS: dict[str, AnyView] = {
    kind: build(
        AnyView,
        {"kind": kind} | {key: v for key, v in SMALLEST.items() if key in cls.model_fields},
        where=kind,
    )
    for kind, cls in kinds(AnyView).items()
}
"""By their kinds, as the shipped spaces name them."""

SPACES = {
    file.stem: read_space(file, tuple(VIEWS))
    for file in sorted((Path(__file__).parents[2] / "search_spaces").glob("*.yaml"))
}
BACKBONE, WAVES = "test_resnet", "raw_resnet"
SIZES = {"train": 34, "val": 12, "test": 2}
"""One batch of 64 or two of 32 or three of 16."""

COPIES = [
    copies_name(forgery, damage)
    for forgery in ("", *FORGERIES, *(each.name for each in REAL_OF.values()))
    for damage in (*DAMAGES, "")
    if forgery or damage
]

SHORT, LONG = 2, 12
"""Epochs of a training; what shows only late needs the long one: a plateau, or a decay of 0.9 of a
moving average, whose warm-up takes 31 steps."""


@dataclass(frozen=True)
class Run:
    """What a training made."""

    weights: str
    """Digest of all tensors of `model.safetensors`."""

    scores: tuple[float, ...]
    views: frozenset[str]
    """What the model reads."""

    num_epochs: int


class Bench:
    """Trains drafts on made data, each recipe once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._prepared = made_data(folder)
        self._runs: dict[str, Run] = {}

    def recipe(self, draft: SampledConfig) -> Recipe:
        """Return the recipe of `draft` on the made data."""
        return recipe_of(draft, self._prepared.fingerprint)

    def run(self, draft: SampledConfig) -> Run:
        """Return the training of `draft`, perhaps an earlier one."""
        recipe = self.recipe(draft)
        if recipe.uid not in self._runs:
            self._runs[recipe.uid] = self.train(recipe, self._folder / recipe.uid)
        return self._runs[recipe.uid]

    def train(self, recipe: Recipe, folder: Path) -> Run:
        """Train `recipe`."""
        result = run_trial(recipe, self._prepared, folder, device="cpu", report=go_on)
        assert result.state == "complete", result.reason
        tensors = load_file(TrialFolder(folder).weights)
        digest = hashlib.sha256()
        for name in sorted(tensors):
            digest.update(name.encode() + tensors[name].numpy().tobytes())
        scores = pd.read_parquet(TrialFolder(folder).scores)["score"]
        views = frozenset(name.split(".")[1] for name in tensors if name.startswith("readers."))
        return Run(digest.hexdigest(), tuple(scores), views, len(result.epochs))


def recipe_of(draft: SampledConfig, data: str) -> Recipe:
    return draft.recipe(data=data, views=VIEWS, weights=RANDOM, objective=Objective(), seed=0)


def go_on(epoch: Epoch) -> Decision:
    return "go on"


def made_data(folder: Path, sizes: Mapping[str, int] = SIZES) -> Prepared:
    """Return made arrays of all views: coloured clouds, fakes a little brighter; a third fakes."""
    splits = [(split, number) for split, size in sizes.items() for number in range(size)]
    rng = np.random.default_rng(0)
    rows: dict[str, Any] = {
        "split": [split for split, _ in splits],
        "name": [f"{split}{number}" for split, number in splits],
        "target": np.array([number % 3 == 0 for _, number in splits], np.int8),
    }
    arrays = {}
    for name, view in VIEWS.items():
        rows[f"row.{name}"] = np.arange(1, len(splits) + 1)
        made = [view.neutral(), *(clouds(view, int(fake), rng) for fake in rows["target"])]
        arrays[name] = folder / f"{name}.array"
        np.stack(made).tofile(arrays[name])
    table = pd.DataFrame({**rows, "content": rows["name"]})
    plain = Prepared(table, VIEWS, arrays, "made")
    return replace(plain, beside={name: copies_of(plain, name) for name in COPIES})


def copies_of(prepared: Prepared, name: str) -> Prepared:
    """Return copies that look like the file one, two, ... further on."""
    rows = prepared.rows("train")
    changes = [part for part in name.split(".")[1].split(AND) if part]
    is_damaged = changes[-1] in DAMAGES
    table = rows if changes == changes[-1:] and is_damaged else rows[rows["target"] == 0]
    table = table.assign(target=1) if changes[0] in FORGERIES else table
    for view in prepared.views:
        if is_damaged or CHANGES[changes[0]].touches(VIEWS[view]):
            moved = (table[f"row.{view}"] + COPIES.index(name)) % len(rows) + 1
            table = table.assign(**{f"row.{view}": moved})
    return replace(prepared, table=table)


def clouds(view: View, fake: int, rng: np.random.Generator) -> npt.NDArray[Any]:
    """Return an array of `view` with structure of its own in every frame and channel."""
    if view.modality == "waveform":
        return rng.normal(0, 2000 + 2000 * fake, view.stored_shape).astype(view.dtype)
    if len(view.shape) == 1:
        return rng.normal(fake, 1, view.stored_shape).astype(view.dtype)
    side, planes = view.shape[1], math.prod(view.stored_shape) // view.shape[1] ** 2
    coarse = rng.uniform(20, 200, (planes, 5, 5)) + 30 * fake
    fine = np.stack([cv2.resize(plane, (side, side)) for plane in coarse])
    fine += rng.normal(0, 8, fine.shape)
    frames, height, width, channels = view.shape
    array = fine.reshape(view.num_segments, frames, channels, height, width)
    return np.moveaxis(array, 2, -1).clip(0, 255).astype(view.dtype)


def last_epoch(recipe: Recipe, epochs: list[Epoch]) -> Epoch | None:
    """Stand in for the best epoch, whose weights are kept: what happens late must show too."""
    return epochs[-1] if epochs else None


def by_itself(real: Callable[..., Any]) -> Callable[..., Any]:
    """Return augmentation `real` with draws of its own in each batch.

    So a draw that is made and thrown away shifts no later one: what differs was changed.
    """

    def drawn(*given: Any) -> Any:
        *others, generator = given
        seed = int(torch.randint(2**31, (), generator=generator))
        return real(*others, Generator().manual_seed(seed))

    return drawn


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "best_epoch", last_epoch)
        for augmentation in ("with_blends", "change", "mix"):
            patch.setattr(training, augmentation, by_itself(getattr(training, augmentation)))
        for plot in ("write_roc", "write_pr"):  # half of the time of so small a training
            patch.setattr(plots, plot, lambda *_: None)
        yield Bench(tmp_path_factory.mktemp("reach"))


def small(space: Space, draft: SampledConfig, *, epochs: int, keep: str) -> SampledConfig:
    """Return `draft` made cheap to train in all but what `keep`, a dimension, is about."""
    cheap: dict[str, Any] = {
        "views": fewest_views(space, keep),
        "backbone": None,
        "image_px": 32,
        "num_epochs": 1 if keep == "image_px" else epochs,
        "batch_size": 16,
    }
    made = draft.model_copy(update={key: v for key, v in cheap.items() if key != keep})
    return made.model_copy(update={"backbone": backbone_for(made.views)})


def backbone_for(views: tuple[str, ...]) -> str:
    """Return a small backbone for views that all go through pictures' or waveforms'."""
    return WAVES if "waveform" in views else BACKBONE


def fewest_views(space: Space, name: str) -> tuple[str, ...]:
    """Return the smallest set of views in which dimension `name` has something to work on."""
    several = name.endswith(".even_views")  # of one view there is nothing to even
    both = name == "copies.mismatch"  # of picture and sound
    frames = name.startswith("over_frames")
    change = CHANGES.get(name.removeprefix("copies."))
    seen = ".pictures." in name or name in ("tta", "picture_input") or name.endswith(".picture_c")
    seen |= name == "copies.cutout" or (change is not None and change.of_pictures)
    channels = 1 if ".spectrograms." in name else 3 if seen else 0
    if ".waveforms." in name:
        return ("waveform",)
    fit = [
        names
        for names in space.view_sets()
        if not channels or any(VIEWS[view].shape[-1] == channels for view in names)
        if not frames or any(VIEWS[view].shape[0] > 1 for view in names if view == "frames")
        if not several or len({len(VIEWS[view].shape) for view in names}) > 1
        if not both or len({isinstance(VIEWS[view], SoundView) for view in names}) > 1
    ]
    return min(fit, key=len)


def circumstances(space: Space, dimension: Dimension) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield epochs and values of other dimensions: the plainest, then one other at a time.

    A strength shows where its chance is not zero: that stands in the same mapping, and mostly
    shares a word with it.
    """
    yield SHORT, dimension.where
    parent, _, key = dimension.name.rpartition(".")
    kin: list[dict[str, Any]] = []
    others: list[dict[str, Any]] = []
    for other in space.dimensions():
        mapping, _, name = other.name.rpartition(".")
        if mapping == parent and name != key:
            near = set(name.split("_")) & set(key.split("_"))
            (kin if near else others).extend({other.name: v} for v in other.values[1:])
    yield from ((SHORT, {**dimension.where, **values}) for values in kin)
    yield LONG, dimension.where
    yield from ((SHORT, {**dimension.where, **values}) for values in others)


def all_differ(things: list[Any]) -> bool:
    return len(set(things)) == len(things)


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES.keys())
def test_the_same_draft_is_trained_to_the_same_weights(
    bench: Bench, tmp_path: Path, space: Space
) -> None:
    # Without this the comparisons below would prove nothing.
    recipe = bench.recipe(small(space, space.at({}), epochs=SHORT, keep=""))
    assert bench.train(recipe, tmp_path / "a") == bench.train(recipe, tmp_path / "b")


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES.keys())
def test_every_dimension_changes_the_recipe(space: Space) -> None:
    for dimension in space.dimensions():
        name, values = dimension.name, dimension.values
        assert len(values) > 1 and all_differ(list(values)), f"{name} has one value: no dimension"
        drafts = [space.at({**dimension.where, name: value}) for value in values]
        uids = [recipe_of(draft, "made").uid for draft in drafts]
        assert all_differ(uids), f"{name} is in no recipe"


def marks(space: str) -> list[pytest.MarkDecorator]:
    return [] if space == "demo" else [pytest.mark.slow]


@pytest.mark.parametrize(
    "space", [pytest.param(space, id=name, marks=marks(name)) for name, space in SPACES.items()]
)
def test_the_backbones_of_a_space_are_different_models(space: Space) -> None:
    [dimension] = [d for d in space.dimensions() if d.name == "backbone"]
    drafts = [space.at({"backbone": value}) for value in dimension.values]
    drafts = [
        draft.model_copy(update={"views": ("waveform",)})
        if reads_waveforms(draft.backbone_names[0])
        else draft
        for draft in drafts
    ]
    built = [architecture(recipe_of(draft, "made")) for draft in drafts]
    assert all_differ(built)
    assert len({shapes for _, _, shapes in built}) > 1


def trained_dimensions() -> Iterator[tuple[str, Space, Dimension]]:
    """Yield each dimension but the backbone once, of the first space that has it."""
    seen = {"backbone"}
    for name, space in SPACES.items():
        for dimension in space.dimensions():
            if dimension.name not in seen:
                seen.add(dimension.name)
                yield name, space, dimension


@pytest.mark.parametrize(
    ("space", "dimension"),
    [
        pytest.param(space, dimension, id=f"{name}:{dimension.name}", marks=marks(name))
        for name, space, dimension in trained_dimensions()
    ],
)
def test_a_dimension_changes_what_is_trained(
    bench: Bench, space: Space, dimension: Dimension
) -> None:
    name, values = dimension.name, dimension.values
    for epochs, others in circumstances(space, dimension):
        pair = [
            small(space, space.at({**others, name: value}), epochs=epochs, keep=name)
            for value in values
        ]
        runs = [bench.run(draft) for draft in pair]
        if name == "tta":  # changes what is scored, not what is learnt
            assert len({run.weights for run in runs}) == 1
            assert all_differ([run.scores for run in runs]), "tta changes no score"
            return
        if all_differ([run.weights for run in runs]):
            break
    else:
        pytest.fail(
            f"{name} reaches no training: its values {', '.join(map(str, values))} leave the same "
            "weights, whatever else of its mapping is chosen"
        )
    if name == "views":
        assert [run.views for run in runs] == [frozenset(draft.views) for draft in pair]
    if name == "num_epochs":
        assert [run.num_epochs for run in runs] == [draft.num_epochs for draft in pair]


def architecture(recipe: Recipe) -> tuple[str, str, str]:
    """Return name, tag and shapes of what is built of `recipe`'s backbone, without memory."""
    with torch.device("meta"):
        model = recipe.build_model()
    reader: Any = next(r for r in model.readers.values() if hasattr(r, "backbone"))
    cfg = reader.backbone.pretrained_cfg
    shapes = [(name, tuple(tensor.shape)) for name, tensor in model.state_dict().items()]
    return cfg["architecture"], cfg.get("tag", ""), str(shapes)
