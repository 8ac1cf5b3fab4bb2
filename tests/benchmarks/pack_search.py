"""Whether a sampler that improves the pack, not the best trial, ends with a better pack.

python -m tests.benchmarks.pack_search [--seeds 100] [--trials 50] [--samples 75] [--spread 1]
    [--width 0.6]

Trials are formulas here, so that diversity is real and has a price. A file has twelve cues, six of
its sound and six of its pictures, and something of its own that misleads each view and each
backbone. A generator leaves traces in some of the cues. What a trial sees of the cues depends on
its view and, by a bump, on its image size; how well it sees, on its backbone, its learning rate and
its dropout. One view is better than the other by `--spread`, so that a sampler that improves single
trials goes there; the smaller `--width`, the fewer learning rates are good. For each seed there is
a new landscape with new files.

Studies draw with the sampler as shipped, told of each trial one of these, or by chance alone:

- own: the trial's own AUC on val, as shipped;
- gain: from five trials on, what the trial adds to the AUC of the present pack of all others, which
  is made anew for all trials before each draw: of the best eight, as `pack` chooses them, or by
  forward selection;
- gain then: what it added to the best eight when it ended, and never anew.

Of the trials of each study the pack is chosen as shipped (best eight, calibrated), and by forward
selection in bags. A row tells the mean true AUC (30,000 other files) of the best single trial and
of both packs, and the paired difference to `own` with its standard error.
"""

import argparse
import math
import warnings
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import optuna
from scipy.special import expit

from workbench.searching.proposals import make_sampler
from workbench.selection.choosing import SliceScores
from workbench.selection.joining import bounded_logits, inverse_temperatures
from workbench.selection.pack_choice import ForwardSearch, choose_pack
from workbench.selection.pack_limits import MemberCost
from workbench.selection.row_metrics import metric_of_rows
from workbench.space.experiment import Sampler
from workbench.trial.delong import auc
from workbench.trial.recipe import Objective

CUES, GENERATORS = 12, 4
VIEWS = ("sound", "pictures", "both")
BACKBONES = tuple("abcdef")
NEW_FILES = 15_000
"""Of each class, for the true AUC: it is off by 0.002."""

MEMBERS = 8
FROM = 5
"""Whole trials from which on a gain is told."""

AUC = Objective(metric="auc")
FORWARD = ForwardSearch(bags=10, begin=1)

Floats = npt.NDArray[np.float64]
Params = dict[str, Any]


class Files(NamedTuple):
    """Some files of a landscape."""

    targets: npt.NDArray[np.int64]
    cues: Floats
    """(files, cues)"""

    misleads: dict[str, Floats]
    """What is the same for all trials of a view or of a backbone, (files,)."""


class Landscape:
    """What a trial of given parameters scores.

    Args:
        seed: Of the landscape and of its files.
        samples: Files of val, of each class.
        spread: By how much one view is better than the other.
        width: Of the bump of good learning rates, twice its variance in decades.
    """

    def __init__(self, seed: int, samples: int, spread: float, width: float) -> None:
        rng = np.random.default_rng([seed, samples])
        self._seed, self._width = seed, width
        self._traces = (rng.random((GENERATORS, CUES)) < 0.4) * rng.uniform(0.5, 1.2, CUES)
        self._place = rng.uniform(math.log(64), math.log(256), CUES)
        self._best_rate = dict(zip(BACKBONES, rng.uniform(-4, -2.5, len(BACKBONES)), strict=True))
        self._quality = dict(zip(BACKBONES, rng.uniform(0.7, 1.0, len(BACKBONES)), strict=True))
        better = rng.integers(2)
        self._of_view = {"both": 0.8, VIEWS[better]: 1.0, VIEWS[1 - better]: 1.0 - 0.3 * spread}
        self.val, self.test = self._files(samples, rng), self._files(NEW_FILES, rng)

    def _files(self, samples: int, rng: np.random.Generator) -> Files:
        targets = np.repeat([1, 0], samples)
        cues = rng.normal(size=(2 * samples, CUES))
        cues[:samples] += self._traces[rng.integers(GENERATORS, size=samples)]
        misleads = {name: rng.normal(size=2 * samples) for name in (*VIEWS, *BACKBONES)}
        return Files(targets, cues, misleads)

    def scores(self, number: int, params: Params, files: Files) -> Floats:
        """Return the probabilities that a trial gives to files, (files,)."""
        off = params["lr"] - self._best_rate[params["backbone"]]
        quality = self._quality[params["backbone"]] * self._of_view[params["view"]]
        quality *= math.exp(-(off**2) / self._width) * (1 - (params["dropout"] - 0.2) ** 2)
        seen = np.exp(-((self._place - params["image_px"]) ** 2) / 0.2)
        if params["view"] != "both":
            half = np.arange(CUES) < CUES // 2
            seen = seen * (half if params["view"] == "sound" else ~half)
        signal = files.cues @ seen / max(float(np.linalg.norm(seen)), 1e-9)
        own = np.random.default_rng([self._seed, number]).normal(size=len(files.targets))
        noise = 0.6 * files.misleads[params["view"]] + 0.5 * files.misleads[params["backbone"]]
        return np.asarray(expit(quality * signal + 0.6 * noise + 0.7 * own - 0.3))


