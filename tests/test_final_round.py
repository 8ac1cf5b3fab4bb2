"""The final round by the real commands: trained, cut off, gone on with, promoted and exported."""

import json
import signal
import subprocess
from pathlib import Path

import pytest

from tests.commands import COMMAND, ENVIRONMENT, WAIT_S, run, run_here
from tests.study.conftest import require_own
from tests.study.tiny import SPACE, write_data, write_experiment
from tests.test_main_job import until
from workbench.study.folder import StudyFolder
from workbench.study.records import read_trials
from workbench.study.repeats import read_repeats
from workbench.submission.training_record import read_training

pytestmark = pytest.mark.slow


def test_search_with_finalists_then_more_of_them_through_a_kill(tmp_path: Path) -> None:
    write_data(tmp_path / "data")
    write_experiment(tmp_path, {**SPACE, "num_epochs": 6})
    folder = StudyFolder(tmp_path / "experiments" / "tiny")
    search = ("search", "experiments/tiny.yaml", "--data", "data", "--trials", "3")
    said = run(tmp_path, *search, "--jobs", "2", "--finalists", "2x1").stdout
    assert "Finalists:" in said and "finalists" in said.split("Champion:")[1]
    assert len(read_repeats(folder)) == 2

    process = subprocess.Popen(
        [COMMAND, "finalists", "--top", "2", "--seeds", "3", "--jobs", "1"],
        cwd=tmp_path,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        until(lambda: len(read_repeats(folder)) > 2)
        ended = {
            repeat.recipe: folder.repeat(repeat.recipe).result.stat().st_mtime_ns
            for repeat in read_repeats(folder)
            if folder.repeat(repeat.recipe).result.exists()
        }
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=WAIT_S)
    told = json.loads(run(tmp_path, "finalists", "--top", "2", "--seeds", "3", "--json").stdout)
    assert [len(one["repeats"]) for one in told["finalists"]] == [3, 3]
    assert told["missing"] == 0 and told["seed_deviation"] >= 0
    assert len(ended) >= 2
    for recipe, written in ended.items():
        assert folder.repeat(recipe).result.stat().st_mtime_ns == written

    champion = json.loads(folder.champion.read_text())
    best = told["finalists"][0]
    assert champion["number"] == best["number"]
    assert champion["recipe"] in [repeat["recipe"] for repeat in best["repeats"]]
    assert [row.number for row in read_trials(folder)] == [0, 1, 2]
    assert "Seeds move auc by" in run_here(tmp_path, "compare")
    run_here(tmp_path, "export", "--out", "bundle")
    training = read_training(tmp_path / "bundle")
    assert training.spread is not None
    assert training.spread.num_repeats == 6
    assert training.spread.deviation == pytest.approx(told["seed_deviation"])
    assert len(training.repeats) == 2  # of the three, one is the model
    files = sorted(str(file) for file in (tmp_path / "data" / "testset").iterdir())
    run_here(tmp_path, "predict", "bundle", *files, "--out", "predictions.csv")
    assert (tmp_path / "predictions.csv").exists()
    require_own(folder)
