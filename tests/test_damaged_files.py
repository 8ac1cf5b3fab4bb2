"""Each file of a study damaged in three ways: every command ends well, and the rest can be used."""

import errno
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from safetensors.torch import save_file
from sklearn.metrics import roc_auc_score
from typer.testing import CliRunner, Result

from tests.study.inline import InlineTrials
from tests.study.tiny import write_data, write_experiment
from workbench.cli.main import app
from workbench.searching import start
from workbench.searching.start import SearchOutcome
from workbench.study.folder import StudyFolder
from workbench.study.records import TrialRow, read_trials
from workbench.tracking.runs import Tracking
from workbench.trial.recipe import Recipe

# isort: split
# MLflow after workbench.tracking, which turns its telemetry off before MLflow reads the setting.
from mlflow import MlflowClient

SEARCH = ("search", "experiments/tiny.yaml", "--data", "data", "--jobs", "1", "--device", "cpu")
NAMES = [f"val{index}.{'jpg' if index % 3 else 'png'}" for index in range(16)]
SCORES = [0.9 - 0.05 * index if index % 2 else 0.4 + 0.01 * index for index in range(16)]
TARGETS = [index % 2 for index in range(16)]


def run(*words: str) -> Result:
    return CliRunner().invoke(app, [*words])


def measured(recipe: Recipe, number: int) -> float:
    return float(roc_auc_score(TARGETS, SCORES))


@pytest.fixture
def inline(monkeypatch: pytest.MonkeyPatch) -> InlineTrials:
    """Trials that train nothing, and leave scores."""
    trials = InlineTrials()
    trials.reset(measured)
    trials.scores = pd.DataFrame(
        {"slice": "val", "name": NAMES, "score": SCORES, "target": TARGETS}
    )
    run_search = start.run_search

    def search(*given: Any, **named: Any) -> SearchOutcome:
        return run_search(*given, **{**named, "make_runner": trials.make_runner})

    monkeypatch.setattr(start, "run_search", search)
    return trials


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace whose study has three trials and a registered champion. Copy it."""
    root = tmp_path_factory.mktemp("original")
    write_data(root / "data")
    write_experiment(root)
    return root


@pytest.fixture
def place(
    original: Path, tmp_path: Path, inline: InlineTrials, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A copy of it that the test stands in."""
    if not (original / "mlruns").exists():
        monkeypatch.chdir(original)
        assert run(*SEARCH, "--trials", "3").exit_code == 1  # no weights to register yet
        folder = StudyFolder(original / "experiments" / "tiny")
        for row in read_trials(folder):
            files = folder.trial(row.recipe)
            model = files.read_recipe().build_model()
            state = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
            save_file(state, files.weights)
        done = run("promote")
        assert done.exit_code == 0, done.output
        inline.trained.clear()
    copy = tmp_path / "copy"
    shutil.copytree(original, copy)
    monkeypatch.chdir(copy)
    return copy


def empty(file: Path) -> None:
    file.write_bytes(b"")


def cut(file: Path) -> None:
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) * 2 // 3])


