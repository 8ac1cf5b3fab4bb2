"""What a pass of a recipe's model takes of memory, counted before it is done.

And how running out shows, and that a batch is too small.
"""

import weakref
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from workbench.data.measured import Measured
from workbench.errors import WorkbenchError
from workbench.media.declared import modalities_of
from workbench.media.view import View
from workbench.parts.example_inputs import example_inputs
from workbench.parts.model import MediaModel
from workbench.parts.model_spec import ModelSpec
from workbench.parts.plugins import own_versions
from workbench.parts.suited import about
from workbench.parts.train_size import read_at, resized
from workbench.parts.weights import RANDOM, published
from workbench.trial.device import (
    called,
    forget_peak,
    give_back,
    is_cuda,
    peak_bytes,
    taken_bytes,
)
from workbench.trial.precision import logits_of
from workbench.trial.recipe import Recipe
from workbench.trial.stepping import checkpoint_activations
from workbench.values import Frozen

MARGIN = {"cuda": 1.15, "cpu": 1.5}
"""What allocators and kernels take beyond the tensors that are counted. A worker on a CPU keeps
freed blocks of many sizes: CaFormer-S36 at batch 32 took 1.47 times what was counted."""


DONE_SAMPLES = 8
"""Most samples of a step that is done on a GPU only to be counted."""


BFLOAT16_SHARE = 0.8
"""Of the bytes that a sample takes in float32, at most; measured 0.51 to 0.75 for 12 backbones."""


class Need(Frozen):
    """Bytes of one forward and backward pass: a part always there, one for each sample at once."""

    fixed: int
    sample: int
    least: int
    """Fewest samples that the model can learn from at once: a batch norm may need two."""

    weights: int
    """Of `fixed`, those of the model."""

    trained: int
    """Of these, those that learn."""

    scored: int
    """Bytes of one more sample in a pass without gradient; 0 if that was not counted."""

    def of(self, num_samples: int) -> int:
        """Return the bytes of a pass of `num_samples`."""
        return self.fixed + num_samples * self.sample


def least_samples(recipe: Recipe) -> int:
    """Return the fewest samples that the recipe's model can learn from: a norm may need two."""
    model = recipe.model
    backbones, views = tuple(model.backbone_of.items()), tuple(model.views.items())
    return _least(backbones, views, model.image_px, recipe.training.frozen)


@lru_cache(maxsize=256)
def _least(
    backbones: tuple[tuple[str, str], ...],
    views: tuple[tuple[str, View], ...],
    image_px: int,
    frozen: bool,
) -> int:
    with torch.device("meta"):
        model = MediaModel(
            dict(backbones), dict(views), image_px=image_px, weights=RANDOM, frozen=frozen
        )
        try:
            model(example_inputs(model.views, 1, "meta"))
        except ValueError as error:
            if not is_of_one_value(error):
                raise
            return 2
    return 1


class UntrainableError(WorkbenchError):
    """Nothing can be learnt by this recipe, whatever the device."""

    @classmethod
    def of_one_sample(cls, recipe: Recipe) -> Self:
        """Say that a step of one sample teaches the recipe's model nothing."""
        return cls(
            f"one sample at a time teaches {recipe.model.backbone_label} at "
            f"{recipe.model.image_px} px nothing: the model has a norm over the samples of a "
            f"batch, and `batch_size` is {recipe.training.batch_size}. Give it 2 or more"
        )


def check(recipe: Recipe, num_samples: int) -> None:
    """Find out before training what the first steps would fail of.

    Raises:
        UntrainableError: the recipe cannot be trained.
        ConfigError: its backbone takes no such pictures.
    """
    if set(recipe.train_sides) != {recipe.model.image_px}:
        for name in recipe.model.backbone_names:
            if published(name).fixed_input_size:
                raise UntrainableError(
                    f"{name} reads pictures of one size alone, and `train_size` asks for smaller "
                    "ones in training: leave it out, or take another backbone"
                )
        _require_readable(recipe)
    if min(recipe.training.batch_size, num_samples) == 1 and least_samples(recipe) > 1:
        raise UntrainableError.of_one_sample(recipe)


