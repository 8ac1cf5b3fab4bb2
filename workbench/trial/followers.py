"""The further ranks of a trial: processes that its worker starts, each for a device of its own.

What goes over a pipe: a follower sends None when it is ready, and what ended it if something did;
rank 0 sends a `Turn` for each epoch. Where one follower ends, however, rank 0 ends the others, and
raises what ended the first one.
"""

import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from workbench.data.prepare import Prepared
from workbench.errors import WorkbenchError
from workbench.processes import Spawning, be_a_child, how_ended
from workbench.trial import memory
from workbench.trial.device import Capabilities
from workbench.trial.job import RankDiedError
from workbench.trial.memory import Plan
from workbench.trial.memory_count import is_out_of_memory
from workbench.trial.metrics import DivergedError
from workbench.trial.ranks import Group, LostRankError, Ranks
from workbench.trial.recipe import Recipe
from workbench.trial.result import Epoch, TrialFolder
from workbench.trial.training import Training

NOTICE_S = 10.0
"""So long after a rank was lost, its end is known."""


@dataclass(frozen=True)
class Followed:
    """A training that others train along."""

    recipe: str
    """As JSON: a plugin in it becomes one where it is read."""

    uid: str
    prepared: Prepared
    folder: Path
    """The trial's folder."""

    store: Path | None
    """Folder of local weights."""

    uses: Capabilities
    num_threads: int
    memory_bytes: int | None
    """What a rank may take of its device's memory, if that was said."""

    share: float
    """Of each device."""

    plan: Plan
    fold: int


@dataclass(frozen=True)
class Turn:
    """An epoch to train along."""

    epochs: tuple[Epoch, ...]
    """Those that were trained."""

    channels_last: bool


class Leader(Group):
    """Rank 0, and the processes of the others.

    Args:
        trial: What they train.
        devices: Of each rank.
        meeting: A file that they find each other by.
    """

    def __init__(self, trial: Followed, devices: Sequence[str], meeting: Path) -> None:
        super().__init__(0, len(devices), devices[0], meeting)
        self._trial, self._devices = trial, devices
        self._ended: Exception | None = None
        """What ended the first of the others that ended."""

        self._noticed = threading.Event()
        self._pipes: dict[Connection, tuple[BaseProcess, str]] = {}
        self._watcher: threading.Thread | None = None

    def start(self) -> None:
        """Start the others; they get ready by themselves."""
        context = Spawning()
        for rank, device in enumerate(self._devices[1:], 1):
            ours, theirs = context.Pipe()
            process = context.Process(
                target=follow,
                args=(theirs, self._trial, Group(rank, self.size, device, self._meeting)),
                name=f"workbench-rank-{rank}",
            )
            process.start()
            theirs.close()  # so that its death closes the pipe
            self._pipes[ours] = process, f"rank {rank} on {device}"

    @contextmanager
    def leading(self, epochs: Sequence[Epoch], *, channels_last: bool) -> Iterator[None]:
        """See `Ranks.leading`.

        Raises:
            RankDiedError: the process of another rank died.
            Exception: what another rank raised.
        """
        try:
            self._tell(Turn((*epochs,), channels_last))
            yield
        except (LostRankError, OSError, DivergedError) as error:
            # On a GPU what was waited for is any number, where the wait was ended.
            if not isinstance(error, DivergedError):
                self._noticed.wait(NOTICE_S)
            if self._ended not in (None, error):
                raise self._ended from error
            raise
        if self._ended is not None:
            raise self._ended

    def close(self) -> None:
        """End the others."""
        for process, _ in self._pipes.values():
            process.kill()
        if self._watcher is not None:
            self._watcher.join()
        for process, _ in self._pipes.values():
            process.join()

    def _tell(self, turn: Turn) -> None:
        is_first = self._watcher is None
        if is_first:
            for pipe in self._pipes:
                if (ended := self._hear(pipe)) is not None:
                    self._ended = ended
                    raise ended
        for pipe in self._pipes:
            pipe.send(turn)
        if is_first:
            # Before they meet: one that ends while it is waited for is noticed as well.
            self._watcher = threading.Thread(target=self._watch, name="ranks", daemon=True)
            self._watcher.start()
            self.connect()

    def _watch(self) -> None:
        """Notice the end of a follower, and see that nobody waits for it."""
        first, *_ = wait([*self._pipes])
        self._ended = self._hear(first)  # type: ignore[arg-type]
        for process, _ in self._pipes.values():
            process.kill()
        self._noticed.set()
        self.abort()

    def _hear(self, pipe: Connection) -> Exception | None:
        """Return what ended a follower; nothing of one that is ready."""
        try:
            said: Exception | None = pipe.recv()
        except (EOFError, OSError):
            process, name = self._pipes[pipe]
            process.join()
            return RankDiedError(f"the process of {name} died ({how_ended(process.exitcode)}).")
        return said


@contextmanager
def led(trial: Followed, devices: Sequence[str]) -> Iterator[Ranks]:
    """Have a rank on each further device train along in the body; hand out that of the first."""
    if len(devices) == 1:
        yield Ranks()
        return
    with TemporaryDirectory() as folder:
        leader = Leader(trial, devices, Path(folder) / "ranks")
        try:
            leader.start()
            yield leader
        finally:
            leader.close()


def follow(pipe: Connection, trial: Followed, group: Group) -> None:
    """Train along with rank 0, until it ends this process."""
    be_a_child()
    try:
        torch.set_num_threads(trial.num_threads)
        _follow(pipe, trial, group)
    except LostRankError:
        with suppress(EOFError, OSError):
            pipe.recv()  # rank 0 knows which one was lost, and ends this one
    except (WorkbenchError, OSError) as error:
        pipe.send(error)
    except Exception as error:  # noqa: BLE001 (raised by rank 0)
        said = str(error) if is_out_of_memory(error) else traceback.format_exc()
        pipe.send(RuntimeError(said))


def _follow(pipe: Connection, trial: Followed, group: Group) -> None:
    # A GPU is held to it.
    memory.to_count(group.device, asked=trial.memory_bytes, share=trial.share)
    training = Training(
        Recipe.model_validate_json(trial.recipe).named(trial.uid),
        trial.prepared,
        device=group.device,
        store=trial.store,
        plan=trial.plan,
        step=lambda share: None,
        uses=trial.uses,
        fold=trial.fold,
        ranks=group,
    )
    pipe.send(None)
    turn: Turn = pipe.recv()
    if turn.epochs:
        saved = TrialFolder(trial.folder).read_checkpoint()
        assert saved is not None, "rank 0 went on from it"
        training.restore(saved)
    group.connect()
    while True:
        training.follow_epoch(turn.epochs, channels_last=turn.channels_last)
        turn = pipe.recv()
