"""What training takes of a device's memory, before any of it is taken; and what was met there.

Where running out of memory kills, and where a limit was asked for, a pass is counted once for each
model, size and device: on a GPU by doing it, elsewhere on tensors without contents, whose bytes are
counted as they are made and freed. What the optimizer and an average keep is added. Elsewhere
nothing is counted, which takes longer than to run out; what fitted then is kept for equal trials.
"""

import weakref
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from workbench.data.measured import Measured
from workbench.errors import WorkbenchError
from workbench.media.view import View
from workbench.parts.model import MediaModel
from workbench.parts.weights import RANDOM
from workbench.trial.device import (
    called,
    capabilities,
    forget_peak,
    give_back,
    hold_to,
    is_cuda,
    memory_of,
    peak_bytes,
    taken_bytes,
)
from workbench.trial.precision import logits_of
from workbench.trial.recipe import Recipe
from workbench.values import Frozen

MARGIN = {"cuda": 1.15, "cpu": 1.5}
"""What allocators and kernels take beyond the tensors that are counted. A worker on a CPU keeps
freed blocks of many sizes: CaFormer-S36 at batch 32 took 1.47 times what was counted."""

DONE_SAMPLES = 8
"""Most samples of a step that is done on a GPU only to be counted."""

SCORED_SAMPLES = 256
"""Most samples that a GPU scores at once, if a batch has fewer: few leave it waiting. A CPU gains
nothing: ResNet-18 at 224 px took 20 ms a picture at 8 at once, 24 at 32 and 33 at 128."""

SCORED_FOR_TRAINED = 4
"""Samples that are scored at once for each one that is trained, where nothing is counted: a pass
without gradient keeps few layers at a time. Running out then halves them."""

PROCESS_BYTES = 600 * 2**20
"""About what a process takes of a GPU besides tensors."""

BFLOAT16_SHARE = 0.8
"""Of the bytes that a sample takes in float32, at most; measured 0.51 to 0.75 for 12 backbones."""

CPU_SHARE = 0.75
"""Of a machine's memory that its trials may take together."""


class TooLargeError(WorkbenchError):
    """The model cannot be trained in the memory that there is."""


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