def _require_readable(recipe: Recipe) -> None:
    """Refuse a recipe whose model cannot read the smaller pictures of its training.

    It may shrink them to nothing, or join what fits together at some sizes alone. The rules have
    counted it at the size that it is scored with.
    """
    with torch.device("meta"):
        model = recipe.build_model().eval()
    for side in sorted({*recipe.train_sides} - {recipe.model.image_px}):
        error = _raised(model, side)
        # One that computes on contents tells nothing here.
        if error is not None and _raised(model, recipe.model.image_px) is None:
            said = str(error).strip().splitlines()
            raise UntrainableError(
                f"{recipe.model.backbone_label} cannot read pictures of {side} px, which "
                f"`train_size` asks for in training ({said[0] if said else type(error).__name__}): "
                "change it or leave it out, or take another backbone"
            ) from error


def _raised(model: MediaModel, side: int) -> Exception | None:
    """Return what a model raises at pictures of `side` pixels, on tensors without contents."""
    examples = example_inputs(model.views, 1, "meta")
    inputs = resized(examples, modalities_of(model.views), side)
    try:
        with torch.no_grad(), read_at(model, side):
            model(inputs)
    except Exception as error:  # noqa: BLE001 (whatever a network raises)
        return error
    return None


def is_of_one_value(error: BaseException) -> bool:
    """Say whether `error` is what torch raises where a norm is to learn from a single value."""
    return isinstance(error, ValueError) and "Expected more than 1 " in str(error)


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether `error` is what torch raises where memory ran out."""
    # What a CPU allocator, cuDNN and cuBLAS raise has no class of its own.
    said = (
        "not enough memory",
        "can't allocate memory",
        "CUDA out of memory",
        "CUDA error: out of memory",
        "ALLOC_FAILED",
        # What they say where there is no memory for a handle or a workspace of theirs.
        "CUBLAS_STATUS_NOT_INITIALIZED",
        "CUDNN_STATUS_NOT_INITIALIZED",
        "unable to find an engine",
    )
    return isinstance(error, torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and any(words in str(error) for words in said)
    )


def cost_key(spec: ModelSpec) -> dict[str, Any]:
    """Return what a model's time and memory depend on, as JSON values."""
    shapes = spec.shapes if isinstance(spec.backbone, dict) else list(spec.shapes.values())
    key = {"backbone": spec.backbone, "views": shapes, "image_px": spec.image_px}
    key |= own_versions(spec.backbone_names) | about(spec.reading)
    return {**key, "head": spec.head.model_dump()} if spec.head.is_fitted else key


def learned_key(recipe: Recipe) -> dict[str, Any]:
    """Return which weights learn, and at which size: time and memory of training depend on it."""
    key: dict[str, Any] = {"frozen": recipe.training.frozen}
    if (scope := recipe.training.transfer.scope) != "all":
        key["scope"] = scope
    if (sides := set(recipe.train_sides)) != {recipe.model.image_px}:
        key["sides"] = sorted(sides)
    return key


def counted_need(
    recipe: Recipe, device: str, checkpointed: bool, batch: int, cache: Path | None
) -> Need:
    """Return the need of a recipe's steps, from the cache if it was counted before."""
    cuda = is_cuda(device)
    batch = max(64, 1 << (batch - 1).bit_length())  # one count for many sizes
    about = {
        **cost_key(recipe.model),
        "precision": recipe.training.precision,
        **learned_key(recipe),
        "checkpointed": checkpointed,
        "batch": batch,
        "device": called(device) if cuda else "count",
        "torch": torch.__version__,
        "margin": MARGIN["cuda" if cuda else "cpu"],
    }
    counts = Measured(cache, "memory")
    if (known := counts.get(about)) is not None:
        return Need(**known)
    need = _count(recipe, device, checkpointed, batch)
    counts.keep(about, need.model_dump())
    return need


