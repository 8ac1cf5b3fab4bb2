"""How many trials suit one device side by side: measured once, by steps that train a recipe."""

import multiprocessing
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import torch

from workbench.data.measured import Measured
from workbench.errors import WorkbenchError
from workbench.parts.augment import change, mix
from workbench.processes import KEEP_MEMORY, be_a_child, environment, interrupts_held
from workbench.trial import memory
from workbench.trial.recipe import Recipe
from workbench.trial.scoring import build_model
from workbench.trial.stepping import backward
from workbench.values import Frozen

COUNTS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
"""How many side by side are tried on a GPU, in turn."""

LEAST_GAIN = 1.1
"""More side by side must do so many times the images of the best before."""

WARM_UP_STEPS, LEAST_STEPS = 3, 3
WINDOW_S = 4.0
ANSWER_S = 300.0
"""A process that says nothing for so long hangs."""

PROCESS_BYTES = 600 * 2**20
"""About what each process takes besides tensors: its libraries, or what CUDA keeps for it."""


class Tried(Frozen):
    """So many side by side, and what they did."""

    count: int
    images_per_s: float | None
    """All together; None if they do not fit."""

    why: str = ""
    """They do not."""


class Packing(Frozen):
    """How many trials run side by side on each device."""

    device: str
    """What it is, for a person."""

    count: int
    threads: int
    """CPU threads of each."""

    table: tuple[Tried, ...]
    """What was measured."""

    @property
    def sentence(self) -> str:
        """What was found and why, for the terminal."""
        done = {tried.count: tried.images_per_s for tried in self.table if tried.images_per_s}
        gain = ""
        if self.count > 1:
            gain = f", {done[self.count] / done[1]:.2f} times the images of one"
        rows = [
            f"{tried.count}: {done[tried.count]:.1f}/s"
            if tried.count in done
            else f"{tried.count}: does not fit"
            for tried in self.table
        ]
        trials = "1 trial at a time" if self.count == 1 else f"{self.count} trials side by side"
        return f"--jobs auto: {trials} on {self.device}{gain} ({', '.join(rows)})"


@dataclass(frozen=True)
class _Probe:
    """What one process steps on."""

    recipe: str
    """As JSON."""

    device: str
    threads: int
    share: float
    """Of the device."""

    memory_bytes: int | None
    cache: Path
    window_s: float


def devices_for(packing: Packing, devices: Sequence[str]) -> tuple[tuple[str, ...], int]:
    """Return a device for each worker, one set on each of `devices`, and the threads of each."""
    return tuple(dict.fromkeys(devices)) * packing.count, packing.threads


