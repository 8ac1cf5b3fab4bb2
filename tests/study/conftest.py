"""One data folder, cache and tracking store for all tests of studies: each study has its name."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.study.inline import InlineTrials
from tests.study.tiny import SPACE, write_data, write_experiment
from workbench.searching.local_runner import LocalRunner
from workbench.searching.options import RunOptions
from workbench.searching.runner import MakeRunner
from workbench.searching.start import SearchOutcome, run_search
from workbench.study.folder import StudyFolder
from workbench.tracking.runs import Tracking, TrialRun
from workbench.workspace import Workspace


def require_own(folder: StudyFolder) -> None:
    """Require that the study knows all that lies in its folder: a deletion leaves the rest."""
    assert not [place.name for place in folder.path.iterdir() if not folder.is_own(place.name)]


@dataclass
class Bench:
    """A workspace in which studies are searched."""

    workspace: Workspace
    data: Path
    make_runner: MakeRunner = LocalRunner
    """What trains, unless a search is told otherwise."""

    counter: Iterator[int] = field(default_factory=itertools.count)

    def experiment(self, space: dict[str, Any] = SPACE, **keys: Any) -> Path:
        """Write an experiment of a new name and return its file."""
        return write_experiment(
            self.workspace.root, space, name=f"study{next(self.counter)}", **keys
        )

    def search(self, experiment: Path, num_trials: int, **options: Any) -> SearchOutcome:
        """Search, on one worker unless told otherwise."""
        start_from = options.pop("start_from", ())
        make_runner = options.pop("make_runner", self.make_runner)
        usual: dict[str, Any] = {"data": self.data, "jobs": 1, "device": "cpu"}
        outcome = run_search(
            experiment,
            self.workspace,
            RunOptions(num_trials=num_trials, **usual | options),
            start_from=start_from,
            make_runner=make_runner,
        )
        require_own(outcome.folder)
        return outcome

    def runs(self, outcome: SearchOutcome) -> list[TrialRun]:
        """Return what the tracking store has of the study's trials."""
        tracking = Tracking(self.workspace.tracking)
        info = outcome.folder.info()
        return tracking.trial_runs(tracking.find_study(info.name, info.id))


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    root = tmp_path_factory.mktemp("bench")
    return Bench(Workspace(root), write_data(root / "data"))


@pytest.fixture
def inline(bench: Bench) -> Iterator[InlineTrials]:
    """Trials that train nothing, in all searches of the bench; see `InlineTrials`."""
    trials = InlineTrials()
    bench.make_runner = trials.make_runner
    yield trials
    bench.make_runner = LocalRunner
