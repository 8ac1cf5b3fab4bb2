"""The door to Ray Core: a cluster on which each trial is an actor that streams what comes of it.

Nothing is retried by Ray: a generator that it ran again would go on from the trial's last kept
epoch, and what came of the first run would be missing from the stream. The study process alone
decides what is run again.
"""

import math
import os
import secrets
import socket
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from workbench.errors import ConfigError, StudyError
from workbench.fence import num_cores
from workbench.searching.runner import Event
from workbench.searching.trial_host import TrialHost, answer_mark
from workbench.trial.decision import Decision
from workbench.trial.job import Bug, Died
from workbench.trial.worker import Beat, LocalJob

SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "token",
    "RAY_worker_niceness": "0",
}
"""What Ray is told by the environment, unless the user set it: nothing is reported to its makers,
who has not the cluster's token is refused, and trials on a cluster that is started here do not wait
for all else on the machine: Ray's own niceness is 15."""

STORE_BYTES = 80 * 2**20
"""Of the object store of a cluster on this machine alone: only epochs and results go through it."""

LOOK_S = 5.0
"""How often it is looked what machines there are."""

HEAD_S = 2.0
"""How often it is looked whether the head answers."""

HEAD_TRIES = 3
"""The head is lost when it gave no answer so often in a row."""

CHECK_S = 120.0
"""A machine has so long to start a process and to answer for the first time."""

KILL_S = 30.0
"""So long it is waited for the end of what was ended."""


@dataclass(frozen=True)
class ClusterOptions:
    """Which cluster, and what each trial takes of it."""

    address: str | None = None
    """Of the head, HOST:PORT, or `auto` for the one that this machine is of; by default a cluster
    of this machine alone, started for the search."""

    cpus: int = 1
    """CPU cores of a trial; it uses as many threads."""

    gpus: float | None = None
    """GPUs of a trial: 1, or a part of one; by default 1 where this machine trains on one."""


class _Stream(NamedTuple):
    actor: Any
    generator: Any


