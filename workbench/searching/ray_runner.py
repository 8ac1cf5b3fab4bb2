"""Trials on the machines of a Ray cluster; this process stays the study's only bookkeeper."""

import os
import time
from collections.abc import Iterable
from typing import Protocol

from workbench.errors import ConfigError, StudyError
from workbench.searching.devices import Seats
from workbench.searching.local_runner import local_job
from workbench.searching.options import RunOptions
from workbench.searching.ray_cluster import KILL_S, ClusterOptions, RayCluster
from workbench.searching.runner import Event, MakeRunner
from workbench.tables import duration
from workbench.trial.decision import Decision
from workbench.trial.job import Died, Job
from workbench.trial.recipe import Recipe
from workbench.trial.result import Epoch
from workbench.trial.worker import Beat, LocalJob
from workbench.workspace import Workspace


class Cluster(Protocol):
    """What runs trials elsewhere, each known by its number; see `RayCluster`."""

    def room(self) -> int:
        """Return how many trials there is room for, in all."""

    def start(self, trial: int, local: LocalJob) -> None:
        """Run a trial."""

    def wait(self, timeout_s: float) -> list[int]:
        """Return the trials of which something is to be read."""

    def read(self, trial: int) -> Event | Beat:
        """Return what a trial says next."""

    def answer(self, trial: int, decision: Decision) -> None:
        """Tell a trial how it goes on."""

    def end(self, trial: int, *, wait_s: float = 0.0) -> None:
        """End a trial's process, and wait so long for its end."""

    def close(self) -> None:
        """End all."""


class RayRunner:
    """A process in a cluster for each trial.

    Args:
        cluster: The machines.
        workspace: Where studies, the cache and the weights are, on all of them.
        device: What a trial trains on, wherever it runs.
        num_threads: CPU threads of a trial.
        share: Of its device.
        stall_s: A trial of which nothing is heard for so long is ended.
        most: Trials side by side at most; None for as many as the cluster has room for.
    """

    def __init__(
        self,
        cluster: Cluster,
        workspace: Workspace,
        *,
        device: str,
        num_threads: int,
        share: float,
        stall_s: float,
        most: int | None = None,
    ) -> None:
        self._cluster, self._workspace = cluster, workspace
        self._device, self._num_threads, self._share = device, num_threads, share
        self._stall_s, self._most = stall_s, most
        self._shares: dict[int, float] = {}
        """How much of its epoch each trial has done."""

        self._heard: dict[int, float | None] = {}
        """`time.monotonic()` when a trial was last heard of; None while it waits for a machine."""

    def prepare(self, recipes: Iterable[Recipe]) -> None:
        """Nothing is to be made ready: a trial's process loads what it needs when it starts."""

    def has_room(self) -> bool:
        """Return whether a machine has what another trial takes."""
        room = self._cluster.room()
        return len(self._shares) < (room if self._most is None else min(room, self._most))

    def submit(self, job: Job) -> None:
        """Let the cluster run `job`."""
        local = local_job(
            job,
            self._workspace,
            device=self._device,
            num_threads=self._num_threads,
            share=self._share,
        )
        self._cluster.start(job.trial, local)
        self._shares[job.trial], self._heard[job.trial] = 0.0, None

    def events(self, timeout_s: float) -> list[tuple[int, Event]]:
        """Return what came from the cluster, by trial."""
        if not self._shares:
            return []
        found: list[tuple[int, Event]] = []
        ready = self._cluster.wait(timeout_s)
        for trial in ready:
            said = self._cluster.read(trial)
            self._heard[trial] = time.monotonic()
            if isinstance(said, Beat):
                self._shares[trial] = said.share
                continue
            self._shares[trial] = 0.0
            found.append((trial, said))
            if not isinstance(said, Epoch):
                self._forget(trial)
        return found + self._stalled(set(self._shares) - set(ready))

    def answer(self, trial: int, decision: Decision) -> None:
        """Tell a trial how it goes on."""
        # From now on, not from its report: this process may have been held up since.
        self._heard[trial] = time.monotonic()
        self._cluster.answer(trial, decision)

    def stop(self, trial: int) -> None:
        """End the process of a trial."""
        self._forget(trial)

    def share(self, trial: int) -> float:
        """Return how much of its epoch a trial has done, as far as it said."""
        return self._shares.get(trial, 0.0)

    def close(self, *, at_once: bool) -> None:
        """End everything and leave the cluster."""
        self._shares, self._heard = {}, {}
        self._cluster.close()

    def _stalled(self, silent: set[int]) -> list[tuple[int, Event]]:
        """End those trials that run and have said nothing for too long, not even that they live."""
        events: list[tuple[int, Event]] = []
        for trial in silent:
            heard = self._heard[trial]
            if heard is None or (waited := time.monotonic() - heard) < self._stall_s:
                continue
            self._forget(trial, wait_s=KILL_S)
            reason = f"its process in the cluster said nothing for {duration(waited)}: it hangs."
            events.append((trial, Died(reason)))
        return events

    def _forget(self, trial: int, *, wait_s: float = 0.0) -> None:
        self._cluster.end(trial, wait_s=wait_s)
        del self._shares[trial], self._heard[trial]


def on_ray(asked: ClusterOptions) -> MakeRunner:
    """Return what starts the runner of a search on such a cluster.

    Raises:
        ConfigError: what is asked for cannot be.
    """
    if asked.address is not None and "://" in asked.address:
        raise ConfigError(
            f"--address {asked.address} is one of Ray's client. Start the search on a machine of "
            "the cluster, with --address auto."
        )
    gpus = asked.gpus
    if asked.cpus < 1 or (gpus is not None and not (0 <= gpus < 1 or gpus == 1)):
        raise ConfigError(
            f"A trial cannot take {asked.cpus} CPU cores and {gpus} GPUs: it takes 1 core or more, "
            "and no GPU, a part of one, or one."
        )

    def make(workspace: Workspace, seats: Seats, options: RunOptions) -> RayRunner:
        if options.jobs == "auto":
            raise ConfigError(
                "--jobs auto measures this machine alone. On a cluster say what a trial takes: "
                "--trial-gpus 0.25."
            )
        if seats.others:
            raise ConfigError(
                f"`gpus_per_trial` is {1 + len(seats.others[0])}, and a trial on a cluster takes "
                "one GPU at most. Set it to 1 in the experiment, or leave --runner ray out."
            )
        has_gpu = seats.devices[0].startswith("cuda")
        takes = (1.0 if has_gpu else 0.0) if gpus is None else gpus
        cluster = RayCluster(
            asked, gpus=takes, num_here=len(seats.devices), stall_s=options.stall_s
        )
        try:
            cluster.require_seen(workspace.studies)
            if not cluster.room():
                raise StudyError(
                    f"No machine of the cluster has {asked.cpus} CPU cores and {takes:g} GPUs, "
                    "which a trial takes. Change --trial-cpus or --trial-gpus."
                )
        except StudyError:
            cluster.close()
            raise
        threads = os.environ.get("OMP_NUM_THREADS", "")
        most_threads = int(threads) if threads.isdigit() and int(threads) else asked.cpus
        return RayRunner(
            cluster,
            workspace,
            device="cuda" if takes else "cpu",
            num_threads=min(asked.cpus, most_threads),
            share=takes or 1.0,
            stall_s=options.stall_s,
            most=options.jobs,
        )

    return make