class Study:
    """The trials of one study so far."""

    def __init__(self) -> None:
        self.params: list[optuna.trial.FrozenTrial] = []
        self.scores: list[Floats] = []
        self.logits: list[Floats] = []
        self.own: list[float] = []
        self.then: list[float] = []


def draw(trial: optuna.Trial) -> Params:
    """Draw the parameters of a trial."""
    return {
        "view": trial.suggest_categorical("view", VIEWS),
        "backbone": trial.suggest_categorical("backbone", BACKBONES),
        "lr": trial.suggest_float("lr", -5, -2),
        "image_px": trial.suggest_float("image_px", math.log(64), math.log(256)),
        "dropout": trial.suggest_float("dropout", 0, 0.5),
    }


def _own(study: Study, targets: npt.NDArray[np.int64]) -> list[float]:
    return study.own


def _then(study: Study, targets: npt.NDArray[np.int64]) -> list[float]:
    return study.then


def _added(
    targets: npt.NDArray[np.int64], logits: Floats, packs: list[npt.NDArray[np.int64]]
) -> list[float]:
    """Return what each trial adds to a pack of others that is given for it."""
    before = np.stack([logits[pack].mean(axis=0) for pack in packs])
    sizes = np.array([len(pack) for pack in packs])[:, None]
    after = (sizes * before + logits) / (sizes + 1)
    found = metric_of_rows("auc", targets, after) - metric_of_rows("auc", targets, before)
    return [float(value) for value in found]


def _gain(study: Study, targets: npt.NDArray[np.int64]) -> list[float]:
    """Return what each adds to the mean of the best eight others."""
    if len(study.own) < FROM:
        return study.own
    order = np.argsort(-np.array(study.own), kind="stable")
    packs = [order[order != trial][:MEMBERS] for trial in range(len(order))]
    return _added(targets, np.stack(study.logits), packs)


def _gain_forward(study: Study, targets: npt.NDArray[np.int64]) -> list[float]:
    """Return what each adds to the pack that forward selection makes of the others."""
    if len(study.own) < FROM:
        return study.own
    logits = np.stack(study.logits)
    every = np.arange(len(logits))
    whole = _forward(targets, logits, every)
    packs = [
        _forward(targets, logits, every[every != trial]) if trial in whole else whole
        for trial in every
    ]
    return _added(targets, logits, packs)


