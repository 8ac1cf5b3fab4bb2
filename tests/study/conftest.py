"""One data folder, cache and tracking store for all tests of studies: each study has its name."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.study.inline import InlinePool
from tests.study.tiny import SPACE, write_data, write_experiment
from workbench.search import loop as search_module
from workbench.search.start import Outcome, SearchRequest, run_search
from workbench.tracking.runs import Tracking, TrialRun
from workbench.workspace import Workspace


@dataclass
class Bench:
    """A workspace in which studies are searched."""

    workspace: Workspace
    data: Path
    counter: Iterator[int] = field(default_factory=itertools.count)

    def experiment(self, space: dict[str, Any] = SPACE, **keys: Any) -> Path:
        """Write an experiment of a new name and return its file."""
        return write_experiment(
            self.workspace.root, space, name=f"study{next(self.counter)}", **keys
        )

    def search(self, experiment: Path, num_trials: int, **options: Any) -> Outcome:
        """Search one sitting, on one worker unless told otherwise."""
        start_from = options.pop("start_from", ())
        usual: dict[str, Any] = {"data": self.data, "jobs": 1, "device": "cpu"}
        asked = SearchRequest(num_trials=num_trials, **usual | options)
        return run_search(experiment, self.workspace, asked, start_from=start_from)

    def runs(self, outcome: Outcome) -> list[TrialRun]:
        """Return what the tracking store has of the study's trials."""
        tracking = Tracking(self.workspace.tracking)
        info = outcome.folder.info()
        return tracking.trial_runs(tracking.find_study(info.name, info.id))


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    root = tmp_path_factory.mktemp("bench")
    return Bench(Workspace(root), write_data(root / "data"))


@pytest.fixture
def inline(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[InlinePool]]:
    """Trials that train nothing; see `InlinePool`."""
    InlinePool.reset()
    monkeypatch.setattr(search_module, "WorkerPool", InlinePool)
    yield InlinePool
    InlinePool.reset()
