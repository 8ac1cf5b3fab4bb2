"""A study that was cut off is exported and goes on elsewhere; its trials train nothing."""

import copy
import errno
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.maintenance.conftest import ranked, write_champion
from tests.study.conftest import Bench
from tests.study.inline import InlineTrials
from workbench.access import is_locked
from workbench.errors import AccessError, StudyError
from workbench.files import write_text
from workbench.folders import put_new, sweep_spare
from workbench.maintenance import archive, study_export, study_import
from workbench.maintenance.archive import (
    UNPACKED,
    ArchiveManifest,
    entry_of,
    read_manifest,
    write_archive,
)
from workbench.maintenance.listing import list_studies
from workbench.maintenance.study_export import describe_exported, export_study
from workbench.maintenance.study_import import LOCK, describe_imported, import_study
from workbench.maintenance.unpacked import keep_to_cache, rename_runs
from workbench.selection.champion import Champion, read_champion
from workbench.study.folder import StudyFolder, StudyInfo
from workbench.study.records import read_trials
from workbench.tracking.runs import Tracking
from workbench.trial.recipe import Recipe
from workbench.workspace import Workspace
from workbench.yaml_files import read_yaml

HALVING = {"kind": "halving", "warmup_epochs": 1}
ENDED = ("complete", "pruned", "failed")
SAMPLER = {"kind": "tpe", "startup_trials": 2}


def told(folder: StudyFolder) -> Iterator[tuple[object, ...]]:
    for row in read_trials(folder):
        yield row.number, row.state, row.recipe, row.objective, row.epochs


def require_record(bench: Bench, folder: StudyFolder) -> None:
    """Check that each ended trial has one run in the store of its workspace, with its files."""
    info, tracking = folder.info(), Tracking(bench.workspace.tracking)
    runs = tracking.trial_runs(tracking.find_study(info.name, info.id))
    ended = {run.run_id: run for run in runs if run.state in ENDED}
    rows = read_trials(folder)
    assert {row.run_id for row in rows} == ended.keys()
    for row in rows:
        run_id = str(row.run_id)
        assert (ended[run_id].uid, ended[run_id].state) == (row.recipe, row.state)
        place = bench.workspace.tracking / "artifacts" / folder.name / run_id / "artifacts"
        assert tracking.store.client.get_run(run_id).info.artifact_uri == place.as_uri()
        assert (place / "recipe.json").is_file()
        assert tracking.logged_epochs(run_id) == {epoch.epoch for epoch in row.epochs}
    tracking.store.close()


@pytest.fixture
def cut_off(bench: Bench, trials: InlineTrials, tmp_path: Path) -> Bench:
    """A workspace as a kill in the middle of the fifth trial left it, with trials that wait."""
    killed = tmp_path / "killed"

    def curve(recipe: Recipe, number: int) -> float:
        if len(trials.trained) >= 5 and number == 2 and not killed.exists():
            shutil.copytree(bench.workspace.root, killed)
            raise KeyboardInterrupt
        return 0.5 + number / 10 - recipe.training.optimizer.lr

    trials.reset(curve)
    with pytest.raises(KeyboardInterrupt):
        bench.search(bench.experiment(pruning=HALVING, sampler=SAMPLER), 9)
    return Bench(Workspace(killed), killed / "data", trials.make_runner)


