"""How a search stands, and what a person sees of it while it runs, at a terminal or in a notebook.

Elsewhere, as in a log file, lines alone are said.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.text import Text

from workbench.console import visible
from workbench.notebook import SHOWN_EVERY_S, ReplacedText, in_notebook
from workbench.searching.options import RunOptions
from workbench.searching.runner import Runner
from workbench.searching.store import TrialStore
from workbench.tables import USUAL_WIDTH, counted, cut, duration

BAR = 30
"""Letters of the bar of a study."""


@dataclass(frozen=True)
class InFlight:
    """A trial that is being trained."""

    name: str
    """Its number."""

    what: str
    """Backbone, views and size."""

    num_done: int
    """Epochs that ended."""

    num_epochs: int
    share: float
    """Of the epoch that it is in."""

    seconds: float
    """Since it began, or went on."""

    num_before: int = 0
    """Epochs that had ended then."""

    expected_s: float | None = None
    """What it was expected to take then."""

    @property
    def left_s(self) -> float | None:
        """Seconds that it will take at the pace so far, else as expected; nothing before either."""
        done = (self.num_done + self.share - self.num_before) / (self.num_epochs - self.num_before)
        if done >= 0.1:
            return self.seconds * (1 - done) / done
        return None if self.expected_s is None else max(0.0, self.expected_s - self.seconds)


@dataclass(frozen=True)
class Standing:
    """How a search stands."""

    name: str
    num_trials: int
    complete: int
    pruned: int
    failed: int
    paused: int
    best: str
    """The best objective and its trial; empty before there is one."""

    in_flight: Sequence[InFlight]
    here: int
    """Trials that ended or paused since it began."""

    seconds: float
    """Since it began."""

    importances: Sequence[tuple[str, float]]
    """The dimensions that matter most so far, each with its share."""

    @property
    def tried(self) -> int:
        """Trials that ended, or wait."""
        return self.complete + self.pruned + self.failed + self.paused


def lines(standing: Standing, width: int) -> list[str]:
    """Return the view as lines of at most `width` letters."""
    s = standing
    states = [
        f"{number} {state}"
        for state in ("complete", "pruned", "failed", "paused")
        if (number := getattr(s, state))
    ]
    head = f"{s.name}: {s.tried} of {counted(s.num_trials, 'trial')}"
    head += f" ({', '.join(states)})" if states else ""
    head += f", best {s.best}" if s.best else ""
    full = round(BAR * s.tried / s.num_trials)
    pace = f"{'━' * full}{'─' * (BAR - full)} {s.tried / s.num_trials:4.0%}  {_pace(s)}"
    rows = [
        (
            f"#{t.name}",
            t.what,
            f"epoch {min(t.num_done + 1, t.num_epochs)}/{t.num_epochs} {t.share:4.0%}",
            duration(t.seconds) + (f", {_about(t.left_s)} left" if t.left_s is not None else ""),
        )
        for t in s.in_flight
    ]
    found = [head, pace.rstrip(), *_aligned(rows, width)]
    if s.importances:
        shares = ", ".join(f"{name} {share:.0%}" for name, share in s.importances)
        found.append(f"matters most so far: {shares}")
    return [cut(visible(line), width) for line in found]


class SearchView:
    """Shows a search on stderr, below the lines that are said meanwhile, if it is a terminal.

    In a notebook, it is shown in the output of the running cell.

    Args:
        situation: Returns how the search stands; asked only where somebody looks.
    """

    def __init__(self, situation: Callable[[], Standing]) -> None:
        self._situation, self._updated = situation, -math.inf

    def __enter__(self) -> Self:
        console = Console(stderr=True, highlight=False)
        self._live = (
            Live(console=console, auto_refresh=False, transient=True, redirect_stdout=False)
            if console.is_terminal
            else None
        )
        self._cell = ReplacedText() if in_notebook() else None
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()
        if self._cell is not None:
            self._cell.clear()

    def update(self) -> None:
        """Bring what is seen up to date, unless it was a moment ago."""
        if time.monotonic() - self._updated < SHOWN_EVERY_S:
            return  # hundreds of trials make as many lines
        self._updated = time.monotonic()
        if self._live is not None:
            text = "\n".join(lines(self._situation(), self._live.console.width))
            self._live.update(Text(text, no_wrap=True, overflow="crop"), refresh=True)
        if self._cell is not None:
            self._cell.show("\n".join(lines(self._situation(), USUAL_WIDTH)))


def _pace(s: Standing) -> str:
    if not s.here:
        return f"{duration(s.seconds)} so far"
    each = s.seconds / s.here
    rate = f"{60 / each:.1f} trials a minute" if each < 60 else f"{3600 / each:.1f} an hour"
    return f"{rate}, {_about(each * (s.num_trials - s.tried))} left"


def _about(seconds: float) -> str:
    """Return a guess of a time span, no finer than it can be."""
    if seconds < 55:
        return f"about {max(5, 5 * round(seconds / 5))} s"
    if seconds < 55 * 60:
        return f"about {max(1, round(seconds / 60))} min"
    return f"about {max(1.0, round(seconds / 1800) / 2):g} h"


def _aligned(rows: Sequence[tuple[str, ...]], width: int) -> list[str]:
    """Return rows in columns; the second gives way where they are too wide together."""
    if not rows:
        return []
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    spare = width - sum(widths) - 2 * (len(widths) - 1)
    widths[1] = max(8, widths[1] + min(0, spare))
    return [
        "  ".join(cut(cell, w).ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


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
        sign = -1 if objective.direction == "maximize" else 1
        trial = min(complete, key=lambda ended: (not ended.keeps, sign * ended.objective))
        but = "" if trial.keeps else ", which breaks a constraint"
        return f"{objective.label} {trial.objective:.4f} by #{trial.name}{but}"

    def _num_here(self) -> int:
        return self._store.num_ended() + len(self._store.paused)