def _forward(
    targets: npt.NDArray[np.int64], logits: Floats, trials: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Return the picks of a plain forward selection, repeated ones included."""
    picks: list[int] = []
    best, total = -1.0, np.zeros(logits.shape[1])
    for _ in range(MEMBERS):
        values = metric_of_rows("auc", targets, total + logits[trials])
        place = int(values.argmax())
        if values[place] <= best:
            break
        best, total = float(values[place]), total + logits[trials[place]]
        picks.append(int(trials[place]))
    return np.array(picks)


class Way(NamedTuple):
    """A way to draw trials."""

    told: Callable[[Study, npt.NDArray[np.int64]], list[float]]
    """Returns what the sampler is told of each trial so far."""

    sampler: Literal["tpe", "random"] = "tpe"


WAYS = {
    "own": Way(_own),
    "gain to the best eight": Way(_gain),
    "gain to a forward selection": Way(_gain_forward),
    "gain then": Way(_then),
    "chance": Way(_own, "random"),
}


def search(landscape: Landscape, way: Way, *, seed: int, trials: int) -> Study:
    """Run a study on a landscape."""
    sampler = make_sampler(Sampler(kind=way.sampler), seed)
    study, val = Study(), landscape.val
    for number in range(trials):
        books = optuna.create_study(direction="maximize", sampler=sampler)
        for frozen, value in zip(study.params, way.told(study, val.targets), strict=True):
            trial = optuna.trial.create_trial(
                params=frozen.params, distributions=frozen.distributions, value=value
            )
            books.add_trial(trial)
        asked = books.ask()
        params = draw(asked)
        study.params.append(books.get_trials(deepcopy=False)[-1])
        scores = landscape.scores(number, params, val)
        logits = bounded_logits(scores)
        sharpness = inverse_temperatures(val.targets, logits[None])[0]
        study.scores.append(scores)
        study.logits.append(sharpness * logits)
        study.own.append(auc(val.targets, scores).value)
        study.then.append(_gain(study, val.targets)[-1])
        if len(study.own) == FROM:
            study.then = _gain(study, val.targets)
    return study


def worth(landscape: Landscape, study: Study) -> tuple[float, float, float]:
    """Return the true AUCs of the best single trial, the pack as shipped, and a forward pack."""
    val, test = landscape.val, landscape.test
    one = SliceScores(val.targets, np.stack(study.scores), np.arange(len(val.targets)))
    costs = [MemberCost(1)] * len(study.own)
    found = [int(np.argmax(study.own))]
    values = [auc(test.targets, _on_test(landscape, study, found)[0]).value]
    for way in (None, FORWARD):
        pack = choose_pack([one], AUC, costs, joint="calibrated", search=way)
        assert pack is not None
        scores = _on_test(landscape, study, pack.members)
        every = SliceScores(test.targets, scores, np.arange(len(test.targets)))
        alone = pack.__class__(tuple(range(len(scores))), pack.joint)
        values.append(auc(test.targets, alone.scores(every)).value)
    return values[0], values[1], values[2]


def _on_test(landscape: Landscape, study: Study, trials: Any) -> Floats:
    return np.stack(
        [landscape.scores(10_000 + t, study.params[t].params, landscape.test) for t in trials]
    )


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description="A sampler that improves the pack.")
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--trials", type=int, default=50)
    parser.add_argument("--samples", type=int, default=75)
    parser.add_argument("--spread", type=float, default=1.0)
    parser.add_argument("--width", type=float, default=0.6)
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in WAYS}
    for seed in range(options.seeds):
        landscape = Landscape(seed, options.samples, options.spread, options.width)
        for name, rows in found.items():
            study = search(landscape, WAYS[name], seed=seed, trials=options.trials)
            rows.append(worth(landscape, study))
    print(
        f"\n{options.seeds} studies of {options.trials}, {options.samples}+{options.samples} files "
        f"of val, spread {options.spread}, width {options.width}\n"
        "| way | best single | pack as shipped | less own's | forward pack | less own's |\n"
        f"{'| --- ' * 6}|"
    )
    base = np.array(found["own"])
    for name, rows in found.items():
        values = np.array(rows)
        apart = values - base
        error = apart.std(axis=0, ddof=1) / math.sqrt(len(apart))
        mean, more = values.mean(axis=0), apart.mean(axis=0)
        print(
            f"| {name} | {mean[0]:.4f} | {mean[1]:.4f} | {more[1]:+.4f} ± {error[1]:.4f} | "
            f"{mean[2]:.4f} | {more[2]:+.4f} ± {error[2]:.4f} |"
        )


if __name__ == "__main__":
    main()
