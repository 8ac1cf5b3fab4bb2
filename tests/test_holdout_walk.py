"""The locked holdout by the commands: all but `audit` run where its labels cannot be read."""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner, Result

from tests.study.tiny import SPACE, write_data, write_experiment
from workbench.cli.main import app
from workbench.data.holdout import Holdout, holdout_of
from workbench.data.manifest import Layout, read_manifest
from workbench.files import hash_file
from workbench.study.folder import StudyFolder
from workbench.study.looks import read_looks
from workbench.study.records import read_trials

pytestmark = pytest.mark.slow

ONE = {**SPACE, "backbone": "test_resnet", "num_epochs": 1}
opened: list[str] = []
"""Every path that this process opened while a test watches."""
watched: list[Path] = []


def _note(event: str, arguments: tuple[object, ...]) -> None:
    if watched and event == "open" and isinstance(arguments[0], str | bytes):
        opened.append(os.fsdecode(arguments[0]))


sys.addaudithook(_note)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_data(tmp_path / "data")
    return tmp_path


@pytest.fixture
def watching() -> Iterator[None]:
    opened.clear()
    watched.append(Path())
    yield
    watched.clear()


def run(*words: str, code: int = 0) -> Result:
    done = CliRunner().invoke(app, [*words])
    assert done.exit_code == code, done.output
    return done


def walk(name: str) -> None:
    """Run every command that reads data, trains, scores, chooses or predicts."""
    experiment, data = f"experiments/{name}.yaml", ("--data", "data")
    run("prepare", experiment, *data, "--verify")
    run("check", experiment, *data)
    run("show", experiment, *data)
    search = ("search", experiment, *data, "--trials", "2", "--jobs", "1", "--device", "cpu")
    run(*search, "--finalists", "1x1")
    run("compare", name)
    run("compare", name, "--json")
    run("finalists", name, "--top", "1", "--seeds", "1", "--json")
    run("promote", name)
    run("promote", name, "--trial", "0")
    run("export", name, "--out", f"{name}-bundle")
    files = sorted(str(file) for file in Path("data/testset").iterdir())
    run("predict", f"{name}-bundle", *files, "--out", f"{name}.csv")


def test_every_command_but_audit_runs_without_the_labels_of_a_folder(
    root: Path, watching: None
) -> None:
    labels = write_data(root / "held", seed=1) / "val_label.txt"
    (root / "held" / "train_label.txt").unlink()
    text = labels.read_text()
    labels.unlink()
    labels.symlink_to(root / "nowhere")  # whoever reads it ends in an error
    write_experiment(root, ONE, name="apart", holdout={"data": "held"})
    opened.clear()  # what this test opened itself
    walk("apart")
    assert opened and not [path for path in opened if "held" in Path(path).parts]

    said = run("audit", "apart", code=1).stderr
    assert said.startswith("error: The holdout held has no label file")
    folder = StudyFolder(root / "experiments" / "apart")
    assert read_looks(folder) == []

    labels.unlink()
    labels.write_text(text)
    first = run("audit", "apart", "--trial", "0").stdout
    assert "look 1." in first and "16 files" in first
    told = json.loads(run("audit", "apart", "--trial", "0", "--json").stdout)
    one, two = read_looks(folder)
    assert json.loads(two.model_dump_json()).items() <= told.items()
    assert (one.is_told, two.is_told) == (True, False)
    assert (one.value, one.of_recipe) == (two.value, two.of_recipe)
    assert one.trial == 0 and one.num_files == 16
    run("audit", "apart", "--trial", "1")
    assert "looked at 3 times" in run("compare", "apart").stdout

    # The trial is trained again to other weights: no value of the old ones is told as theirs.
    stood = read_looks(folder)[-1]
    files = folder.trial(stood.of_recipe)
    tensors = load_file(files.weights)
    save_file({name: tensor * 1.5 for name, tensor in tensors.items()}, files.weights)
    result = files.read_result()
    assert result is not None
    files.write_result(result.model_copy(update={"weights_sha256": hash_file(files.weights)}))
    for number in ("0", "1"):
        said = run("audit", "apart", "--trial", number, code=1).stderr
        assert f"is that of {stood.of_title} with other weights than" in said
    assert len(read_looks(folder)) == 3


def test_a_share_is_in_no_split_and_audit_reads_it(root: Path) -> None:
    write_experiment(root, ONE, name="dealt", holdout={"share": 0.3})
    walk("dealt")
    whole = read_manifest(root / "data", Layout(), cache=root / "experiments" / "cache")
    held = set(holdout_of(whole, Holdout(share=0.3)).table["name"])
    assert len(held) == 12
    folder = StudyFolder(root / "experiments" / "dealt")
    assert not held & set(pd.read_parquet(folder.manifest)["name"])
    for row in read_trials(folder):
        assert not held & set(folder.trial(row.recipe).read_scores()["name"])
    assert "12 files" in run("audit", "dealt").stdout
    [look] = read_looks(folder)
    assert look.num_files == 12 and 0 <= look.value <= 1

    labels = root / "data" / "val_label.txt"
    labels.write_text(labels.read_text().replace("val1.jpg,1\n", ""))
    assert "changed since the study dealt began" in run("audit", "dealt", code=1).stderr
    assert len(read_looks(folder)) == 1


def test_a_study_without_a_holdout_says_how_to_have_one(root: Path) -> None:
    write_experiment(root, ONE, name="open")
    search = ("search", "experiments/open.yaml", "--data", "data", "--trials", "1")
    run(*search, "--jobs", "1", "--device", "cpu")
    assert "was begun without a holdout" in run("audit", "open", code=1).stderr
