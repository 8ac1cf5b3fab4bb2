"""How many trials suit one device side by side: measured once, by steps that train a recipe.

Processes start together, as their imports take longest. Then one trains, then two, and so on, each
count for a moment, until one more does not help: a search has its number within `BUDGET_S`.
"""

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Literal, NamedTuple

import torch

from workbench.data.measured import Measured
from workbench.errors import WorkbenchError
from workbench.parts.augment import change, mix
from workbench.processes import KEEP_MEMORY, be_a_child, environment, interrupts_held
from workbench.trial import memory
from workbench.trial.device import called, is_cuda, wait_for
from workbench.trial.recipe import Recipe
from workbench.trial.scoring import build_model
from workbench.trial.stepping import backward
from workbench.values import Frozen

COUNTS = (1, 2, 3, 4, 6, 8)
"""How many side by side are tried on a GPU, in turn. More than eight were never worth their memory
where it was measured: by then a device waits for the host."""

LEAST_GAIN = 1.1
"""More side by side must do so many times the images of the best before."""

BUDGET_S = 20.0
"""No count is tried after so long: what was found by then is taken."""

WARM_UP_STEPS = 2
LEAST_STEPS = 2
SETTLE_S = 0.2
"""Before a count is measured, for the newcomer to fall in."""

WINDOW_S = {"cuda": 1.0, "cpu": 2.0}
CPU_SAMPLES = 8
"""Most samples of a step on a CPU, where a whole batch of the heaviest recipe takes seconds."""

ANSWER_S = 120.0
"""A process that says nothing for so long hangs."""


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
    """What each process steps on."""

    recipe: str
    """As JSON."""

    device: str
    memory_bytes: int | None
    cache: Path


class _Ask(NamedTuple):
    """What a process is told."""

    what: Literal["warm up", "mark", "say"]
    """Build the model and take the first steps, then step until the end; begin to count; say how
    many images a second there were since."""

    count: int
    """How many step side by side from now on."""

    threads: int


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
    name = called(device)
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
    """Try more and more side by side, until that does not help any more or the time is up."""
    began = time.monotonic()
    probe = _Probe(recipe.model_dump_json(), device, memory_bytes, cache)
    table: list[Tried] = []
    counts = _counts(device, cores)
    with _started(probe, counts[-1]) as bench:
        for count in counts:
            table.append(_side_by_side(bench, count, threads=max(1, cores // count), device=device))
            if _best(table) is not table[-1] or table[-1].images_per_s is None:
                break
            if time.monotonic() - began > BUDGET_S:
                break
    return table


def _counts(device: str, cores: int) -> list[int]:
    """Return how many side by side are to be tried."""
    if is_cuda(device):
        return [count for count in COUNTS if count <= max(1, cores)]
    # A count that does not divide a CPU's cores would leave some of them without work.
    return [count for count in range(1, max(COUNTS) + 1) if count <= cores and cores % count == 0]


def _best(table: Sequence[Tried]) -> Tried:
    """Return the fewest that no later ones beat by enough."""
    best = table[0]
    for tried in table[1:]:
        if (tried.images_per_s or 0.0) >= LEAST_GAIN * (best.images_per_s or 0.0):
            best = tried
    return best


@contextmanager
def _started(probe: _Probe, number: int) -> Iterator[list[Connection]]:
    """Start `number` processes that wait to be told; end them after the body."""
    context = multiprocessing.get_context("spawn")  # as workers are started, for the same reasons
    processes: list[BaseProcess] = []
    bench: list[Connection] = []
    try:
        for _ in range(number):
            ours, theirs = context.Pipe()
            process = context.Process(target=_work, args=(theirs, probe), name="workbench-probe")
            with environment(KEEP_MEMORY), interrupts_held():
                process.start()
            theirs.close()
            processes.append(process)
            bench.append(ours)
        yield bench
    finally:
        for process, connection in zip(processes, bench, strict=True):
            process.kill()
            process.join()
            connection.close()


def _side_by_side(bench: Sequence[Connection], count: int, *, threads: int, device: str) -> Tried:
    """Return what the first `count` processes do; those of the count before are at it already."""
    among = bench[:count]
    said: list[float | str] = []
    for connection in among:
        # One after another: where the memory ends, it is the newcomer that has too little.
        said.append(_asked(connection, _Ask("warm up", count, threads)))
        if isinstance(said[-1], str):
            return Tried(count=count, images_per_s=None, why=said[-1])
    time.sleep(SETTLE_S)
    for connection in among:
        said.append(_asked(connection, _Ask("mark", count, threads)))
    time.sleep(WINDOW_S[torch.device(device).type])
    for connection in among:
        _tell(connection, _Ask("say", count, threads))
    rates = [_hear(connection) for connection in among]
    if whys := [word for word in (*said, *rates) if isinstance(word, str)]:
        return Tried(count=count, images_per_s=None, why=whys[0])
    return Tried(count=count, images_per_s=sum(map(float, rates)))


def _asked(connection: Connection, ask: _Ask) -> float | str:
    _tell(connection, ask)
    return _hear(connection)


def _tell(connection: Connection, ask: _Ask) -> None:
    try:
        connection.send(ask)
    except BrokenPipeError:
        return  # it died, which is heard next


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
    """Do what is asked, each answered with a number; or with why it cannot be done, at the end."""
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
    most = CPU_SAMPLES if device.type == "cpu" else recipe.batch_size
    num_samples = min(recipe.batch_size, most)
    step: Callable[[], None] = _nothing
    steps, marked = 0, 0.0
    while True:
        ask: _Ask = connection.recv()
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
        while not connection.poll():  # until it is told more: others are being measured
            step()
            steps += 1


def _nothing() -> None:
    """Wait to be told what to step on."""
    time.sleep(0.01)


def _fits(recipe: Recipe, probe: _Probe, count: int) -> bool:
    """Say whether a whole batch fits beside others, as far as that is counted.

    Raises:
        TooLargeError: not even one sample does.
    """
    within = memory.to_count(probe.device, asked=probe.memory_bytes, share=1 / count)
    if within is None:
        return True  # met, not counted
    plan = memory.plan(
        recipe,
        num_samples=recipe.batch_size,
        device=probe.device,
        limit_bytes=within - memory.PROCESS_BYTES,
        cache=probe.cache,
    )
    return count == 1 or plan.num_parts(recipe.batch_size) == 1


def _stepper(recipe: Recipe, device: torch.device, num_samples: int) -> Callable[[], None]:
    """Return a function that trains the recipe's model on one made batch, as a trial does."""
    model = build_model(recipe, load=False).place(device)
    model.train()
    optimizer = recipe.optimizer.build(recipe.transfer.groups(model, recipe.optimizer.weight_decay))
    generator = torch.Generator().manual_seed(0)
    inputs = {}
    for name, view in recipe.views.items():
        shape: tuple[int, ...] = view.shape
        if len(shape) == 4:
            shape = (shape[0], shape[3], recipe.image_px, recipe.image_px)
        inputs[name] = torch.rand(num_samples, *shape, device=device)
    targets = torch.arange(num_samples, device=device).remainder(2).float()

    def step() -> None:
        changed = mix(change(inputs, recipe.augment, generator), recipe.augment, generator)
        optimizer.zero_grad(set_to_none=True)
        backward(
            model,
            recipe.loss,
            changed.inputs,
            targets,
            num_parts=1,
            fake_share=0.5,
            precision=recipe.precision,
        )
        optimizer.step()

    return step
