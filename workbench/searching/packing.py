"""How many trials suit one device side by side: measured once, by steps that train a recipe.

One worker of the search trains, then two, and so on, each count for a moment, until one more does
not help: a search has its number within `BUDGET_S`.
"""

import time
from collections.abc import Iterable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path

import torch

from workbench.console import say
from workbench.data.measured import Measured
from workbench.errors import ConfigError
from workbench.fence import num_cores
from workbench.searching.costs import epoch_work
from workbench.searching.devices import Seats
from workbench.searching.pool import WorkerPool
from workbench.trial.device import called, is_cuda
from workbench.trial.memory_count import cost_key, learned_key
from workbench.trial.recipe import Recipe
from workbench.trial.side_by_side import Ask, StepProbe
from workbench.values import Frozen

COUNTS = (1, 2, 3, 4, 6, 8)
"""How many side by side are tried on a GPU, in turn. More than eight were never worth their memory
where it was measured: by then a device waits for the host."""

LEAST_SPEEDUP = 1.1
"""More side by side must do so many times the images of the best before."""

BUDGET_S = 20.0
"""No count is tried after so long: what was found by then is taken."""

SETTLE_S = 0.2
"""Before a count is measured, for the newcomer to fall in."""

WINDOW_S = {"cuda": 1.0, "cpu": 2.0}

ANSWER_S = 120.0
"""A process that says nothing for so long hangs."""


class Tried(Frozen):
    """So many side by side, and what they did."""

    count: int
    images_per_s: float | None
    """All together; None if they do not fit."""

    why: str = ""
    """They do not."""


class SeatsPerDevice(Frozen):
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
            f"{tried.count}: {done[tried.count]:.1f} images/s"
            if tried.count in done
            else f"{tried.count}: does not fit"
            for tried in self.table
        ]
        trials = "1 trial at a time" if self.count == 1 else f"{self.count} trials side by side"
        return f"--jobs auto: {trials} on {self.device}{gain} ({', '.join(rows)})"


def pack_seats(
    recipes: Iterable[Recipe],
    seats: Seats,
    pool: WorkerPool,
    *,
    memory_bytes: int | None,
    cache: Path,
) -> Seats:
    """Return a seat for each of as many trials as each device is good for.

    That is measured for the recipe with the most work, since the others fit where it does.

    Args:
        recipes: Some that may be drawn.
        seats: Those of the devices to use.
        pool: As many workers as `most_side_by_side` says, which have nothing to do yet.
        memory_bytes: What the user lets one trial take; None for its share.
        cache: Folder in which the measurement is kept.
    """
    packing = pack(heaviest(recipes), seats.devices, pool, memory_bytes=memory_bytes, cache=cache)
    say(packing.sentence)
    return seats_for(packing, seats.devices)


def heaviest(recipes: Iterable[Recipe]) -> Recipe:
    """Return the recipe with the most work in a batch, of the largest pictures that it trains."""
    return max(recipes, key=_work)


def _work(recipe: Recipe) -> float:
    try:
        sides = [max(recipe.train_sides)]
        passes = recipe.training.batch_size
        return epoch_work(recipe, num_train=1, num_scored=0, sides=sides) * passes
    except ConfigError:
        return 0.0  # it cannot be built: a bad draw


def seats_for(packing: SeatsPerDevice, devices: Sequence[str]) -> Seats:
    """Return one set of seats on each of `devices`."""
    return Seats(tuple(dict.fromkeys(devices)) * packing.count, packing.threads)


def most_side_by_side(devices: Sequence[str]) -> int:
    """Return how many workers `pack` may ask to step side by side."""
    return _counts(devices[0], _cores(devices))[-1]


def pack(
    recipe: Recipe,
    devices: Sequence[str],
    pool: WorkerPool,
    *,
    memory_bytes: int | None,
    cache: Path,
) -> SeatsPerDevice:
    """Return how many trials like `recipe` suit each of `devices`, from the cache if measured.

    It is measured on the first one, by workers that train on a made batch.

    Args:
        recipe: What is trained; any other recipe gets the same share of the memory later.
        devices: Torch devices of one kind.
        pool: Workers that have nothing to do; as many as `most_side_by_side` says.
        memory_bytes: What the user lets one trial take; None for its share.
        cache: Folder in which the measurement is kept.
    """
    device, cores = devices[0], _cores(devices)
    name = called(device)
    about = {
        "device": name,
        "cores": cores,
        **cost_key(recipe.model),
        "batch_size": recipe.training.batch_size,
        **learned_key(recipe),
        "precision": recipe.training.precision,
        "memory": memory_bytes,
        "torch": torch.__version__,
    }
    packings = Measured(cache, "packing")
    if (measured := packings.get(about)) is not None:
        return SeatsPerDevice(**measured)
    probe = StepProbe(recipe.model_dump_json(), device, memory_bytes, cache)
    table = _measure(probe, pool, cores)
    count = _best(table).count
    found = SeatsPerDevice(
        device=name, count=count, threads=max(1, cores // count), table=tuple(table)
    )
    packings.keep(about, found.model_dump())
    return found


def _measure(probe: StepProbe, pool: WorkerPool, cores: int) -> list[Tried]:
    """Try more and more side by side, until that does not help any more or the time is up."""
    began = time.monotonic()
    table: list[Tried] = []
    with pool.lent() as bench:
        for connection in bench:
            _tell(connection, probe)
        for count in _counts(probe.device, cores):
            table.append(
                _side_by_side(bench, count, threads=max(1, cores // count), device=probe.device)
            )
            if _best(table) is not table[-1] or table[-1].images_per_s is None:
                break
            if time.monotonic() - began > BUDGET_S:
                break
        for connection in bench:
            _tell(connection, Ask("stop", 1, cores))
    return table


def _cores(devices: Sequence[str]) -> int:
    """Return the CPU cores for each of `devices`."""
    return num_cores() // len(set(devices))


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
        if (tried.images_per_s or 0.0) >= LEAST_SPEEDUP * (best.images_per_s or 0.0):
            best = tried
    return best


def _side_by_side(bench: Sequence[Connection], count: int, *, threads: int, device: str) -> Tried:
    """Return what the first `count` workers do; those of the count before are at it already."""
    among = bench[:count]
    said: list[float | str] = []
    for connection in among:
        # One after another: where the memory ends, it is the newcomer that has too little.
        said.append(_asked(connection, Ask("warm up", count, threads)))
        if isinstance(said[-1], str):
            return Tried(count=count, images_per_s=None, why=said[-1])
    time.sleep(SETTLE_S)
    for connection in among:
        said.append(_asked(connection, Ask("mark", count, threads)))
    time.sleep(WINDOW_S[torch.device(device).type])
    for connection in among:
        _tell(connection, Ask("say", count, threads))
    rates = [_hear(connection) for connection in among]
    if whys := [word for word in (*said, *rates) if isinstance(word, str)]:
        return Tried(count=count, images_per_s=None, why=whys[0])
    return Tried(count=count, images_per_s=sum(map(float, rates)))


def _asked(connection: Connection, ask: Ask) -> float | str:
    _tell(connection, ask)
    return _hear(connection)


def _tell(connection: Connection, message: StepProbe | Ask) -> None:
    try:
        connection.send(message)
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