def test_it_goes_on_as_if_it_had_never_moved(
    cut_off: Bench,
    trials: InlineTrials,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    here = StudyFolder(cut_off.workspace.studies / "study0")
    [before] = list_studies(cut_off.workspace)
    assert before.open == 1
    assert before.paused >= 1
    kept = copy.deepcopy(trials.kept)

    exported = export_study(here, cut_off.workspace.tracking, tmp_path / "study.tar")
    assert exported.left_out == ()
    said = describe_exported(exported)
    assert f"{len(exported.manifest.runs.runs)} MLflow run" in said
    with pytest.raises(StudyError, match=r"study\.tar exists"):
        export_study(here, cut_off.workspace.tracking, tmp_path / "study.tar")
    assert not any("cache" in name for name in exported.manifest.files)

    root = tmp_path / "quite elsewhere" / "there"
    root.mkdir(parents=True)
    there = Bench(Workspace(root), root / "media", trials.make_runner)
    shutil.copytree(cut_off.data, there.data)
    studies = there.workspace.studies
    killed = studies / f"{UNPACKED}{'0f' * 8}"
    (killed / "study").mkdir(parents=True)

    def extract(file: Path, place: Path) -> ArchiveManifest:
        assert is_locked(studies / LOCK)
        assert not killed.exists()
        sweep_spare(studies, UNPACKED)  # as `clean` would at this moment
        assert place.is_dir()
        return archive.extract(file, place)

    monkeypatch.setattr(study_import, "extract", extract)
    imported = import_study(tmp_path / "study.tar", there.workspace)
    assert not is_locked(studies / LOCK)
    assert list(studies.glob(f"{UNPACKED}*")) == []
    assert imported.written
    assert imported.next_command == "workbench search experiments/study0.yaml --data DIR --trials N"
    assert "experiments/study0.yaml was not here" in describe_imported(imported)
    moved = imported.folder
    assert list(told(moved)) == list(told(here))
    require_record(there, moved)
    # MLflow's user interface opens on its trials.
    experiment = Tracking(there.workspace.tracking).store.client.get_experiment_by_name("study0")
    assert experiment is not None
    assert {"mlflow.sharedViewState.trials", "mlflow.experimentKind"} <= experiment.tags.keys()
    with pytest.raises(StudyError, match="There is a study study0 in"):
        import_study(tmp_path / "study.tar", there.workspace)

    ended = {}
    for bench, folder in ((cut_off, here), (there, moved)):
        trials.kept = copy.deepcopy(kept)
        capsys.readouterr()
        outcome = bench.search(bench.workspace.studies / "study0.yaml", 9)
        text = capsys.readouterr().err
        assert outcome.stopped == ""
        assert "0 trials of it had ended, 1 trial will run again, with a new number." in text
        assert "MLflow lacked" not in text
        ended[bench.workspace.root.name] = list(told(folder))
        require_record(bench, folder)
        assert folder.info().data == str(bench.data)
    assert len(ended["there"]) == 9
    assert ended["there"] == ended["killed"]


@pytest.mark.slow
def test_the_runs_of_a_study_whose_folder_is_gone_are_replaced(
    cut_off: Bench, tmp_path: Path
) -> None:
    here = StudyFolder(cut_off.workspace.studies / "study0")
    exported = export_study(here, cut_off.workspace.tracking, tmp_path / "study.tar")
    shutil.rmtree(here.path)
    imported = import_study(tmp_path / "study.tar", cut_off.workspace)
    assert imported.num_replaced == len(exported.manifest.runs.runs)
    assert not imported.written
    require_record(cut_off, imported.folder)


def test_what_a_killed_export_left_goes_with_the_next_one(bench: Bench, tmp_path: Path) -> None:
    folder = bench.search(bench.experiment(), 1).folder
    left = tmp_path / "out" / ".export-0123456789abcdef"
    left.mkdir(parents=True)
    (left / ".archive").write_bytes(b"half")
    export_study(folder, bench.workspace.tracking, left.parent / "study.tar")
    assert [path.name for path in left.parent.iterdir()] == ["study.tar"]


def test_what_another_command_wrote_meanwhile_stays(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, out = bench.search(bench.experiment(), 1).folder, tmp_path / "study.tar"

    def beside_another(path: Path, *rest: Any) -> None:
        write_archive(path, *rest)
        out.write_bytes(b"of the other")

    monkeypatch.setattr(study_export, "write_archive", beside_another)
    with pytest.raises(AccessError, match=r"meanwhile\. Name another file"):
        export_study(folder, bench.workspace.tracking, out)
    assert out.read_bytes() == b"of the other"
    assert [path.name for path in out.parent.glob(".export-*")] == []


@pytest.mark.parametrize("has_links", [True, False])
def test_a_new_file_gets_its_name_with_and_without_hard_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_links: bool
) -> None:
    def refused(*_: Any) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    if not has_links:
        monkeypatch.setattr(os, "link", refused)
    for number, name in enumerate("ab"):
        (tmp_path / name).write_bytes(b"%d" % number)
    put_new(tmp_path / "a", tmp_path / "study.tar")
    with pytest.raises(AccessError, match="made by another command meanwhile"):
        put_new(tmp_path / "b", tmp_path / "study.tar")
    monkeypatch.undo()
    assert (tmp_path / "study.tar").read_bytes() == b"0"


def test_a_study_with_a_link_is_not_exported_without_what_it_leads_to(
    bench: Bench, trials: InlineTrials, tmp_path: Path
) -> None:
    folder = bench.search(bench.experiment(), 1).folder
    [trial] = (folder.path / "trials").iterdir()
    trial.rename(tmp_path / "another disk")
    trial.symlink_to(tmp_path / "another disk")
    with pytest.raises(StudyError, match=f"{trial.name} is a link"):
        export_study(folder, bench.workspace.tracking, tmp_path / "study.tar")
    assert not (tmp_path / "study.tar").exists()


def test_an_import_that_is_killed_anywhere_is_finished_by_the_same_command(
    bench: Bench, template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = bench.search(bench.experiment(), 1).folder
    write_champion(here, ranked(here)[0], "9")
    export_study(here, bench.workspace.tracking, tmp_path / "study.tar")
    there = Workspace(shutil.copytree(template, tmp_path / "there"))
    moved, own = StudyFolder(there.studies / here.name), there.studies / f"{here.name}.yaml"
    told = []

    def kill(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    def write(file: Path, text: str) -> None:
        if file == own:
            kill()
        write_text(file, text)

    def tell(folder: StudyFolder, _: Path, champion: Champion) -> None:
        # No promotion can be described by a text that is older than it.
        assert is_locked(folder.path / ".promoting")
        told.append((read_champion(folder), champion.model_version))
        if len(told) == 1:
            kill()

    monkeypatch.setattr(study_import, "tell_in_mlflow", tell)
    monkeypatch.setattr(study_import, "_register", lambda *_: "3")
    for name, killed in (
        ("remember_last", kill), ("show_trials", kill), ("write_text", write), ("_register", kill)
    ):  # fmt: skip
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(study_import, name, killed)
            import_study(tmp_path / "study.tar", there)
        assert moved.champion.exists()
    with pytest.raises(KeyboardInterrupt):
        import_study(tmp_path / "study.tar", there)
    assert import_study(tmp_path / "study.tar", there).unregistered == ""
    assert [(one.model_version, version) for one, version in told] == [("3", "3")] * 2
    assert read_yaml(own)["search_space"] == f"../search_spaces/{here.name}.yaml"
    assert [file.name for file in (there.root / "search_spaces").iterdir()] == [own.name]
    require_record(Bench(there, bench.data), moved)
    with pytest.raises(StudyError, match="There is a study study0 in"):
        import_study(tmp_path / "study.tar", there)


def test_a_champion_that_is_not_registered_here_names_no_version_of_elsewhere(
    bench: Bench, template: Path, tmp_path: Path
) -> None:
    here = bench.search(bench.experiment(), 1).folder
    write_champion(here, ranked(here)[0], "9")
    shutil.rmtree(here.path / "trials" / read_champion(here).recipe)  # nothing to register
    export_study(here, bench.workspace.tracking, tmp_path / "study.tar")
    there = Workspace(shutil.copytree(template, tmp_path / "there"))
    imported = import_study(tmp_path / "study.tar", there)
    assert imported.unregistered
    champion = read_champion(imported.folder)
    assert champion.model_version == ""
    assert "It is not registered here." in str(champion)


def test_an_archive_that_would_read_a_file_of_here_or_be_no_study_leaves_nothing(
    bench: Bench, trials: InlineTrials, tmp_path: Path
) -> None:
    folder = bench.search(bench.experiment(), 1).folder
    manifest = export_study(folder, bench.workspace.tracking, tmp_path / "study.tar").manifest
    secret = tmp_path / "secret"
    secret.write_text("mine")
    detector = {"kind": "yunet", "file": str(secret)}
    other = Workspace(tmp_path / "other")

    def refused(said: str, name: str = "", text: str = "", **changed: object) -> None:
        files = {n: folder.path / n.removeprefix("study/") for n in manifest.files}
        files = {n: file for n, file in files.items() if n.startswith("study/")}
        if name:
            files[name] = tmp_path / "forged"
            files[name].write_text(text)
        entries = {n: entry_of(file) for n, file in files.items()}
        whole = manifest.model_copy(update={"files": entries, **changed})
        (tmp_path / "forged.tar").unlink(missing_ok=True)
        write_archive(tmp_path / "forged.tar", whole, files)
        with pytest.raises(StudyError, match=said):
            import_study(tmp_path / "forged.tar", other)
        left = {file.name for file in other.studies.iterdir()} if other.studies.exists() else set()
        assert left <= {LOCK}
        assert not other.tracking.exists()

    refused(r"experiment\.yaml .* is damaged", "study/experiment.yaml", "experiment: 3\nspace: 4\n")
    refused(r"experiment\.yaml .* is damaged", "study/experiment.yaml", "[")
    recipe = json.dumps({"model": {"views": {"faces": {"detector": detector}}}})
    refused("a file of this machine", "study/trials/0123456789ab/recipe.json", recipe)
    deep = f'{{"views": {json.dumps(detector)}, "other": {"[" * 900}{"]" * 900}}}'
    refused("a file of this machine", "study/prepared.json", deep)
    begun = json.dumps({"experiment": {"views": [detector]}, "space": {}})
    refused("a file of this machine", "study/experiment.yaml", begun)
    was = folder.begun()
    unknown = {**was, "experiment": {**was["experiment"], "colour": 3}}
    refused(
        r"cannot be imported: experiment: `colour` is not a known key \(given 3\)\. It was "
        r"exported by version .*: import it with that version\.$",
        "study/experiment.yaml",
        json.dumps(unknown),
    )
    unknown = {**was, "space": {**was["space"], "colour": 3}}
    refused("space: `colour` is not a known key", "study/experiment.yaml", json.dumps(unknown))
    refused("is of another study", "study/champion.json", '{"model_name": "theirs"}')
    late = manifest.runs.runs[0].model_copy(update={"start_ms": 2**63})
    odd = manifest.runs.runs[0].model_copy(update={"params": {"../up": "1"}})
    refused(
        r"'\.\./up' is no name that MLflow takes for a param",
        runs=manifest.runs.model_copy(update={"runs": (odd,)}),
    )
    refused("start_ms", runs=manifest.runs.model_copy(update={"runs": (late,)}))


def test_a_folder_in_the_place_of_a_record_ends_no_import(tmp_path: Path) -> None:
    for name in ("trials/0123456789ab/prepared.json", "journal.log"):
        (tmp_path / name).mkdir(parents=True)
    keep_to_cache(tmp_path, tmp_path, tmp_path)
    rename_runs(tmp_path, {"a" * 32: "b" * 32})


@pytest.mark.slow
def test_a_strangers_study_names_no_file_of_elsewhere_and_a_wrong_one_leaves_nothing(
    cut_off: Bench, tmp_path: Path
) -> None:
    here = StudyFolder(cut_off.workspace.studies / "study0")
    export_study(here, cut_off.workspace.tracking, tmp_path / "study.tar")
    manifest = read_manifest(tmp_path / "study.tar")

    def with_array(array: object, file: Path) -> None:
        """Export it again, as somebody who writes what he likes."""
        saved = json.loads((here.path / "prepared.json").read_text())
        saved["views"]["image"]["array"] = array
        (tmp_path / "prepared.json").write_text(json.dumps(saved))
        files = {
            name: here.path / name.removeprefix("study/")
            for name in manifest.files
            if name.startswith("study/")
        }
        files["study/prepared.json"] = tmp_path / "prepared.json"
        entries = {name: entry_of(place) for name, place in files.items()}
        write_archive(file, manifest.model_copy(update={"files": entries}), files)

    other = Workspace(tmp_path / "other")
    with_array("/etc/shadow/array.u8", tmp_path / "odd.tar")
    with_array("../..", tmp_path / "bad.tar")
    with pytest.raises(StudyError, match=r"prepared\.json of the archive is damaged"):
        import_study(tmp_path / "bad.tar", other)
    assert [file.name for file in other.studies.iterdir()] == [LOCK]
    folder = import_study(tmp_path / "odd.tar", other).folder
    array = json.loads((folder.path / "prepared.json").read_text())["views"]["image"]["array"]
    assert (folder.path / array).resolve() == other.cache / "views" / "shadow" / "array.u8"


@pytest.mark.slow
def test_one_that_was_exported_without_its_store_goes_on(
    bench: Bench, trials: InlineTrials, tmp_path: Path
) -> None:
    folder = bench.search(bench.experiment(), 1).folder
    shutil.rmtree(bench.workspace.tracking)
    exported = export_study(folder, bench.workspace.tracking, tmp_path / "study.tar").path
    root = tmp_path / "there"
    there = Bench(Workspace(root), root / "data", trials.make_runner)
    shutil.copytree(bench.data, there.data)
    taken = there.workspace.studies / folder.name
    taken.parent.mkdir()
    taken.symlink_to(tmp_path / "nowhere")
    with pytest.raises(StudyError, match="There is a study study0 in"):
        import_study(exported, there.workspace)
    taken.unlink()
    imported = import_study(exported, there.workspace)
    assert imported.written
    assert there.search(root / imported.experiment, 2).num_new == 1
    require_record(there, imported.folder)


@pytest.mark.parametrize("named", ["../a.yaml", "experiments/../../a.yaml", "x" * 999])
def test_no_experiment_of_elsewhere_is_named_for_the_search(tmp_path: Path, named: str) -> None:
    workspace = Workspace(tmp_path / "here")
    folder = StudyFolder(workspace.studies / "mine")
    write_text(folder.experiment_file, "experiment: {name: mine}\nspace: {}\n")
    write_text(tmp_path / "a.yaml", "plugins: [program.py]")
    info = StudyInfo(
        name="mine", id="0", experiment=named, data="", fingerprint="", seed=0, created=""
    )
    own = Path("experiments/mine.yaml")
    assert study_import._experiment_file(folder, info, workspace) == (own, True)
    assert study_import._experiment_file(folder, info, workspace) == (own, False)


def test_a_search_space_of_the_same_name_is_neither_written_over_nor_taken(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    folder = StudyFolder(workspace.studies / "mine")
    write_text(folder.experiment_file, "experiment: {name: mine}\nspace: {views: [image]}\n")
    write_text(tmp_path / "search_spaces" / "mine.yaml", "views: [mel]\n")
    info = StudyInfo(
        name="mine", id="0", experiment="", data="", fingerprint="", seed=0, created=""
    )
    own = Path("experiments/mine.yaml")
    assert study_import._experiment_file(folder, info, workspace) == (own, True)
    assert (tmp_path / "search_spaces" / "mine.yaml").read_text() == "views: [mel]\n"
    named = read_yaml(tmp_path / own)["search_space"]
    assert read_yaml(workspace.studies / named) == {"views": ["image"]}


def test_the_empty_folder_that_a_killed_deletion_leaves_is_no_study(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path / "study0")
    folder.path.mkdir()
    study_import._require_free(folder)
    folder.path.mkdir()
    (folder.path / "notes.txt").touch()
    with pytest.raises(StudyError, match="There is a study study0 in"):
        study_import._require_free(folder)