def pack(
    recipe: Recipe, devices: Sequence[str], *, memory_bytes: int | None, cache: Path
) -> Packing:
    """Return how many trials like `recipe` suit each of `devices`, from the cache if measured.

    It is measured on the first one, by processes that train on a made batch.

    Args:
        recipe: What is trained; any other recipe gets the same share of the memory later.
        devices: Torch devices of one kind.
        memory_bytes: What the user lets one trial take; None for its share.
        cache: Folder in which the measurement is kept.
    """
    distinct = list(dict.fromkeys(devices))
    device, cores = distinct[0], (os.cpu_count() or 1) // len(distinct)
    cuda = torch.device(device).type == "cuda"
    name = torch.cuda.get_device_name(device) if cuda else "cpu"
    about = {
        "device": name,
        "cores": cores,
        "backbone": recipe.backbone,
        "views": [view.shape for view in recipe.views.values()],
        "image_px": recipe.image_px,
        "batch_size": recipe.batch_size,
        "frozen": recipe.frozen,
        "precision": recipe.precision,
        "memory": memory_bytes,
        "torch": torch.__version__,
    }
    packings = Measured(cache, "packing")
    if (known := packings.get(about)) is not None:
        return Packing(**known)
    table = _measure(recipe, device, cores, memory_bytes, cache)
    count = _best(table).count
    found = Packing(device=name, count=count, threads=max(1, cores // count), table=tuple(table))
    packings.keep(about, found.model_dump())
    return found


def _measure(
    recipe: Recipe, device: str, cores: int, memory_bytes: int | None, cache: Path
) -> list[Tried]:
    """Try more and more side by side, until that does not help any more."""
    # A count that does not divide a CPU's cores would leave some of them without work.
    whole = [count for count in range(1, cores + 1) if cores % count == 0]
    counts = whole if device == "cpu" else [count for count in COUNTS if count <= cores]
    table: list[Tried] = []
    for count in counts or [1]:
        probe = _Probe(
            recipe=recipe.model_dump_json(),
            device=device,
            threads=max(1, cores // count),
            share=1 / count,
            memory_bytes=memory_bytes,
            cache=cache,
            window_s=WINDOW_S,
        )
        table.append(_side_by_side(probe, count))
        if _best(table) is not table[-1] or table[-1].images_per_s is None:
            break
    return table


def _best(table: Sequence[Tried]) -> Tried:
    """Return the fewest that no later ones beat by enough."""
    best = table[0]
    for tried in table[1:]:
        if (tried.images_per_s or 0.0) >= LEAST_GAIN * (best.images_per_s or 0.0):
            best = tried
    return best


def _side_by_side(probe: _Probe, count: int) -> Tried:
    """Return what `count` processes do, all of them at it for as long as one is measured."""
    context = multiprocessing.get_context("spawn")  # as workers are started, for the same reasons
    workers = []
    try:
        for _ in range(count):
            ours, theirs = context.Pipe()
            process = context.Process(target=_work, args=(theirs, probe), name="workbench-probe")
            with environment(KEEP_MEMORY), interrupts_held():
                process.start()
            theirs.close()
            workers.append((process, ours))
        heard: list[float | str] = []
        for asks in (False, True):
            if asks:
                for _, connection in workers:
                    connection.send("go")
            heard = [_hear(connection) for _, connection in workers]
            if whys := [said for said in heard if isinstance(said, str)]:
                return Tried(count=count, images_per_s=None, why=whys[0])
        return Tried(count=count, images_per_s=sum(map(float, heard)))
    finally:
        for process, connection in workers:
            process.kill()
            process.join()
            connection.close()


def _hear(connection: Connection) -> float | str:
    """Return the number that a process says, or why it says none."""
    if not connection.poll(ANSWER_S):
        return f"nothing happened for {ANSWER_S:.0f} s"
    try:
        said: float | str = connection.recv()
    except (EOFError, OSError):
        return "the process died"
    return said


def _work(connection: Connection, probe: _Probe) -> None:
    """Say 0 when ready, wait, say how many images a second were trained; or why none can be."""
    be_a_child()
    try:
        _train(connection, probe)
    except WorkbenchError as error:
        connection.send(str(error))
    except BrokenPipeError:
        return  # nobody wants to know any more
    except RuntimeError as error:
        if not memory.is_out_of_memory(error):
            raise
        connection.send("out of memory")


def _train(connection: Connection, probe: _Probe) -> None:
    recipe, device = Recipe.model_validate_json(probe.recipe), torch.device(probe.device)
    torch.set_num_threads(probe.threads)
    limit = memory.limit(probe.device, asked=probe.memory_bytes, share=probe.share)
    plan = memory.plan(
        recipe,
        num_samples=recipe.batch_size,
        device=probe.device,
        limit_bytes=limit - PROCESS_BYTES,
        cache=probe.cache,
    )
    if probe.share < 1 and plan.num_parts(recipe.batch_size) > 1:
        connection.send("a batch would have to go in parts")
        return
    step = _stepper(recipe, device, plan.num_parts(recipe.batch_size))
    for _ in range(WARM_UP_STEPS):
        step()
    _wait_for(device)
    connection.send(0.0)
    connection.recv()
    began, steps = time.monotonic(), 0
    while steps < LEAST_STEPS or time.monotonic() - began < probe.window_s:
        step()
        steps += 1
    _wait_for(device)
    connection.send(steps * recipe.batch_size / (time.monotonic() - began))
    while not connection.poll():  # until the end: others are still being measured
        step()


def _stepper(recipe: Recipe, device: torch.device, num_parts: int) -> Callable[[], None]:
    """Return a function that trains the recipe's model on one made batch, as a trial does."""
    model = build_model(recipe, load=False).to(device).train()
    optimizer = recipe.optimizer.build(recipe.transfer.groups(model, recipe.optimizer.weight_decay))
    generator = torch.Generator().manual_seed(0)
    inputs = {}
    for name, view in recipe.views.items():
        shape: tuple[int, ...] = view.shape
        if len(shape) == 4:
            shape = (shape[0], shape[3], recipe.image_px, recipe.image_px)
        inputs[name] = torch.rand(recipe.batch_size, *shape, device=device)
    targets = torch.arange(recipe.batch_size, device=device).remainder(2).float()

    def step() -> None:
        changed = mix(change(inputs, recipe.augment, generator), recipe.augment, generator)
        optimizer.zero_grad(set_to_none=True)
        backward(
            model,
            recipe.loss,
            changed.inputs,
            targets,
            num_parts=num_parts,
            fake_share=0.5,
            precision=recipe.precision,
        )
        optimizer.step()

    return step


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