class Plan(Frozen):
    """How a batch goes through the model."""

    micro_batch: int | None = None
    """Samples that go at once; their gradients add up to those of the batch. None: the batch."""

    checkpointed: bool = False
    """Whether activations are computed twice instead of kept (Chen et al. 2016,
    arXiv:1604.06174)."""

    estimated_bytes: int | None = None
    """What a step was counted to take; None if nothing was counted."""

    least: int = 2
    """See `Need.least`; two where it was not counted, which suits every model."""

    scored: int | None = None
    """Samples that are scored at once; None: as many as go at once in training."""

    met: bool = False
    """Whether memory ran out on the way to this plan."""

    def trained_at_once(self, batch_size: int) -> int:
        """Return how many samples of a batch go at once."""
        return min(batch_size, self.micro_batch or batch_size)

    def scored_at_once(self, batch_size: int) -> int:
        """Return how many samples are scored at once where batches of `batch_size` are trained."""
        return self.scored or self.trained_at_once(batch_size)

    def num_parts(self, num_samples: int) -> int:
        """Return how many parts a batch of `num_samples` goes in; none is smaller than `least`."""
        if self.micro_batch is None:
            return 1
        return max(1, min(-(-num_samples // self.micro_batch), num_samples // self.least))

    def halved(self, batch_size: int) -> "Plan | None":
        """Return the plan after this one ran out of memory; None if there is nothing smaller."""
        now = self.trained_at_once(batch_size)
        if now <= self.least:
            return None
        smaller = max(self.least, now // 2)
        scored = None if self.scored is None else min(self.scored, SCORED_FOR_TRAINED * smaller)
        return self.model_copy(
            update={
                "micro_batch": smaller,
                "estimated_bytes": None,
                "scored": scored,
                "met": True,
            }
        )

    def scoring_less(self, batch_size: int, num_samples: int) -> "Plan | None":
        """Return the plan after scoring `num_samples` ran out of memory; None if one alone did."""
        now = min(self.scored_at_once(batch_size), num_samples)
        return None if now <= 1 else self.model_copy(update={"scored": now // 2, "met": True})


WHOLE = Plan()


def plan(
    recipe: Recipe, *, num_samples: int, device: str, limit_bytes: int, cache: Path | None
) -> Plan:
    """Return how the recipe's batches go through its model within `limit_bytes`.

    The whole batch if it fits; else in parts; else in parts with activations computed twice, where
    timm offers it for this backbone.

    Args:
        recipe: What is trained.
        num_samples: Samples that there are to train on; no batch is larger.
        device: A torch device.
        limit_bytes: Memory that it may take there.
        cache: Folder in which counts are kept for the next trial; None keeps none.

    Raises:
        TooLargeError: not even the smallest part fits; says by how much.
    """
    # A last batch of one joins the one before; a sample blended with itself joins its batch.
    batch = min(recipe.training.batch_size + 1, num_samples)
    batch *= 2 if recipe.training.augment.pictures.self_blend > 0 else 1
    needs = []
    for checkpointed in (False, True):
        if checkpointed and not _can_checkpoint(recipe):
            break
        need = _counted(recipe, device, checkpointed, batch, cache)
        needs.append(need)
        kept = 3 * batch * _input_bytes(recipe)  # as it is, changed and mixed
        kept += int(_state_copies(recipe) * need.trained)
        kept += need.weights if recipe.training.transfer.ema_decay else 0
        room = limit_bytes - need.fixed - kept
        most = batch if need.sample <= 0 else room // need.sample
        if most >= need.least:
            whole = most >= batch
            most = min(most, batch)
            return Plan(
                micro_batch=None if whole else most,
                checkpointed=checkpointed,
                estimated_bytes=need.of(most) + kept,
                least=need.least,
                scored=_scored(recipe, need, most),
            )
    least = min(need.of(need.least) for need in needs) + kept
    raise TooLargeError(
        f"too little memory: {recipe.model.backbone_label} at {recipe.model.image_px} px takes "
        f"about {_size(least)} "
        f"to train by "
        f"{'one sample' if needs[-1].least == 1 else 'two samples'} at a time, "
        f"{_size(least - limit_bytes)} more than the {_size(limit_bytes)} that a trial may take on "
        f"{device}"
    )


def to_count(device: str, *, asked: int | None, share: float) -> int | None:
    """Return the bytes within which a trial's memory is counted first; None where it is met.

    A GPU is held to them either way. See `limit`.
    """
    most = limit(device, asked=asked, share=share)
    return most if asked is not None or capabilities(device).counts_memory else None


def limit(device: str, *, asked: int | None, share: float) -> int:
    """Return the bytes that one trial may take on `device`, and hold a GPU to them.

    Args:
        device: A torch device.
        asked: What the user allows; None for all there is.
        share: Of the device, where trials run side by side on it.
    """
    free, total = memory_of(device)
    if not is_cuda(device):
        return asked or int(CPU_SHARE * share * total)
    mine = int(share * total)
    hold_to(device, asked or (mine if share == 1 else max(mine - PROCESS_BYTES, mine // 2)))
    return min(asked or mine, free)


def first_plan(recipe: Recipe, *, counts_memory: bool) -> Plan:
    """Return how batches go before anything is known of their memory."""
    if counts_memory:
        return WHOLE
    scored = min(SCORED_SAMPLES, SCORED_FOR_TRAINED * recipe.training.batch_size)
    return Plan(scored=max(recipe.training.batch_size, scored))


class Fitted:
    """What fitted on this device after memory ran out, for trials of equal shapes.

    Args:
        recipe: What is trained.
        device: A torch device.
        num_samples: Samples that there are to train on.
        memory_bytes: What the trial may take, if that was said.
        share: Of the device, where trials run side by side on it.
        cache: Folder that keeps it; None keeps nothing.
    """

    def __init__(
        self,
        recipe: Recipe,
        *,
        device: str,
        num_samples: int,
        memory_bytes: int | None,
        share: float,
        cache: Path | None,
    ) -> None:
        self._measured = Measured(cache, "fitted")
        self._about = {
            **recipe.model.cost_key,
            "frozen": recipe.training.frozen,
            "precision": recipe.training.precision,
            "batch": min(recipe.training.batch_size, num_samples),
            "blends": recipe.training.augment.pictures.self_blend > 0,
            "copies": round(_state_copies(recipe)) + bool(recipe.training.transfer.ema_decay),
            "device": called(device),
            "share": share,
            "memory": memory_bytes,
            "torch": torch.__version__,
        }

    def known(self, plan: Plan) -> Plan:
        """Return `plan` with the sizes that fitted, if it is known that others do not."""
        return plan.model_copy(update=self._measured.get(self._about) or {})

    def keep(self, plan: Plan) -> None:
        """Keep the sizes of `plan` for equal trials, if memory ran out on the way to it."""
        if plan.met:
            sizes = {"micro_batch", "checkpointed", "least", "scored"}
            self._measured.keep(self._about, plan.model_dump(include=sizes))


def after_running_out(plan: Plan, recipe: Recipe) -> Plan | None:
    """Return the plan to go on with after training by `plan` ran out of memory; None if none is.

    Half as many samples at once, down to the fewest that the model can learn from; then those with
    activations computed twice.
    """
    if (smaller := plan.halved(recipe.training.batch_size)) is not None:
        return smaller
    if plan.least > 1 and least_samples(recipe) == 1:
        return plan.model_copy(update={"least": 1}).halved(recipe.training.batch_size)
    if plan.checkpointed or not _can_checkpoint(recipe):
        return None
    return plan.model_copy(update={"checkpointed": True, "estimated_bytes": None, "met": True})


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
            model(model.example_inputs(1, "meta"))
        except ValueError as error:
            if not is_of_one_value(error):
                raise
            return 2
    return 1


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


def _can_checkpoint(recipe: Recipe) -> bool:
    with torch.device("meta"):
        return recipe.build_model().checkpoint_activations()


def _counted(
    recipe: Recipe, device: str, checkpointed: bool, batch: int, cache: Path | None
) -> Need:
    """Return the need of a recipe's steps, from the cache if it was counted before."""
    cuda = is_cuda(device)
    batch = max(64, 1 << (batch - 1).bit_length())  # one count for many sizes
    about = {
        **recipe.model.cost_key,
        "frozen": recipe.training.frozen,
        "precision": recipe.training.precision,
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
        few = _peak(recipe, device, checkpointed, 1)
    except ValueError as error:
        if not is_of_one_value(error):
            raise
        least, few = 2, _peak(recipe, device, checkpointed, 2)
    # A batch costs nothing to count without doing it, and too much to do.
    cuda = is_cuda(device)
    many = max(2 * least, min(batch, DONE_SAMPLES) if cuda else batch)
    sample = max(0, _peak(recipe, device, checkpointed, many) - few) // (many - least)
    margin = MARGIN["cuda" if cuda else "cpu"]
    fixed = max(0, few - least * sample)
    weights = sum(4 * tensor.numel() for tensor in model.state_dict().values())
    scored = 0
    if cuda:
        one, more = (_peak(recipe, device, False, n, grad=False) for n in (1, DONE_SAMPLES))
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


def _peak(
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
            _pass(recipe, device, checkpointed, num_samples, grad)
            return (peak_bytes(device) or 0) - before
        except torch.OutOfMemoryError:
            pass  # too much for the device: counted instead, to say by how much
    with torch.device("meta"), _Meter() as meter:
        _pass(recipe, "meta", checkpointed, num_samples, grad)
    return meter.peak


def _pass(recipe: Recipe, device: str, checkpointed: bool, num_samples: int, grad: bool) -> None:
    model = recipe.build_model().place(device)
    if not grad:
        with torch.inference_mode():
            model.eval()(model.example_inputs(num_samples, device))
        return
    if checkpointed:
        model.checkpoint_activations()
    # On tensors without contents everything is float32.
    precision = "float32" if device == "meta" else recipe.training.precision
    odds = logits_of(model, model.example_inputs(num_samples, device), precision)[:, 1]
    F.softplus(odds).mean().backward()


def _scored(recipe: Recipe, need: Need, at_once: int) -> int | None:
    """Return how many samples can be scored at once in what a step of `at_once` takes."""
    if not need.scored:
        return None
    inputs = 3 * _input_bytes(recipe)
    fit = at_once * (need.sample + inputs) // (need.scored + inputs)
    return max(at_once, min(SCORED_SAMPLES, fit))


def _state_copies(recipe: Recipe) -> float:
    """Return how many numbers the optimizer keeps for each one that learns."""
    weight = torch.nn.Parameter(torch.zeros(8, 8))
    weight.grad = torch.zeros_like(weight)
    optimizer = recipe.training.optimizer.build([weight])
    optimizer.step()
    kept = (value for state in optimizer.state.values() for value in state.values())
    return sum(v.numel() for v in kept if isinstance(v, Tensor) and v.dim()) / weight.numel()


def _input_bytes(recipe: Recipe) -> int:
    """Return the bytes of one sample as the model is given it."""
    total = 0
    for view in recipe.model.views.values():
        if len(view.shape) == 1:
            total += 4 * view.shape[0]
        else:
            frames, _, _, channels = view.shape
            total += 4 * frames * channels * recipe.model.image_px**2
    return total


class _Meter(TorchDispatchMode):
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


def _size(num_bytes: int) -> str:
    return f"{num_bytes / 2**30:.1f} GiB" if num_bytes >= 2**30 else f"{num_bytes / 2**20:.0f} MiB"
