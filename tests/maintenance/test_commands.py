"""The commands about whole studies, as a person types them."""

import json
import re
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from tests.maintenance.conftest import with_weights
from tests.study.conftest import Bench
from tests.study.inline import InlineTrials
from workbench.cli.main import app
from workbench.searching.options import RunOptions
from workbench.searching.start import run_preset
from workbench.study.folder import StudyFolder


def run(*words: str, answer: str | None = None, code: int = 0) -> Result:
    result = CliRunner().invoke(app, list(words), input=answer)
    assert result.exit_code == code, result.output
    # But for those that name a temporary folder, which may be any length.
    lines = [line for line in result.stdout.splitlines() if not re.search(r"(^|\s)/", line)]
    assert all(len(line) <= 80 for line in lines), result.stdout
    return result


def cells(result: Result, number: int) -> list[list[str]]:
    """Return the first words of each line."""
    return [line.split()[:number] for line in result.stdout.splitlines()]


@pytest.mark.slow
def test_a_study_is_listed_cleaned_moved_and_deleted(
    bench: Bench, trials: InlineTrials, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trials.weights_bytes = 1_000_000
    folder = bench.search(bench.experiment(), 4).folder
    root = bench.workspace.root
    monkeypatch.chdir(root)
    assert ["study0", "4", "0", "0", "0", "-"] in cells(run("studies"), 6)
    [listed] = json.loads(run("studies", "--json").stdout)
    assert (listed["complete"], listed["size"]["weights"]) == (4, 4_000_000)

    said = run("clean", "--keep", "1", "--dry-run")
    assert ["weights", "4.0", "MB", "3.0", "MB"] in cells(said, 5)
    run("clean", "--keep", "1", answer="n\n", code=1)
    assert with_weights(folder) == {0, 1, 2, 3}
    assert "3.0 MB deleted" in run("clean", "--keep", "1", "--yes").stdout
    assert len(with_weights(folder)) == 1
    assert "Nothing to delete." in run("clean", "--keep", "1").stdout
    plan = json.loads(run("clean", "--keep", "1", "--dry-run", "--json").stdout)
    assert plan["deletions"] == []

    assert "4 trials, 0 checkpoints" in run("study-export").stdout
    assert "error: study0.tar exists." in run("study-export", code=1).stderr
    refused = run("study-import", "study0.tar", code=1)
    assert "There is a study study0 in" in refused.stderr
    run("studies", "--delete", "study0", answer="n\n", code=1)
    assert folder.info_file.exists()
    assert (
        "is deleted: its folder, 5 MLflow runs"
        in run("studies", "--delete", "study0", "--yes").stdout
    )
    assert "There is no study in" in run("studies").stdout
    came = run("study-import", "study0.tar").stdout
    assert "Next: workbench search experiments/study0.yaml --data DIR --trials N" in came
    assert StudyFolder(folder.path).info().name == "study0"
    nobody = run("studies", "--delete", "study1", code=1)
    assert "There is no study 'study1'" in nobody.stderr


def test_a_known_recipe_that_came_goes_on_by_train(
    bench: Bench, trials: InlineTrials, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = bench.workspace.root
    monkeypatch.chdir(root)
    tree = {
        "views": {"image": {"kind": "image", "image_px": 32}},
        "backbone": "test_resnet",
        "pretrained": "none",
        "image_px": 32,
        "num_epochs": 1,
        "batch_size": 8,
        "optimizer": {"kind": "adamw", "lr": 1e-3},
        "members": [{}, {"dropout": 0.1}],
    }
    file = Path("pair.yaml")
    file.write_text(yaml.safe_dump(tree), encoding="utf-8")
    options = RunOptions(num_trials=1, data=bench.data, jobs=1, device="cpu")
    run_preset(file, bench.workspace, options, make_runner=trials.make_runner)
    run("study-export")
    run("studies", "--delete", "pair", "--yes")
    came = run("study-import", "pair.tar").stdout
    assert came.endswith("Next: workbench train pair.yaml --data DIR\n")
    assert "not here" not in came
    # Where its file is not, no experiment of its members is written: a search would draw others.
    run("studies", "--delete", "pair", "--yes")
    file.unlink()
    came = run("study-import", "pair.tar").stdout
    assert "Its known recipe is not here: put pair.yaml where you work" in came
    assert came.endswith("Next: workbench train pair.yaml --data DIR\n")
    assert not Path("experiments/pair.yaml").exists()
    assert not Path("search_spaces").exists()