def flip(file: Path) -> None:
    """Flip a bit of every fiftieth byte, and of at least three."""
    whole, rng = bytearray(file.read_bytes()), random.Random(0)
    for _ in range(max(3, len(whole) // 50)):
        whole[rng.randrange(len(whole))] ^= 1 << rng.randrange(7)
    file.write_bytes(whole)


DAMAGES: dict[str, Callable[[Path], None]] = {
    "empty": empty,
    "cut": cut,
    "flipped": flip,
    "gone": Path.unlink,
    "other": lambda file: other_study(file),
    "folder": lambda file: to_folder(file),
}
BEST, OTHER = "BEST", "OTHER"
FILES = [
    "experiments/.last-study",
    "experiments/tiny/study.json",
    "experiments/tiny/experiment.yaml",
    "experiments/tiny/champion.json",
    "experiments/tiny/prepared.json",
    "experiments/tiny/manifest.parquet",
    "experiments/tiny/template.csv",
    *(
        f"experiments/tiny/trials/{trial}/{name}"
        for trial in (BEST, OTHER)
        for name in ("recipe.json", "result.json", "scores.parquet", "model.safetensors")
    ),
    "experiments/cache/facts-*.jsonl",
    "experiments/cache/contents/*.parquet",
    "experiments/cache/views/*/index.jsonl",
    "experiments/cache/views/*/view.json",
    "mlruns/mlflow.db",
]


WITHOUT = ("study.json", "experiment.yaml", "champion.json", "mlflow.db")
CASES = [
    *((name, "flipped") for name in FILES if "OTHER" not in name or name.endswith(".json")),
    # The next search writes most others anew, however they are damaged.
    *((name, "gone") for name in FILES if "BEST" in name or name.endswith(WITHOUT)),
    *(
        (name, "empty")
        for name in FILES
        if name.endswith(("study.json", "BEST/result.json", ".db"))
        or name.endswith(("champion.json", "BEST/scores.parquet", "index.jsonl"))
    ),
    *((name, "cut") for name in FILES if name.endswith(("BEST/model.safetensors", "template.csv"))),
]
"""Each file with what can become of its kind: JSON, YAML, CSV, parquet, tensors, a database."""


def ends_well(done: Result) -> None:
    """Check that a command ended by itself: with 0, or with 1 and a sentence or two."""
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exc_info
    assert done.exit_code in (0, 1), done.output
    if done.exit_code == 1:
        said = done.stderr[done.stderr.index("error: ") :]
        assert len(said.strip().splitlines()) == 1, said
        assert "Traceback" not in done.output


def uids(place: Path) -> list[str]:
    rows = read_trials(StudyFolder(place / "experiments" / "tiny"))
    return [row.recipe for row in sorted(rows, key=lambda row: -(row.objective or 0))]


def store_client(place: Path) -> MlflowClient:
    return Tracking(place / "mlruns").store.client


def champion_in_mlflow(place: Path) -> str:
    """Return the recipe of the registered champion."""
    return store_client(place).get_model_version_by_alias("tiny", "champion").tags["workbench.uid"]


def trial_to_promote(place: Path) -> TrialRow:
    """Return a trial that is not the champion yet. It opens no store."""
    folder = StudyFolder(place / "experiments" / "tiny")
    champion = json.loads(folder.champion.read_text(encoding="utf-8"))
    return next(row for row in read_trials(folder) if row.recipe != champion["recipe"])


def contents(folder: Path) -> dict[str, bytes]:
    """Return what all files below a folder hold; of a folder, nothing."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b""
        for path in folder.rglob("*")
    }


@pytest.mark.slow
@pytest.mark.parametrize(("name", "damage"), CASES)
def test_a_damaged_file_never_ends_in_a_traceback(place: Path, name: str, damage: str) -> None:
    best, *others = uids(place)
    pattern = name.replace(BEST, best).replace(OTHER, others[-1])
    [file] = place.glob(pattern)
    DAMAGES[damage](file)
    for words in (("compare", "tiny"), ("promote", "tiny"), (*SEARCH, "--trials", "4")):
        done = run(*words)
        ends_well(done)
        if name.endswith(".db") and damage in ("gone", "empty") and words[0] == "promote":
            # The runs are written anew, of the trials' folders.
            assert done.exit_code == 0, done.output
            assert champion_in_mlflow(place) == best
    if "trials" in pattern and "safetensors" not in pattern:
        # One trial's file: the study goes on, and the others are ranked.
        done = run("compare", "tiny")
        assert done.exit_code == 0, done.output
        assert done.stdout.count("test_") >= 3, done.stdout


@pytest.mark.slow
def test_a_promotion_restores_the_run_of_its_trial_where_it_was_deleted_in_mlflow(
    place: Path,
) -> None:
    best = trial_to_promote(place)
    client = store_client(place)
    client.delete_run(str(best.run_id))
    done = run("promote", "tiny", "--trial", str(best.number))
    assert done.exit_code == 0, done.output
    assert "MLflow lacked 1 ended trial" in done.stderr
    assert champion_in_mlflow(place) == best.recipe
    assert client.get_run(str(best.run_id)).info.lifecycle_stage == "active"


@pytest.mark.slow
@pytest.mark.parametrize("gone", [False, True], ids=["copied", "moved"])
def test_a_promotion_in_a_copied_project_leaves_the_original_as_it_is(
    place: Path, original: Path, *, gone: bool
) -> None:
    trial = trial_to_promote(place)
    was = contents(original)
    assert any(name.endswith("mlflow.db") for name in was)
    aside = original.with_name("aside")
    if gone:
        original.rename(aside)
    try:
        done = run("promote", "tiny", "--trial", str(trial.number))
        assert original.exists() is not gone
    finally:
        if gone:
            aside.rename(original)
    assert done.exit_code == 0, done.output
    assert champion_in_mlflow(place) == trial.recipe
    assert contents(original) == was


def to_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def other_study(file: Path) -> None:
    """Make a journal that of another study."""
    file.write_text(file.read_text().replace('"study_name":"tiny"', '"study_name":"other"'))


@pytest.mark.parametrize("damage", ["empty", "flipped", "gone", "other", "folder"])
def test_a_lost_journal_is_written_anew_from_the_trials(
    place: Path, inline: InlineTrials, damage: str
) -> None:
    folder = StudyFolder(place / "experiments" / "tiny")
    before = read_trials(folder)
    DAMAGES[damage](folder.journal)
    compared = run("compare", "tiny")
    assert compared.exit_code == 1
    said = "cannot be read: is a directory" if damage == "folder" else "is"
    assert f"journal.log {said}" in compared.stderr
    assert "Run `workbench search` as before: it writes it anew" in compared.stderr
    done = run(*SEARCH, "--trials", "4")
    ends_well(done)
    assert "from their folders" in done.stderr
    after = read_trials(folder)
    assert len(inline.trained) == 1  # the fourth
    for was, row in zip(before, after[:3], strict=True):
        assert row.model_copy(update={"seconds": was.seconds}) == was
    assert after[3].number == 3
    assert after[3].recipe not in {row.recipe for row in before}


@pytest.mark.parametrize("how", [Path.rename, shutil.copytree])
def test_a_study_under_another_name_is_told_and_left_as_it_is(
    place: Path, how: Callable[[Path, Path], object]
) -> None:
    before, now = place / "experiments" / "tiny", place / "experiments" / "other"
    how(before, now)
    held = {file: file.read_bytes() for file in now.rglob("*") if file.is_file()}
    for words in (("compare", "other"), ("promote", "other"), (*SEARCH, "--study", "other")):
        done = run(*words)
        ends_well(done)
        assert f"{now.name} holds the study tiny" in done.stderr, done.output
    assert {file: file.read_bytes() for file in now.rglob("*") if file.is_file()} == held
    if not before.exists():
        now.rename(before)
    assert run("compare", "tiny").exit_code == 0


@pytest.mark.slow
def test_a_promotion_on_a_full_disk_is_a_sentence_and_changes_nothing(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    champion = place / "experiments" / "tiny" / "champion.json"
    before = champion.read_bytes()
    with monkeypatch.context() as patch:

        def full(*_: object, **__: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        patch.setattr("workbench.tracking.registry._save_model", full)
        patch.setattr("workbench.access.no_space", lambda folder: True)
        done = run("promote", "tiny", "--trial", "1")
    ends_well(done)
    assert "Make space; the same command then goes on." in done.stderr, done.output
    assert champion.read_bytes() == before
    assert run("promote", "tiny", "--trial", "1").exit_code == 0


def test_a_trial_with_the_files_of_another_is_not_ranked(place: Path) -> None:
    best, other, _ = uids(place)
    trials = place / "experiments" / "tiny" / "trials"
    (trials / best).rename(trials / "away")
    (trials / other).rename(trials / best)
    (trials / "away").rename(trials / other)
    done = run("compare", "tiny")
    assert "1 complete, 0 pruned, 2 failed" in done.stdout, done.output
