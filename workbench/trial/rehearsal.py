"""One training pass that changes nothing: to see whether it can be done, and what it costs."""

import time

from torch import nn

from workbench.media.declared import modalities_of
from workbench.parts.example_inputs import example_inputs
from workbench.parts.model import MediaModel
from workbench.parts.train_size import read_at, resized
from workbench.trial.device import random_state, set_random_state, wait_for
from workbench.trial.memory import Plan
from workbench.trial.memory_count import is_out_of_memory
from workbench.trial.precision import logits_of
from workbench.trial.ranks import largest_share
from workbench.trial.recipe import Recipe
from workbench.trial.stepping import buffers_kept


def at_once(recipe: Recipe, plan: Plan, num_samples: int, num_ranks: int = 1) -> int:
    """Return how many samples of a whole batch go through the model of a rank at once."""
    batch = min(recipe.training.batch_size, num_samples)
    return -(-largest_share(batch, num_ranks) // plan.num_parts(batch, num_ranks))


def rehearse(
    passes: nn.Module, model: MediaModel, recipe: Recipe, samples_at_once: int
) -> tuple[float, str]:
    """Do one pass there and back that changes neither the model nor the random numbers.

    Args:
        passes: What is called.
        model: Whose weights it has.
        recipe: What is trained.
        samples_at_once: Samples of the pass.

    Returns:
        The seconds it took, and why it could not be done; empty if it was.

    Raises:
        RuntimeError: memory ran out.
    """
    device = next(model.parameters()).device
    began, why = time.monotonic(), ""
    state = random_state(device)
    side = max(recipe.train_sides)
    examples = example_inputs(model.views, samples_at_once, device)
    inputs = resized(examples, modalities_of(model.views), side)
    try:
        with buffers_kept(model), read_at(model, side):
            logits_of(passes, inputs, recipe.training.precision).sum().backward()
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise
        # What compiles is large and fails in many ways; a trial needs it in none of them. A fault
        # of the model itself comes again with the first step.
        words = " ".join(str(error).split("\n\n")[0].split())
        why = f"{type(error).__name__}: {words}"
    finally:
        model.zero_grad(set_to_none=True)
        set_random_state(device, state)
    wait_for(device)
    return time.monotonic() - began, why
