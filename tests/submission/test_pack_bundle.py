"""The bundle of a pack, run in an environment that does not have this project."""

import csv
import os
import re
import subprocess
import sysconfig
import venv
from pathlib import Path

import pytest
import yaml

from tests.commands import ENVIRONMENT, WAIT_S
from tests.selection.studies import row
from tests.submission.made_study import TrainedStudy
from workbench.data.prepare import Prepared
from workbench.files import hash_file, write_text
from workbench.parts.joint import LinearOfLogits
from workbench.selection.champion import read_champion
from workbench.selection.packing import Ingredient, record_of, write_pack
from workbench.study.folder import StudyFolder
from workbench.study.packs import PackFolder
from workbench.submission.bundle import export
from workbench.submission.scored_files import read_scored_files
from workbench.trial.recipe import Recipe
from workbench.trial.train import run_trial

pytestmark = pytest.mark.slow


def test_a_pack_gives_the_same_numbers_where_the_project_is_not_installed(
    study: TrainedStudy, own_study: StudyFolder, tmp_path: Path
) -> None:
    pack = promoted_pack(own_study)
    export(own_study, tmp_path / "bundle", allow_missing=True)
    readme = (tmp_path / "bundle" / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"this member \| ([\d.]+) \|", readme) == ["3.5", "1.5"]
    assert re.findall(r"all of it \| ([\d.]+) \|", readme) == ["5.0"]

    stored = pack.read_scores().query("slice == 'test'").set_index("name")["score"]
    python = elsewhere(tmp_path / "elsewhere")
    absent = outside(tmp_path, python, "-c", "import numpy, torch, workbench")
    assert "No module named 'workbench'" in absent.stderr
    names = ["t0.mp4", "t1.mp4", "mute.mp4", "broken.mp4"]
    files = [str(study.data / "testset" / name) for name in names]
    done = outside(tmp_path, python, "bundle/predict.py", *files, "--out", "scores.csv")
    assert done.returncode == 0, done.stderr
    with (tmp_path / "scores.csv").open(newline="", encoding="utf-8") as file:
        found = {name: float(value) for name, value in list(csv.reader(file))[1:]}
    assert list(found) == names
    assert list(found.values()) == pytest.approx(stored[names].tolist(), abs=1e-5)
    assert len({round(value, 6) for value in found.values()}) > 1


def test_a_file_that_members_scored_unlike_is_no_score_of_the_pack(
    own_study: StudyFolder, tmp_path: Path
) -> None:
    # As up to version 0.2, where a study went on once a file that had failed could be read.
    early = own_study.trial(read_champion(own_study).recipe)
    scores, result = early.read_scores(), early.read_result()
    assert result is not None
    early.write_scores(scores.assign(neutral=scores["neutral"] | (scores["name"] == "t0.mp4")))
    early.write_result(result.model_copy(update={"scores_sha256": hash_file(early.scores)}))
    promoted_pack(own_study)
    bundle = export(own_study, tmp_path / "bundle", allow_missing=True)
    files = {file.name: file for file in read_scored_files(bundle.path)}
    assert files["t0.mp4"].neutral == "wholly"
    assert files["t0.mp4"].why == "only some members had it when they scored it"
    assert (files["t1.mp4"].neutral, files["mute.mp4"].neutral) == ("no", "partly")
    assert "4 of the 7 test files got a neutral score" in bundle.neutral.sentence


def promoted_pack(folder: StudyFolder) -> PackFolder:
    """Train another trial, of one view; join it with the study's own, and promote the pack."""
    champion = read_champion(folder)
    first = folder.trial(champion.recipe).read_recipe()
    mel = {"mel": first.model.views["mel"]}
    model = first.model.model_copy(update={"views": mel, "image_px": 48})
    # Made anew: a copy would keep the name of the first one's trial.
    changed = first.model_copy(update={"model": model, "seed": 1})
    second = Recipe.model_validate_json(changed.model_dump_json())
    prepared = Prepared.load(folder.path)
    ended = run_trial(
        second, prepared, folder.trial(second.uid).path, device="cpu", report=lambda _: "go on"
    )
    assert ended.state == "complete", ended.reason
    ingredients = [
        Ingredient(folder, row(number, value, recipe=recipe.uid, ms_per_file=time))
        for number, value, recipe, time in (
            (7, champion.value, first, 3.5),
            (8, ended.objective, second, 1.5),
        )
    ]
    joint = LinearOfLogits(weights=(0.75, 0.5), bias=0.25)
    record = record_of(ingredients, joint, champion.objective, num_trials=2)
    files = write_pack(folder, record, ingredients)
    result = files.read_result()
    assert result is not None
    told = {"number": None, "recipe": record.uid, "members": ("7", "8"), "value": result.objective}
    write_text(folder.champion, champion.model_copy(update=told).model_dump_json(indent=2) + "\n")
    about = yaml.safe_load(folder.experiment_file.read_text(encoding="utf-8"))
    about["experiment"]["rulebook"]["single_model"] = "module"
    write_text(folder.experiment_file, yaml.safe_dump(about, sort_keys=False))
    return files


def elsewhere(place: Path) -> Path:
    """Return the Python of a new environment with what pip installed here, and not this project.

    What lies in the folder of packages is there. What only an entry in a .pth file of that folder
    puts on the path is not: an editable project, such as this one where it is developed.
    """
    venv.create(place, with_pip=False, symlinks=True)
    python = place / "bin" / "python"
    where = "import sysconfig; print(sysconfig.get_paths()['purelib'])"
    packages = Path(outside(place, python, "-c", where).stdout.strip())
    here = sysconfig.get_paths()
    text = "".join(f"{folder}\n" for folder in sorted({here["purelib"], here["platlib"]}))
    (packages / "libraries.pth").write_text(text, encoding="utf-8")
    return python


def outside(root: Path, python: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a program in folder `root` by another Python, with nothing of this one's settings."""
    kept = {key: value for key, value in ENVIRONMENT.items() if not key.startswith("PYTHON")}
    return subprocess.run(
        [python, *words],
        cwd=root,
        env={**kept, "PATH": os.defpath},
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )
