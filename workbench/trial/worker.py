"""A process that trains trials one after another. It knows neither Optuna nor MLflow.

What goes over the pipe: the study process sends a `LocalJob` or None (end); the worker answers with
an `Epoch` after every epoch, waits for a decision, and ends with a `Result`, a `Bug`, `Full` or
`Blocked`, or with `Died` where a further rank of the trial did. A `Beat` every few seconds says
that it lives. What a `StepProbe` begins is in `side_by_side`.
"""

import contextlib
import ctypes
import gc
import importlib
import os
import sys
import threading
import traceback
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Self

from workbench.errors import AccessError, CacheError, DiskFullError, told
from workbench.processes import be_a_child
from workbench.trial.job import Blocked, Bug, Died, Full, Job, RankDiedError
from workbench.trial.side_by_side import Ask, StepProbe, step_when_asked

BEAT_S = 2.0


@dataclass(frozen=True)
class LocalJob:
    """A job, and what this machine has for it: files, and a share of a device."""

    job: Job
    prepared: Path
    """Folder of the prepared data."""

    folder: Path
    """The trial's folder."""

    weights: Path
    """Folder of pretrained weights that the user brought."""

    cache: Path
    """Folder of what is counted once."""

    device: str
    num_threads: int
    """CPU threads that torch may use."""

    share: float = 1.0
    """Of the device, where trials run side by side on it."""

    others: tuple[str, ...] = ()
    """The devices of its further ranks; see `ranks`."""


@dataclass(frozen=True)
class Beat:
    """A sign of life."""

    steps: int
    """Batches that ended since the job began."""

    share: float
    """Of the epoch that it is in."""


class _Pulse:
    """Sends a `Beat` every few seconds, beside what the trial sends.

    Args:
        connection: To the study process; while the pulse runs, `send` is the only way into it.
    """

    def __init__(self, connection: Connection) -> None:
        self._steps, self._share = 0, 0.0
        self._connection = connection
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="pulse", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def step(self, share: float) -> None:
        """Note that a batch ended, and how much of its epoch is done."""
        self._steps, self._share = self._steps + 1, share

    def send(self, message: object) -> None:
        """Send `message` whole: two threads that write into a pipe at once would tear theirs."""
        with self._lock:
            self._connection.send(message)

    def _beat(self) -> None:
        while not self._ended.wait(BEAT_S):
            try:
                self.send(Beat(self._steps, self._share))
            except OSError:  # the study process is gone; `be_a_child` ends this one
                return


def work(connection: Connection, warm: bool = False) -> None:
    """Run the jobs that come over `connection` until None or the end of the parent.

    Args:
        connection: To the study process.
        warm: Whether to load what trials need before the first one comes.
    """
    be_a_child()
    if warm:
        _load()
    while True:
        asked: LocalJob | StepProbe | Ask | None = connection.recv()
        if asked is None:
            return
        if isinstance(asked, Ask):
            continue  # of a probe that could not go on, and said so
        if isinstance(asked, StepProbe):
            step_when_asked(connection, asked)
            _give_back_memory()
            continue
        try:
            asked.folder.mkdir(parents=True, exist_ok=True)
            opened = (asked.folder / "log.txt").open("a")
        except OSError as error:
            sentence = told(error)
            connection.send(Blocked(sentence) if sentence else Bug(traceback.format_exc()))
            continue
        with opened as log:
            # Libraries write where they like; a dead worker's last words explain its death. What a
            # trial said before it went on stays.
            os.dup2(log.fileno(), sys.stdout.fileno())
            os.dup2(log.fileno(), sys.stderr.fileno())
            ended: object
            with _Pulse(connection) as pulse:
                try:
                    ended = _run(asked, connection, pulse)
                except DiskFullError as error:
                    ended = Full(str(error))
                except RankDiedError as error:
                    ended = Died(str(error))
                except (CacheError, AccessError) as error:
                    ended = Blocked(str(error))
                except OSError as error:
                    sentence = told(error)
                    ended = Blocked(sentence) if sentence else Bug(traceback.format_exc())
                except Exception:  # noqa: BLE001 (whatever a trial raises)
                    ended = Bug(traceback.format_exc())
                if isinstance(ended, Bug):
                    with contextlib.suppress(OSError):
                        os.write(log.fileno(), ended.traceback.encode("utf-8", "backslashreplace"))
            connection.send(ended)
            sys.stdout.flush()
            sys.stderr.flush()
        _give_back_memory()


def _load() -> None:
    """Load what trials need, in silence: what cannot be loaded is said by the first trial's log."""
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())
        os.dup2(nowhere.fileno(), sys.stderr.fileno())
    with contextlib.suppress(ImportError, OSError):
        importlib.import_module("workbench.trial.train")
        importlib.import_module("workbench.parts.torchvision_fix").import_timm()


def _give_back_memory() -> None:
    """Return freed memory to the system between trials; see `processes.KEEP_MEMORY`."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc has it, others do not
    if trim is not None:
        trim(0)


def _run(asked: LocalJob, connection: Connection, pulse: _Pulse) -> object:
    # Imported by the first job, so that a worker starts at once and its log holds what they print.
    import torch

    from workbench.data.prepare import Prepared
    from workbench.trial import memory
    from workbench.trial.decision import Decision
    from workbench.trial.recipe import Recipe
    from workbench.trial.result import Epoch
    from workbench.trial.train import run_trial

    torch.set_num_threads(asked.num_threads)

    def report(epoch: Epoch) -> Decision:
        pulse.send(epoch)
        decision: Decision = connection.recv()
        return decision

    job = asked.job
    recipe = Recipe.model_validate_json(job.recipe).named(job.uid)
    prepared = Prepared.load(asked.prepared)
    within = memory.to_count(asked.device, asked=job.memory_bytes, share=asked.share)
    return run_trial(
        recipe,
        prepared,
        asked.folder,
        device=asked.device,
        report=report,
        step=pulse.step,
        store=asked.weights,
        memory_bytes=within,
        share=asked.share,
        cache=asked.cache,
        compiled=job.compiled,
        others=asked.others,
    )