class RayCluster:
    """The machines of a Ray cluster, which this process may use; its trials go by their numbers.

    Args:
        options: Which cluster, and what a trial takes of it.
        gpus: GPUs of a trial.
        num_here: How many trials a cluster of this machine alone has room for at least.
        stall_s: A trial of which no batch ends for so long is ended.

    Raises:
        ConfigError: Ray is not installed, or the address cannot be used.
        StudyError: the cluster cannot be reached.
    """

    def __init__(
        self, options: ClusterOptions, *, gpus: float, num_here: int, stall_s: float
    ) -> None:
        self._options, self._gpus, self._stall_s = options, gpus, stall_s
        self._ray = _ray()
        self._owned = not self._ray.is_initialized()
        if self._owned:
            self._connect(num_here)
        self._head = str(self._ray.get_runtime_context().gcs_address)
        self._streams: dict[int, _Stream] = {}
        self._room, self._looked = 0, -math.inf
        self._head_looked, self._head_missed = -math.inf, 0

    def room(self) -> int:
        """Return how many trials the machines that are there now have room for, in all."""
        if time.monotonic() - self._looked >= LOOK_S:
            self._head_looked = -math.inf
            self.require_head()  # what asks it for the machines would wait for a minute
            self._room = sum(self._room_on(node["Resources"]) for node in self._nodes())
            self._looked = time.monotonic()
        return self._room

    def start(self, trial: int, local: LocalJob) -> None:
        """Run a trial on any machine that has, or will have, what it takes."""
        actor = (
            self._ray.remote(TrialHost)
            .options(
                num_cpus=self._options.cpus,
                num_gpus=self._gpus,
                max_restarts=0,
                max_task_retries=0,
                max_concurrency=2,  # `answer` comes while `run` waits for it
            )
            .remote(self._stall_s)
        )
        self._streams[trial] = _Stream(actor, actor.run.remote(local))

    def wait(self, timeout_s: float) -> list[int]:
        """Return the trials of which something is to be read, after waiting for the first.

        Raises:
            StudyError: the cluster's head is lost.
        """
        self.require_head()
        trials = {stream.generator: trial for trial, stream in self._streams.items()}
        wait, waiting = self._ray.wait, list(trials)
        ready, _ = wait(waiting, num_returns=1, timeout=timeout_s)
        if ready and len(waiting) > 1:
            ready, _ = wait(waiting, num_returns=len(waiting), timeout=0)
        return [trials[generator] for generator in ready]

    def read(self, trial: int) -> Event | Beat:
        """Return what a trial says next; that its machine or its process died is said, too."""
        errors = self._ray.exceptions
        try:
            said: Event | Beat = self._ray.get(next(self._streams[trial].generator))
        except StopIteration:
            return Died("its process in the cluster ended without a result.")
        except errors.RayTaskError as error:
            return Bug(str(error))
        except errors.RayError as error:
            return Died(f"its process in the cluster is lost: {_shortly(error)}")
        return said

    def answer(self, trial: int, decision: Decision) -> None:
        """Tell a trial how it goes on; where that does not arrive, its death is what comes next."""
        self._streams[trial].actor.answer.remote(decision)

    def end(self, trial: int, *, wait_s: float = 0.0) -> None:
        """End the process of a trial, and wait at most so long until it has ended.

        Another may write into the trial's folder then.
        """
        stream = self._streams.pop(trial)
        self._ray.kill(stream.actor, no_restart=True)
        deadline = time.monotonic() + wait_s
        while (left := deadline - time.monotonic()) > 0:
            if self._ray.wait([stream.generator], timeout=left)[0]:
                try:
                    self._ray.get(next(stream.generator))
                except (StopIteration, self._ray.exceptions.RayError):
                    return

    def close(self) -> None:
        """End all trials, and leave the cluster, if this process joined it here."""
        if self._head_missed < HEAD_TRIES:  # without a head nothing would answer
            for trial in list(self._streams):
                self.end(trial)
            if self._owned:
                self._ray.shutdown()
        self._streams, self._owned = {}, False

    def require_head(self) -> None:
        """Look whether the head answers, if that was not looked for a while.

        Raises:
            StudyError: it is lost. Ray would end this process some time later.
        """
        while time.monotonic() - self._head_looked >= HEAD_S:
            if not _answers(self._head):
                self._head_missed += 1
                if self._head_missed >= HEAD_TRIES:
                    raise StudyError(
                        f"The head of the Ray cluster at {self._head} is lost. Start the cluster "
                        "again: the same command goes on from each trial's last epoch."
                    )
                time.sleep(1.0)
                continue
            self._head_missed, self._head_looked = 0, time.monotonic()

    def require_seen(self, folder: Path) -> None:
        """See that each machine reads in `folder` what is written here, and the other way round.

        Raises:
            StudyError: one does not, or cannot run this program.
        """
        text = secrets.token_hex(16)
        mark = folder / f".seen-{text[:8]}"
        mark.write_text(text, encoding="utf-8")
        try:
            asked = {
                node["NodeID"]: self._ask(node["NodeID"], mark, text) for node in self._nodes()
            }
            names = {node["NodeID"]: node["NodeManagerHostname"] for node in self._nodes()}
            for node, reference in asked.items():
                name = names.get(node, node)
                answered = self._answered(reference, name)
                if not (answered and mark.with_name(f"{mark.name}.{node}").exists()):
                    raise StudyError(
                        f"Machine {name} of the cluster does not see {folder}. Name a folder that "
                        "all machines see at the same path: `--shared DIR`."
                    )
        finally:
            for file in folder.glob(f"{mark.name}*"):
                file.unlink(missing_ok=True)

    def _ask(self, node: str, mark: Path, text: str) -> Any:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        there = NodeAffinitySchedulingStrategy(node_id=node, soft=False)
        task = self._ray.remote(answer_mark).options(
            num_cpus=0, max_retries=0, scheduling_strategy=there
        )
        return task.remote(mark, text, node)

    def _answered(self, reference: Any, name: str) -> bool:
        """Return what the machine of this name answers.

        Raises:
            StudyError: it does not, or cannot.
        """
        try:
            return bool(self._ray.get(reference, timeout=CHECK_S))
        except self._ray.exceptions.RayError as error:
            raise StudyError(
                f"Machine {name} of the cluster cannot run a trial: {_shortly(error)} Install the "
                "same versions of Python, Ray and this program there."
            ) from error

    def _connect(self, num_here: int) -> None:
        address = self._options.address
        quiet = {"log_to_driver": False, "logging_level": "error"}
        own: dict[str, Any] = {
            "num_cpus": max(num_cores(), num_here * self._options.cpus),
            "object_store_memory": STORE_BYTES,
            "include_dashboard": False,
        }
        try:
            if address is not None:
                require_answer(address)
                own = {}
            # Without a `working_dir`, Ray has its processes look for modules in the folder that
            # this one runs in before all others, and there may lie files of strangers.
            with tempfile.TemporaryDirectory() as empty:
                self._ray.init(
                    address=address or "local",
                    runtime_env={"working_dir": empty},
                    **quiet,
                    **own,
                )
        except (ConnectionError, RuntimeError, ValueError, self._ray.exceptions.RayError) as error:
            where = "here" if address is None else f"at {address}"
            raise StudyError(
                f"A Ray cluster {where} cannot be used: {_shortly(error)} See docs/cluster.md."
            ) from error

    def _nodes(self) -> list[dict[str, Any]]:
        return [node for node in self._ray.nodes() if node["Alive"]]

    def _room_on(self, has: dict[str, float]) -> int:
        """Return how many trials a machine has room for that has these resources."""
        by_cpus = has.get("CPU", 0.0) / self._options.cpus
        if not self._gpus:
            return int(by_cpus)
        # A part of a GPU is always of one: two fifths of each of two do not make another trial.
        on_one = int(1 / self._gpus + 1e-9) if self._gpus <= 1 else 1 / self._gpus
        return int(min(by_cpus, has.get("GPU", 0.0) * on_one))


def require_answer(address: str) -> None:
    """See that something listens at HOST:PORT; Ray itself would try for minutes.

    Raises:
        ConfigError: it is no such address, and not `auto`.
        StudyError: nothing listens there.
    """
    if address == "auto":
        return
    if not address.rpartition(":")[0] or not address.rpartition(":")[2].isdigit():
        raise ConfigError(f"--address {address} is no HOST:PORT. Write that of the head, or auto.")
    if not _answers(address):
        raise StudyError(
            f"No Ray cluster answers at {address}. Start it: ray start --head --port=PORT."
        )


def _answers(address: str) -> bool:
    """Return whether something listens at HOST:PORT."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=5.0).close()
    except OSError:
        return False
    return True


def _ray() -> Any:
    """Return the module.

    Raises:
        ConfigError: it is not installed.
    """
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)  # read when it is imported, and by what it starts
    hook = sys.excepthook
    try:
        import ray
    except ImportError as error:
        raise ConfigError(
            "Trials on a cluster need Ray, which is not installed. Install the extra `ray`: "
            'pip install "workbench[ray]".'
        ) from error
    sys.excepthook = hook  # Ray's asks the head first, which may be what is lost
    return ray


def _shortly(error: Exception) -> str:
    """Return the first line that Ray has to say, as a sentence."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__).rstrip(".:") + "."
