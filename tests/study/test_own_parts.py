"""Parts of a user's own in a study: trained, named in the recipe, and kept to."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.own_parts import LOSS
from tests.study.conftest import Bench
from tests.study.inline import InlineTrials
from tests.study.tiny import THREE
from workbench.errors import ConfigError, StudyError
from workbench.files import write_json
from workbench.maintenance.study_export import export_study
from workbench.maintenance.study_import import import_study
from workbench.space.experiment import read_experiment
from workbench.study.folder import StudyFolder
from workbench.study.records import read_trials
from workbench.trial.recipe import Recipe
from workbench.workspace import Workspace


def with_loss(bench: Bench, source: str = LOSS, **keys: Any) -> Path:
    """Write an experiment with an own loss of this text."""
    loss = {
        "choice": [{"kind": "brier", "power": {"choice": [2.0, 4.0]}}, {"kind": "cross_entropy"}]
    }
    space = {**THREE, "dropout": 0.0, "loss": loss | keys}
    file = bench.experiment(space, plugins=["my_parts.py"])
    (file.parent / "my_parts.py").write_text(source, encoding="utf-8")
    return file


def recipes(folder: StudyFolder) -> list[Recipe]:
    return [folder.trial(row.recipe).read_recipe() for row in read_trials(folder)]


@pytest.mark.slow
def test_a_loss_of_ones_own_is_trained_by_a_worker(bench: Bench) -> None:
    file = with_loss(bench, LOSS.replace("** self.power", "* 0 + 7"), choice=[{"kind": "brier"}])
    folder = bench.search(file, 1).folder
    (row,) = read_trials(folder)
    assert row.state == "complete", row.reason
    assert [epoch.train_loss for epoch in row.epochs] == [7.0, 7.0]


def test_only_recipes_with_an_own_part_hold_its_file(bench: Bench, inline: InlineTrials) -> None:
    outcome = bench.search(with_loss(bench), 3)
    held = {str(recipe.training.loss.kind): recipe.plugins for recipe in recipes(outcome.folder)}
    assert held["cross_entropy"] == ()
    (plugin,) = held["brier"]
    assert (plugin.file, plugin.source) == ("my_parts.py", LOSS)
    # Its text is part of what names a trial.
    (own, *_) = [recipe for recipe in inline.trained if recipe.plugins]
    assert own.replaced(plugins=()).fingerprint != own.fingerprint
    assert own.flat()["plugin.my_parts.py"] == plugin.sha256


def test_a_study_keeps_to_the_text_that_it_began_with(bench: Bench, inline: InlineTrials) -> None:
    file = with_loss(bench)
    bench.search(file, 1)
    (file.parent / "my_parts.py").write_text(LOSS + "# changed\n", encoding="utf-8")
    with pytest.raises(StudyError, match=r"its plugins \(were my_parts.py \(.{12}\)\) changed"):
        bench.search(file, 2)
    (file.parent / "my_parts.py").write_text(LOSS, encoding="utf-8")
    assert bench.search(file, 2).num_new == 1


@pytest.mark.parametrize("name", ["../elsewhere.py", "/tmp/elsewhere.py", "none.py", "data.txt"])
def test_a_plugin_lies_in_the_folder_of_the_experiment(bench: Bench, name: str) -> None:
    file = bench.experiment(THREE, plugins=[name])
    (bench.workspace.root / "elsewhere.py").write_text(LOSS, encoding="utf-8")
    (file.parent / "data.txt").write_text(LOSS, encoding="utf-8")
    with pytest.raises(ConfigError, match=name.rpartition("/")[2]):
        read_experiment(file)


@pytest.mark.parametrize(
    ("name", "source", "said"),
    [
        ("none_such.py", None, "cannot be read: no such file or directory. Correct `plugins`."),
        ("My-Parts.py", LOSS, "Call it by small letters, digits and _, e.g. my_parts.py."),
        ("wrong.py", "1 / 0", "cannot be used: it ends with ZeroDivisionError: division by zero"),
        ("leaves.py", "raise SystemExit(0)", "cannot be used: it ends with SystemExit: 0"),
    ],
)
def test_a_plugin_that_cannot_be_used_is_told_in_a_sentence(
    bench: Bench, name: str, source: str | None, said: str
) -> None:
    file = bench.experiment(THREE, plugins=[name])
    if source is not None:
        (file.parent / name).write_text(source, encoding="utf-8")
    with pytest.raises(ConfigError) as told:
        read_experiment(file)
    assert str(told.value).startswith(f"The plugin {file.parent / name} ")
    assert said in str(told.value)


def test_a_study_with_plugins_is_imported_where_it_is_trusted(
    bench: Bench, inline: InlineTrials, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = bench.search(with_loss(bench), 2).folder
    export_study(folder, bench.workspace.tracking, tmp_path / "study.tar")
    there = Workspace(tmp_path / "there")
    with pytest.raises(StudyError, match="--trust-plugins"):
        import_study(tmp_path / "study.tar", there)
    assert not (there.studies / folder.name).exists()
    imported = import_study(tmp_path / "study.tar", there, trust_plugins=True)
    assert recipes(imported.folder) == recipes(folder)
    # The experiment that is written for it can be read there, and its parts are files again.
    (plugin,) = read_experiment(there.root / imported.experiment)[0].plugins
    assert plugin.source == LOSS == (there.studies / "my_parts.py").read_text(encoding="utf-8")


def test_a_program_in_the_record_of_a_pack_is_not_imported_unasked(
    bench: Bench, inline: InlineTrials, tmp_path: Path
) -> None:
    folder = bench.search(bench.experiment(THREE), 1).folder
    pack = folder.path / "packs" / "0123456789ab" / "pack.json"
    deep: list[object] = []
    for _ in range(900):
        deep = [deep]
    own = {"plugins": [{"file": "a.py", "source": "1 / 0"}]}
    pack.parent.mkdir(parents=True)
    pack.write_text(json.dumps({"members": [{"trained": own}], "other": deep}))
    (folder.path / "packs" / "recipe.json").mkdir()  # no record
    write_json(folder.path / "packs" / "recipe.json" / "more.json", {})
    export_study(folder, bench.workspace.tracking, tmp_path / "study.tar")
    there = Workspace(tmp_path / "there")
    with pytest.raises(StudyError, match="--trust-plugins"):
        import_study(tmp_path / "study.tar", there)
    assert not (there.studies / folder.name).exists()


def test_a_record_too_deep_to_be_looked_through_is_not_imported(
    bench: Bench, inline: InlineTrials, tmp_path: Path
) -> None:
    # By how deep its caller stands, JSON of such a depth can be read or not: a command that stands
    # less deep than the import would run the plugin.
    folder = bench.search(bench.experiment(THREE), 1).folder
    own = '{"plugins": [{"file": "a.py", "source": "1 / 0"}], "x": ' + "[" * 2000 + "]" * 2000 + "}"
    hidden = folder.path / "trials" / "0123456789ab"
    hidden.mkdir()
    (hidden / "recipe.json").write_text(own)
    export_study(folder, bench.workspace.tracking, tmp_path / "study.tar")
    there = Workspace(tmp_path / "there")
    with pytest.raises(StudyError, match="json of the archive is nested too deep"):
        import_study(tmp_path / "study.tar", there)
    assert not (there.studies / folder.name).exists()
