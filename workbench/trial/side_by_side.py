"""Steps of a recipe on request, beside those of other processes: how many suit one device?

What is said over a worker's pipe: the study process sends a `StepProbe`, then an `Ask` at a time,
each answered with a number, or, at the end, with why it cannot be done.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from workbench.errors import WorkbenchError

if TYPE_CHECKING:
    import torch

    from workbench.parts.model import MediaModel
    from workbench.trial.recipe import Recipe

WARM_UP_STEPS = 2
LEAST_STEPS = 2
CPU_SAMPLES = 8
"""Most samples of a step on a CPU, where a whole batch of the heaviest recipe takes seconds."""


@dataclass(frozen=True)
class StepProbe:
    """What each process steps on."""

    recipe: str
    """As JSON."""

    device: str
    memory_bytes: int | None
    """What the user allows a trial of the device's memory; None for its share."""

    cache: Path
    """Folder of what is counted once."""


@dataclass(frozen=True)
class Ask:
    """What a process is told."""

    what: Literal["warm up", "mark", "say", "stop"]
    """Build the model and take the first steps, then step until more is asked; begin to count; say
    how many images a second there were since; be a worker again."""

    count: int
    """How many step side by side from now on."""

    threads: int


def step_when_asked(connection: Connection, probe: StepProbe) -> None:
    """Do what is asked until `stop`, or until it cannot be done."""
    from workbench.trial import memory_count
    from workbench.trial.device import give_back

    try:
        _answer(connection, probe)
    except WorkbenchError as error:
        connection.send(str(error))
    except RuntimeError as error:
        if not memory_count.is_out_of_memory(error):
            raise
        connection.send("out of memory")
    give_back(probe.device)


def _answer(connection: Connection, probe: StepProbe) -> None:
    import torch

    from workbench.trial.device import wait_for
    from workbench.trial.recipe import Recipe

    recipe, device = Recipe.model_validate_json(probe.recipe), torch.device(probe.device)
    most = CPU_SAMPLES if device.type == "cpu" else recipe.training.batch_size
    num_samples = min(recipe.training.batch_size, most)
    step: Callable[[], None] = _nothing
    steps, marked = 0, 0.0
    while (ask := connection.recv()).what != "stop":
        torch.set_num_threads(ask.threads)
        answer = 0.0
        match ask.what:
            case "warm up":
                if not _fits(recipe, probe, ask.count):
                    connection.send("a batch would have to go in parts")
                    return
                if step is _nothing:
                    step = _stepper(recipe, device, num_samples)
                for _ in range(WARM_UP_STEPS):
                    step()
                wait_for(device)
            case "mark":
                wait_for(device)
                steps, marked = 0, time.monotonic()
            case "say":
                while steps < LEAST_STEPS:
                    step()
                    steps += 1
                wait_for(device)
                answer = steps * num_samples / (time.monotonic() - marked)
        connection.send(answer)
        while not connection.poll():  # until more is asked: others are being measured
            step()
            steps += 1


def _nothing() -> None:
    """Wait to be told what to step on."""
    time.sleep(0.01)


def _fits(recipe: "Recipe", probe: StepProbe, count: int) -> bool:
    """Say whether a whole batch fits beside others, as far as that is counted.

    Raises:
        TooLargeError: not even one sample does.
    """
    from workbench.trial import memory

    within = memory.to_count(probe.device, asked=probe.memory_bytes, share=1 / count)
    if within is None:
        return True  # met, not counted
    plan = memory.plan(
        recipe,
        num_samples=recipe.training.batch_size,
        device=probe.device,
        limit_bytes=within - memory.PROCESS_BYTES,
        cache=probe.cache,
    )
    return count == 1 or plan.num_parts(recipe.training.batch_size) == 1


def _stepper(recipe: "Recipe", device: "torch.device", num_samples: int) -> Callable[[], None]:
    """Return a function that trains the recipe's model on one made batch, as a trial does.

    Of a probe it reads the features.
    """
    import torch

    from workbench.media.declared import PICTURED, modalities_of
    from workbench.parts.augment import change, mix
    from workbench.trial.stepping import backward

    model = recipe.build_model().place(device)
    if recipe.training.probe is not None:
        return partial(_read, model, recipe, device, num_samples)
    model.train()
    optimizer = recipe.training.optimizer.build(
        recipe.training.transfer.groups(model, recipe.training.optimizer.weight_decay)
    )
    generator = torch.Generator().manual_seed(0)
    modalities = modalities_of(recipe.model.views)
    inputs = {}
    for name, view in recipe.model.views.items():
        shape: tuple[int, ...] = view.shape
        if view.modality in PICTURED:
            shape = (shape[0], shape[3], recipe.model.image_px, recipe.model.image_px)
        inputs[name] = torch.rand(num_samples, *shape, device=device)
    targets = torch.arange(num_samples, device=device).remainder(2).float()

    def step() -> None:
        changed = change(inputs, modalities, recipe.training.augment, generator)
        mixed = mix(changed, modalities, recipe.training.augment, generator)
        optimizer.zero_grad(set_to_none=True)
        backward(
            model,
            recipe.training.loss,
            mixed.inputs,
            targets,
            num_parts=1,
            fake_share=0.5,
            precision=recipe.training.precision,
        )
        optimizer.step()

    return step


def _read(model: "MediaModel", recipe: "Recipe", device: "torch.device", num_samples: int) -> None:
    """Read the features of a made batch."""
    import torch

    from workbench.parts.example_inputs import example_inputs

    with torch.inference_mode():
        model.eval().features(example_inputs(recipe.model.views, num_samples, device))
