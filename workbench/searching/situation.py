"""How a running search stands, gathered from what takes part in it."""

import time

from workbench.searching.live import InFlight, Standing
from workbench.searching.options import RunOptions
from workbench.searching.runner import Runner
from workbench.searching.store import TrialStore


class Situation:
    """Gathers, whenever it is called, how a search stands that begins now."""

    def __init__(
        self,
        name: str,
        store: TrialStore,
        runner: Runner,
        options: RunOptions,
    ) -> None:
        self._name, self._store, self._runner, self._options = name, store, runner, options
        self._began, self._before = time.monotonic(), self._num_here()

    def __call__(self) -> Standing:
        """Return how it stands."""
        counts, now = self._store.counts(), time.monotonic()
        in_flight = [
            InFlight(
                name=running.name,
                what=running.recipe.model.label,
                num_done=len(running.epochs),
                num_epochs=running.num_epochs,
                share=self._runner.share(running.number),
                seconds=now - running.started,
                num_before=running.num_before,
                expected_s=running.expected_s,
            )
            for running in self._store.in_flight.values()
        ]
        return Standing(
            name=self._name,
            num_trials=self._options.num_trials,
            complete=counts["complete"],
            pruned=counts["pruned"],
            failed=counts["failed"],
            paused=len(self._store.paused),
            best=self._best(),
            in_flight=in_flight,
            here=self._num_here() - self._before,
            seconds=now - self._began,
            importances=self._store.importances(),
        )

    def _best(self) -> str:
        complete, objective = self._store.complete(), self._store.objective
        if not complete:
            return ""
        pick = max if objective.direction == "maximize" else min
        trial = pick(complete, key=lambda ended: ended.objective)
        return f"{objective.label} {trial.objective:.4f} by #{trial.name}"

    def _num_here(self) -> int:
        return self._store.num_ended() + len(self._store.paused)
