"""What training takes of a device's memory, before any of it is taken; and what was met there.

Where running out of memory kills, and where a limit was asked for, a pass is counted once for each
model, size and device: on a GPU by doing it, elsewhere on tensors without contents, whose bytes are
counted as they are made and freed. What the optimizer and an average keep is added. Elsewhere
nothing is counted, which takes longer than to run out; what fitted then is kept for equal trials.
"""

from pathlib import Path

import torch

from workbench.data.measured import Measured
from workbench.errors import WorkbenchError
from workbench.trial.device import (
    called,
    capabilities,
    hold_to,
    is_cuda,
    memory_of,
)
from workbench.trial.memory_count import (
    MARGIN,
    Need,
    cost_key,
    counted_need,
    input_bytes,
    learned_key,
    least_samples,
    peak_of_pass,
    state_copies,
)
from workbench.trial.ranks import largest_share
from workbench.trial.recipe import Recipe
from workbench.trial.stepping import checkpoint_activations
from workbench.values import Frozen

SCORED_SAMPLES = 256
"""Most samples that a GPU scores at once, if a batch has fewer: few leave it waiting. A CPU gains
nothing: ResNet-18 at 224 px took 20 ms a picture at 8 at once, 24 at 32 and 33 at 128."""

SCORED_FOR_TRAINED = 4
"""Samples that are scored at once for each one that is trained, where nothing is counted: a pass
without gradient keeps few layers at a time. Running out then halves them."""

PROBED_PICTURES = 32
"""Pictures of each view that a probe's backbones read at once, if there is the memory."""

FIT_BYTES = 28
"""Of each feature of each sample while a head is fitted: as they are read, and as doubles, whole
and standardised, with a copy of scikit-learn's."""

PROCESS_BYTES = 600 * 2**20
"""About what a process takes of a GPU besides tensors."""


CPU_SHARE = 0.75
"""Of a machine's memory that its trials may take together."""