def _count(recipe: Recipe, device: str, checkpointed: bool, batch: int) -> Need:
    """Count a pass of the fewest samples and one of many: between them none takes more.

    The most bytes at any time are the largest of many lines over the number of samples, and such
    a curve lies below its chords.
    """
    with torch.device("meta"):
        model = recipe.build_model()
    least = 1
    try:
        few = peak_of_pass(recipe, device, checkpointed, 1)
    except ValueError as error:
        if not is_of_one_value(error):
            raise
        least, few = 2, peak_of_pass(recipe, device, checkpointed, 2)
    # A batch costs nothing to count without doing it, and too much to do.
    cuda = is_cuda(device)
    many = max(2 * least, min(batch, DONE_SAMPLES) if cuda else batch)
    sample = max(0, peak_of_pass(recipe, device, checkpointed, many) - few) // (many - least)
    margin = MARGIN["cuda" if cuda else "cpu"]
    fixed = max(0, few - least * sample)
    weights = sum(4 * tensor.numel() for tensor in model.state_dict().values())
    scored = 0
    if cuda:
        one, more = (peak_of_pass(recipe, device, False, n, grad=False) for n in (1, DONE_SAMPLES))
        scored = max(0, more - one) // (DONE_SAMPLES - 1)
    elif recipe.training.precision == "bfloat16":
        # Tensors without contents are of float32 whatever they are computed in.
        sample, fixed = int(BFLOAT16_SHARE * sample), fixed + weights // 2
    return Need(
        fixed=int(margin * fixed),
        sample=int(margin * sample),
        least=least,
        scored=int(margin * scored),
        weights=weights,
        trained=sum(4 * p.numel() for p in model.parameters() if p.requires_grad),
    )


def peak_of_pass(
    recipe: Recipe, device: str, checkpointed: bool, num_samples: int, *, grad: bool = True
) -> int:
    """Return the most bytes that a pass of `num_samples` holds at once.

    Without `grad` it is one of scoring: forward alone, in float32.
    """
    if is_cuda(device):
        give_back(device)
        forget_peak(device)
        before = taken_bytes(device)
        try:
            run_pass(recipe, device, checkpointed, num_samples, grad)
            return (peak_bytes(device) or 0) - before
        except torch.OutOfMemoryError:
            pass  # too much for the device: counted instead, to say by how much
    with torch.device("meta"), TensorMeter() as meter:
        run_pass(recipe, "meta", checkpointed, num_samples, grad)
    return meter.peak


def run_pass(recipe: Recipe, device: str, checkpointed: bool, num_samples: int, grad: bool) -> None:
    """Do a pass: forward and backward, or, without `grad`, one of scoring."""
    model = recipe.build_model().place(device)
    if not grad:
        with torch.inference_mode():
            model.eval()(example_inputs(model.views, num_samples, device))
        return
    if checkpointed:
        checkpoint_activations(model)
    # On tensors without contents everything is float32.
    precision = "float32" if device == "meta" else recipe.training.precision
    inputs = example_inputs(model.views, num_samples, device)
    with read_at(model, max(recipe.train_sides)):
        odds = logits_of(model, inputs, precision)[:, 1]
    F.softplus(odds).mean().backward()


def state_copies(recipe: Recipe) -> float:
    """Return how many numbers a step keeps for each one that learns, besides its gradient."""
    if recipe.training.probe is not None:
        return 0.0
    weight = torch.nn.Parameter(torch.zeros(8, 8))
    weight.grad = torch.zeros_like(weight)
    optimizer = recipe.training.optimizer.build([weight])
    optimizer.step()
    kept = (value for state in optimizer.state.values() for value in state.values())
    aside = recipe.training.gradient.sam_rho > 0  # the weights that it comes back to
    count = sum(v.numel() for v in kept if isinstance(v, Tensor) and v.dim())
    return count / weight.numel() + aside


def input_bytes(recipe: Recipe) -> int:
    """Return the bytes of one sample as the model is given it."""
    total = 0
    for view in recipe.model.views.values():
        if len(view.shape) == 1:
            total += 4 * view.shape[0]
        else:
            frames, _, _, channels = view.shape
            total += 4 * frames * channels * recipe.model.image_px**2
    return total


class TensorMeter(TorchDispatchMode):
    """Counts the bytes of all tensors made while it is on, until each is freed."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak = 0
        self._now = 0
        self._sizes: dict[int, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for leaf in pytree.tree_leaves(out):
            if isinstance(leaf, Tensor):
                self._add(leaf.untyped_storage())
        return out

    def _add(self, storage: torch.UntypedStorage) -> None:
        if (key := storage._cdata) not in self._sizes:
            self._sizes[key] = storage.nbytes()
            self._now += storage.nbytes()
            self.peak = max(self.peak, self._now)
            weakref.finalize(storage, self._free, key)

    def _free(self, key: int) -> None:
        self._now -= self._sizes.pop(key)
