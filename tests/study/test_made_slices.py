"""Slices whose data are made before a search: degraded copies."""

import numpy as np
import pytest

from tests.study.conftest import Bench
from tests.study.inline import InlineTrials
from tests.study.tiny import THREE
from workbench.data.prepare import Prepared
from workbench.errors import ConfigError
from workbench.study.records import read_trials

OVER = {"over": ["val", "degraded.jpeg30"], "aggregate": "worst"}


@pytest.mark.slow
def test_a_trial_is_scored_on_the_copies_that_the_objective_and_the_report_name(
    bench: Bench,
) -> None:
    file = bench.experiment(THREE, objective=OVER, slices=["degraded.picture-noise"])
    outcome = bench.search(file, 1)
    [row] = read_trials(outcome.folder)
    scores = outcome.folder.trial(row.uid).read_scores()
    by_slice = {
        str(name): rows.set_index("name")["score"] for name, rows in scores.groupby("slice")
    }
    assert set(by_slice) == {"val", "degraded.jpeg30", "degraded.picture-noise", "test"}
    val = by_slice["val"]
    for name in ("degraded.jpeg30", "degraded.picture-noise"):
        assert list(by_slice[name].index) == list(val.index)
        assert (np.abs(by_slice[name] - val) > 1e-6).all()


def test_a_study_that_goes_on_has_the_same_copies(bench: Bench, inline: InlineTrials) -> None:
    file = bench.experiment(THREE, objective={"over": ["degraded"]})
    folder = bench.search(file, 1).folder
    before = Prepared.load(folder.path).beside
    assert [*before] == ["degraded.jpeg30"]
    bench.search(file, 2)
    after = Prepared.load(folder.path).beside["degraded.jpeg30"]
    assert after.table.equals(before["degraded.jpeg30"].table)


def test_a_copy_that_no_view_notices_is_told_and_left_out(
    bench: Bench, inline: InlineTrials, capsys: pytest.CaptureFixture[str]
) -> None:
    file = bench.experiment(THREE, objective={"over": ["val", "degraded.room"]})
    folder = bench.search(file, 1).folder
    assert not Prepared.load(folder.path).beside
    assert "No degraded: no copy that was asked for differs" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"objective": {"over": ["degraded.fog"]}}, "no degradation 'fog'"),
        ({"slices": ["fog"]}, "`slices` names 'fog'"),
    ],
)
def test_what_there_is_not_is_refused(
    bench: Bench, inline: InlineTrials, keys: dict[str, object], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        bench.search(bench.experiment(THREE, **keys), 1)