class TooLargeError(WorkbenchError):
    """The model cannot be trained in the memory that there is."""


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

    def num_parts(self, num_samples: int, num_ranks: int = 1) -> int:
        """Return how many parts a batch of `num_samples` goes in, or each rank's share of it.

        None is smaller than `least`.
        """
        if self.micro_batch is None:
            return 1
        most, fewest = largest_share(num_samples, num_ranks), num_samples // num_ranks
        return max(1, min(-(-most // self.micro_batch), fewest // self.least))

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
    recipe: Recipe,
    *,
    num_samples: int,
    device: str,
    limit_bytes: int,
    cache: Path | None,
    num_ranks: int = 1,
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
        num_ranks: How many share each batch, each on a device of its own.

    Raises:
        TooLargeError: not even the smallest part fits; says by how much.
    """
    if recipe.training.probe is not None:
        return _plan_of_probe(recipe, num_samples, device, limit_bytes)
    # A last batch of one joins the one before; a sample blended with itself joins its batch.
    batch = min(recipe.training.batch_size + 1, num_samples)
    batch *= recipe.training.most_of_a_sample
    needs = []
    for checkpointed in (False, True):
        if checkpointed and not _can_checkpoint(recipe):
            break
        share = largest_share(batch, num_ranks)
        need = counted_need(recipe, device, checkpointed, share, cache)
        needs.append(need)
        kept = 3 * batch * input_bytes(recipe)  # as it is, changed and mixed
        kept += int(state_copies(recipe) * need.trained)
        kept += recipe.training.transfer.average.num_copies * need.weights
        room = limit_bytes - need.fixed - kept
        most = share if need.sample <= 0 else room // need.sample
        if most >= need.least:
            whole = most >= share
            most = min(most, share)
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


def _plan_of_probe(recipe: Recipe, num_samples: int, device: str, limit_bytes: int) -> Plan:
    """Return how many samples go through a probe's backbones at once within `limit_bytes`.

    Raises:
        TooLargeError: the features of all samples do not fit, or not even one sample does.
    """
    probe, spec = recipe.training.probe, recipe.model
    assert probe is not None
    wanted = recipe.training.sampling.subset
    share = wanted if isinstance(wanted, float) else wanted * spec.num_segments / num_samples
    taken = min(1.0, share) * num_samples
    with torch.device("meta"):
        width = sum(spec.build().widths)
    fit_bytes = int(FIT_BYTES * taken * (1 + probe.copies) * width)
    one, few = (peak_of_pass(recipe, device, False, n, grad=False) for n in (1, 4))
    margin = MARGIN["cuda" if is_cuda(device) else "cpu"]
    sample = int(margin * max(1, (few - one) // 3)) + 3 * input_bytes(recipe)
    fixed = int(margin * one)
    if not is_cuda(device) and fit_bytes > limit_bytes:  # the head is fitted on the CPU
        raise TooLargeError(
            f"too little memory: {width} features of {taken * (1 + probe.copies):.0f} samples take "
            f"about {_size(fit_bytes)} to fit a head on, and a trial may take "
            f"{_size(limit_bytes)} on {device}. Take fewer samples by `sampling.subset`"
        )
    if fixed + sample > limit_bytes:
        raise TooLargeError(
            f"too little memory: {spec.backbone_label} at {spec.image_px} px takes about "
            f"{_size(fixed + sample)} for one sample, and a trial may take {_size(limit_bytes)} on "
            f"{device}"
        )
    most = first_plan(recipe, counts_memory=True).scored_at_once(recipe.training.batch_size)
    scored = min(most, (limit_bytes - fixed) // sample)
    read = fixed + scored * sample
    return Plan(scored=scored, estimated_bytes=read if is_cuda(device) else max(read, fit_bytes))


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
    if recipe.training.probe is not None:
        frames = max(shape[0] if len(shape) > 1 else 1 for shape in recipe.model.shapes.values())
        return Plan(scored=max(1, PROBED_PICTURES // frames))
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
        num_ranks: How many share each batch, each on a device of its own.
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
        num_ranks: int = 1,
    ) -> None:
        self._measured = Measured(cache, "fitted")
        self._about = {
            **cost_key(recipe.model),
            **learned_key(recipe),
            "precision": recipe.training.precision,
            "batch": largest_share(min(recipe.training.batch_size, num_samples), num_ranks),
            "blends": recipe.training.most_of_a_sample > 1,
            "copies": round(state_copies(recipe)) + recipe.training.transfer.average.num_copies,
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


def after_running_out(plan: Plan, recipe: Recipe, num_ranks: int = 1) -> Plan | None:
    """Return the plan to go on with after training by `plan` ran out of memory; None if none is.

    Half as many samples at once, down to the fewest that the model can learn from; then those with
    activations computed twice.
    """
    if recipe.training.probe is not None:
        return None  # half as many were read at once down to one
    batch = largest_share(recipe.training.batch_size, num_ranks)
    if (smaller := plan.halved(batch)) is not None:
        return smaller
    if plan.least > 1 and least_samples(recipe) == 1:
        return plan.model_copy(update={"least": 1}).halved(batch)
    if plan.checkpointed or not _can_checkpoint(recipe):
        return None
    return plan.model_copy(update={"checkpointed": True, "estimated_bytes": None, "met": True})


def _can_checkpoint(recipe: Recipe) -> bool:
    with torch.device("meta"):
        return checkpoint_activations(recipe.build_model())


def _scored(recipe: Recipe, need: Need, at_once: int) -> int | None:
    """Return how many samples can be scored at once in what a step of `at_once` takes."""
    if not need.scored:
        return None
    inputs = 3 * input_bytes(recipe)
    fit = at_once * (need.sample + inputs) // (need.scored + inputs)
    return max(at_once, min(SCORED_SAMPLES, fit))


def _size(num_bytes: int) -> str:
    return f"{num_bytes / 2**30:.1f} GiB" if num_bytes >= 2**30 else f"{num_bytes / 2**20:.0f} MiB"
