"""What a cleaning deletes, what it keeps, and what is said of it afterwards."""

import errno
import shutil
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from tests.maintenance.conftest import ranked, register, with_weights, write_champion
from tests.selection.studies import MadeStudy, normal_scores, write_weights
from tests.study.conftest import Bench
from tests.study.inline import InlineTrials
from workbench import files
from workbench.access import is_locked, locked
from workbench.data.prepare import Prepared
from workbench.errors import DamagedFileError, DiskFullError, StudyError
from workbench.files import PART, locked_part, write_json
from workbench.maintenance import cleaning
from workbench.maintenance.caches import remove_cache, view_caches
from workbench.maintenance.cleaning import (
    carry_out,
    describe_deletions,
    describe_plan,
    plan_cleaning,
)
from workbench.selection.registration import load_trained
from workbench.study.disk import note_removed, removed
from workbench.study.folder import StudyFolder
from workbench.study.looks import Look, append_look
from workbench.study.refits import RefitRecord, RefittedModel, write_refit
from workbench.study.repeats import (
    FinalistsPlan,
    Repeat,
    repeated,
    write_plan,
    write_repeat,
)
from workbench.tracking.alias import Aliased
from workbench.tracking.registry import ModelRegistry
from workbench.tracking.removal import artifact_folder
from workbench.trial.recipe import Objective
from workbench.trial.result import Result
from workbench.workspace import Workspace


def test_all_but_the_best_and_the_needed_lose_their_weights(
    bench: Bench, trials: InlineTrials
) -> None:
    trials.weights_bytes = 1000
    folder = bench.search(bench.experiment(), 7).folder
    best, second, third, fourth, fifth, sixth, seventh = ranked(folder)
    # The fifth was audited, the sixth is a finalist with one repeat in use and one of before.
    look = Look(
        when="2026-01-01T00:00:00+00:00", who="a test", trial=fifth.number, recipe=fifth.recipe,
        holdout="h", num_files=1, metric="auc", is_told=True, of_trial=fifth.number,
        of_recipe=fifth.recipe, value=0.5, low=None, high=None,
    )  # fmt: skip
    append_look(folder, look)
    write_plan(folder, FinalistsPlan(numbers=(sixth.number,), num_seeds=1))
    for place in (1, 2):
        recipe = repeated(folder.trial(sixth.recipe).read_recipe(), place)
        write_repeat(
            folder,
            Repeat(number=sixth.number, of=sixth.recipe, place=place, recipe=recipe.uid),
        )
        files = folder.repeat(recipe.uid)
        files.weights.write_bytes(bytes(10))
        files.write_result(Result(recipe=recipe.uid, state="complete"))
    # A checkpoint of an ended trial, of one that waits, and of one that was cut off.
    folder.trial(second.recipe).checkpoint.write_bytes(bytes(50))
    waiting = folder.trial("a" * 12)
    waiting.write_result(Result(recipe="a" * 12, state="paused"))
    waiting.checkpoint.write_bytes(bytes(60))
    folder.trial("b" * 12).path.mkdir()
    folder.trial("b" * 12).checkpoint.write_bytes(bytes(70))

    folder.champion.touch()  # cut short: which weights it needs is not known
    with pytest.raises(DamagedFileError, match=r"champion\.json names no champion"):
        plan_cleaning(folder, bench.workspace, keep=2)
    folder.champion.unlink()
    plan = plan_cleaning(folder, bench.workspace, keep=2)
    assert plan == plan_cleaning(folder, bench.workspace, keep=2)  # and nothing was deleted
    lost = sorted((third.number, fourth.number, seventh.number))
    said = describe_deletions(plan)
    assert said.splitlines() == [
        f"weights: {', '.join(f'trial {number}' for number in lost)}, repeat {sixth.number}.2",
        f"checkpoint: {second.recipe}",
    ]
    assert plan.freed_bytes == 3 * 1000 + 10 + 50
    table = describe_plan(plan)
    assert max(map(len, table.splitlines())) <= 80
    assert "3.1 kB" in table

    left = folder.trial(third.recipe).path / f"{PART}left.json"  # as by a cleaning that was killed
    left.touch()
    assert carry_out(folder, bench.workspace, keep=2) == plan
    assert not left.exists()
    assert with_weights(folder) == {best.number, second.number, fifth.number, sixth.number}
    assert not folder.trial(second.recipe).checkpoint.exists()
    assert waiting.checkpoint.exists()
    assert folder.trial("b" * 12).checkpoint.exists()
    repeats = [file.parent.name for file in folder.path.glob("repeats/*/model.safetensors")]
    assert repeats == [repeated(folder.trial(sixth.recipe).read_recipe(), 1).uid]
    assert plan_cleaning(folder, bench.workspace, keep=2).deletions == ()

    recipe = folder.trial(third.recipe).read_recipe()
    with pytest.raises(
        StudyError, match=r"`workbench clean` deleted them on .* Promote a trial whose"
    ):
        load_trained(folder.trial(third.recipe), recipe.model, f"trial {third.number}")


@pytest.mark.parametrize("damaged", ["result.json", "scores.parquet"])
def test_a_changed_record_takes_the_weights_of_no_better_trial(
    tmp_path: Path, damaged: str
) -> None:
    # The number of the best trial is changed, or the last one's scores are those of another study.
    study, targets = MadeStudy(tmp_path / "experiments"), [0, 0, 1, 1]
    uids = [
        study.add(targets, scores).uid for scores in ([0.1, 0.2, 0.8, 0.9], [0.1, 0.6, 0.5, 0.9])
    ]
    for uid in uids:
        study.folder.trial(uid).weights.write_bytes(bytes(10))
    best, last = map(study.folder.trial, uids)
    if damaged == "result.json":
        best.result.write_text(best.result.read_text().replace('"auc": 1.0', '"auc": 0.2'))
        best.result.write_text(best.result.read_text().replace('ive": 1.0', 'ive": 0.2'))
    else:
        scores = last.read_scores()
        last.write_scores(scores[scores["name"] != "clip00001.mp4"])
    plan = plan_cleaning(study.folder, Workspace(tmp_path), keep=1)
    assert [one.what for one in plan.deletions] == []


def test_those_that_keep_their_weights_are_the_best_that_can_be_promoted(tmp_path: Path) -> None:
    study = MadeStudy(tmp_path / "experiments")
    for shift in (2.0, 1.5, 1.0, 0.5):
        study.add(*normal_scores(shift, seed=1))
    files = [study.folder.trial(row.recipe) for row in study.rows]
    for one in files:
        one.weights.write_bytes(bytes(10))

    def deleted() -> list[str]:
        plan = plan_cleaning(study.folder, Workspace(tmp_path), keep=1)
        return [one.what for one in plan.deletions]

    assert deleted() == ["trial 1", "trial 2", "trial 3"]
    files[0].scores.unlink()  # it cannot be ranked until they are put back
    assert deleted() == ["trial 2", "trial 3"]
    files[1].weights.unlink()
    assert deleted() == ["trial 3"]


def test_weights_that_were_cut_short_take_no_place_of_the_best(tmp_path: Path) -> None:
    study = MadeStudy(tmp_path / "experiments")
    for shift in (2.0, 1.5, 1.0):
        study.add(*normal_scores(shift, seed=1))
    files = [study.folder.trial(row.recipe) for row in study.rows]
    for one in files:
        write_weights(one)
    files[0].weights.write_bytes(bytes(3))  # as by a copy of the folder that broke off
    plan = plan_cleaning(study.folder, Workspace(tmp_path), keep=1)
    assert [one.what for one in plan.deletions] == ["trial 2"]


def test_repeats_of_finalists_stay_though_the_trials_have_other_numbers_now(tmp_path: Path) -> None:
    study = MadeStudy(tmp_path / "experiments")
    best = study.add(*normal_scores(2.0, seed=1))
    recipe = repeated(best, 1)
    # Begun when the trial was number 7, before the journal was lost.
    write_repeat(study.folder, Repeat(number=7, of=best.uid, place=1, recipe=recipe.uid))
    files = study.folder.repeat(recipe.uid)
    files.write_result(Result(recipe=recipe.uid, state="complete"))
    files.weights.write_bytes(bytes(10))
    write_plan(study.folder, FinalistsPlan(numbers=(0,), num_seeds=1))
    assert plan_cleaning(study.folder, Workspace(tmp_path), keep=1).deletions == ()


def test_the_weights_of_what_mlflow_calls_the_champion_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, workspace = MadeStudy(tmp_path / "experiments"), Workspace(tmp_path)
    for shift in (2.0, 1.5, 1.0):
        write_weights(study.folder.trial(study.add(*normal_scores(shift, seed=1)).uid))
    # The worst was promoted by hand, and champion.json is lost.
    there = Aliased("1", study.rows[2].recipe, None)
    monkeypatch.setattr(cleaning, "champion_alias", lambda root, name: there)
    plan = plan_cleaning(study.folder, workspace, keep=1)
    assert [one.what for one in plan.deletions] == ["trial 1"]


def test_nothing_goes_of_a_folder_that_is_a_link(tmp_path: Path) -> None:
    study, targets = MadeStudy(tmp_path / "experiments"), [0, 0, 1, 1]
    study.add(targets, [0.1, 0.2, 0.8, 0.9])
    worse = study.folder.trial(study.add(targets, [0.1, 0.6, 0.5, 0.9]).uid)
    worse.weights.write_bytes(bytes(10))
    soups = study.folder.path / "soups"
    for uid in ("a" * 12, "b" * 12):
        (soups / uid).mkdir(parents=True)
        (soups / uid / "model.safetensors").write_bytes(bytes(10))
    study.folder.last_soup.write_text("b" * 12 + "\n")
    for place in (worse.path, soups / ("a" * 12)):
        place.symlink_to(place.rename(tmp_path / place.name))
    assert carry_out(study.folder, Workspace(tmp_path), keep=1).deletions == ()
    assert worse.weights.exists()


@pytest.mark.slow
def test_registered_models_go_with_the_weights_and_the_champion_stays(
    bench: Bench, trials: InlineTrials
) -> None:
    trials.weights_bytes = 1000
    folder = bench.search(bench.experiment(), 3).folder
    first, second, worst = ranked(folder)
    assert [register(bench, folder, row) for row in (worst, second, first)] == ["1", "2", "3"]
    registry, study_id = ModelRegistry(bench.workspace.tracking), folder.info().id
    assert registry.set_champion(folder.name, second.recipe, study_id) == "2"
    write_champion(folder, second, "2")

    plan = carry_out(folder, bench.workspace, keep=1)
    assert "registered model: version 1" in describe_deletions(plan)
    assert plan.freed_bytes == 1000 + 5000 + len("flavors: {}")
    assert with_weights(folder) == {first.number, second.number}
    client = registry._client
    versions = client.search_model_versions(f"name = '{folder.name}'")
    assert {str(one.version) for one in versions} == {"2", "3"}
    assert str(client.get_model_version_by_alias(folder.name, "champion").version) == "2"
    # No run names what is gone.
    run = client.get_run(str(worst.run_id))
    assert run.outputs is None or not run.outputs.model_outputs
    assert registry.set_champion(folder.name, worst.recipe, study_id) is None
    assert registry.set_champion(folder.name, first.recipe, study_id) == "3"
    models = artifact_folder(bench.workspace.tracking, folder.name) / "models"
    assert len(list(models.rglob("MLmodel"))) == 2


def test_views_that_no_study_uses_go_unless_that_cannot_be_told(
    bench: Bench, trials: InlineTrials
) -> None:
    folder = bench.search(bench.experiment(), 1).folder
    [used] = view_caches(bench.workspace)
    unused = used.folder.with_name("image-0123")
    shutil.copytree(used.folder, unused)
    assert {one.folder.name: one.is_used for one in view_caches(bench.workspace)} == {
        used.folder.name: True,
        "image-0123": False,
    }
    (folder.path / "prepared.json").rename(folder.path / "kept.json")
    write_json(folder.path / "prepared.json", {"views": 3})
    assert all(one.is_used for one in view_caches(bench.workspace))
    (folder.path / "kept.json").replace(folder.path / "prepared.json")
    elsewhere = shutil.copytree(used.folder, bench.workspace.root / "elsewhere")
    unused.with_name("image-4567").symlink_to(elsewhere)
    carry_out(folder, bench.workspace, keep=1)
    assert not unused.exists()
    assert used.folder.exists()
    assert (elsewhere / "view.json").exists()
    # Another project uses the cache, too.
    shutil.copytree(used.folder, unused)
    cache, shared = bench.workspace.cache, bench.workspace.root / "shared"
    (cache / "features").mkdir(exist_ok=True)
    (cache / "features" / "a.npy").write_bytes(b"numbers")
    cache.rename(shared)
    cache.symlink_to(shared)
    assert not [
        one
        for one in plan_cleaning(folder, bench.workspace, keep=1).deletions
        if one.kind in ("decoded view", "features")
    ]
    cache.unlink()
    shared.rename(cache)
    # The study is put on another disk, and linked to.
    (bench.workspace.root / "disk" / "studies").mkdir(parents=True)
    moved = folder.path.rename(bench.workspace.root / "disk" / "studies" / folder.name)
    folder.path.symlink_to(moved)
    assert all(one.is_used for one in view_caches(bench.workspace) if one.folder == used.folder)
    assert Prepared.load(folder.path).arrays["image"].is_relative_to(used.folder)


def test_views_that_somebody_began_to_write_meanwhile_stay(tmp_path: Path) -> None:
    store = tmp_path / "image-0123"
    with locked(store / "lock"):
        remove_cache(store)
        assert store.exists()
    remove_cache(store)
    assert not store.exists()


def test_packs_and_soups_that_nothing_needs_are_deleted(bench: Bench, trials: InlineTrials) -> None:
    folder = bench.search(bench.experiment(), 2).folder
    for place, uid in (
        ("packs", "a" * 12),
        ("packs", "b" * 12),
        ("soups", "c" * 12),
        ("soups", "d" * 12),
        ("soups", "e" * 12),
        ("packs", f"{PART}0"),
    ):
        made = folder.path / place / uid
        made.mkdir(parents=True)
        (made / "model.safetensors").write_bytes(bytes(1000))
    # A member of that pack: without its scores nothing tells what it adds.
    (folder.path / "packs" / ("b" * 12) / "pack.json").write_text(f'"recipe": "{"e" * 12}"')
    folder.last_soup.write_text("d" * 12 + "\n")
    folder.last_pack.write_text("b" * 11)  # torn: nothing says which was the last
    found = plan_cleaning(folder, bench.workspace, keep=5).deletions
    assert [one.kind for one in found] == ["soup"]
    folder.last_pack.write_text("b" * 12 + "\n")
    for torn in ("", "d" * 11):  # nothing says which was the last soup
        folder.last_soup.write_text(torn)
        found = plan_cleaning(folder, bench.workspace, keep=5).deletions
        assert [one.kind for one in found] == ["pack"]
    folder.last_soup.write_text("d" * 12 + "\n")
    found = plan_cleaning(folder, bench.workspace, keep=5).deletions
    assert [(one.kind, one.what, one.size_bytes) for one in found] == [
        ("pack", "a" * 12, 1000),
        ("soup", "c" * 12, 1000),
    ]
    killed = bench.workspace.studies / f".import-{'0' * 16}"
    killed.mkdir()
    with locked_part(lambda: folder.path / "packs" / f"{PART}0"):
        assert carry_out(folder, bench.workspace, keep=5).freed_bytes == 2000
    assert not killed.exists()
    left = sorted(path.name for path in (folder.path / "packs").iterdir())
    assert left == [f"{PART}0", "b" * 12]  # the one that is being written stays
    soups = sorted(path.name for path in (folder.path / "soups").iterdir())
    assert soups == ["d" * 12, "e" * 12]
    # Their runs in MLflow are not those of packs that the study lost.
    assert removed(folder) == {"a" * 12, "c" * 12}


def test_packs_are_deleted_from_a_full_disk(
    bench: Bench, trials: InlineTrials, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = bench.search(bench.experiment(), 1).folder
    for uid in ("a" * 12, "b" * 12):
        (folder.path / "packs" / uid).mkdir(parents=True)
        (folder.path / "packs" / uid / "model.safetensors").write_bytes(bytes(1000))
    folder.last_pack.write_text("b" * 12 + "\n")

    def on_full_disk(folder: StudyFolder, uids: list[str]) -> None:
        if (folder.path / "packs" / uids[0]).exists():
            raise DiskFullError("no space left")
        note_removed(folder, uids)

    monkeypatch.setattr(cleaning, "note_removed", on_full_disk)
    assert carry_out(folder, bench.workspace, keep=1).freed_bytes == 1000
    assert removed(folder) == {"a" * 12}


def test_nothing_is_promoted_while_it_is_decided_what_goes(
    bench: Bench, trials: InlineTrials, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = bench.search(bench.experiment(), 1).folder
    held: list[bool] = []

    def plan(*args: Any, **keys: Any) -> cleaning.CleaningPlan:
        held.append(is_locked(folder.path / ".promoting"))
        return plan_cleaning(*args, **keys)

    monkeypatch.setattr(cleaning, "plan_cleaning", plan)
    carry_out(folder, bench.workspace, keep=1)
    assert held == [True]  # else the weights of what is being registered could be deleted


def test_the_study_is_not_held_while_a_promotion_is_waited_for(
    bench: Bench, trials: InlineTrials, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = bench.search(bench.experiment(), 1).folder
    held: list[bool] = []
    promoting = StudyFolder.promoting

    def asked(self: StudyFolder) -> AbstractContextManager[None]:
        held.append(self.is_held())
        return promoting(self)

    monkeypatch.setattr(StudyFolder, "promoting", asked)
    carry_out(folder, bench.workspace, keep=1)
    assert held == [False]  # else a promotion of a pack, which holds it at its end, would fail


def test_a_refit_that_was_made_before_the_last_one_goes(bench: Bench, trials: InlineTrials) -> None:
    folder = bench.search(bench.experiment(), 1).folder
    row = ranked(folder)[0]
    old, new = "a" * 12, "b" * 12
    for uid in (old, new):
        folder.refit(uid).path.mkdir(parents=True)
        folder.refit(uid).weights.write_bytes(bytes(1000))
    # Of one that was cut off there is no record yet: the same command goes on from what is trained.
    assert not plan_cleaning(folder, bench.workspace, keep=1).deletions
    model = RefittedModel(
        study=folder.name, number=row.number, of=row.recipe, recipe=new, num_before=24,
        num_files=40, objective=0.5, at_last_epoch=0.5,
    )  # fmt: skip
    write_refit(
        folder,
        RefitRecord(
            recipe=new, of=row.recipe, title="trial 0", models=(model,), objective=Objective(),
            value=0.5, who="a test", when="2026-01-01T00:00:00+00:00",
        ),
    )  # fmt: skip
    # Of another than the champion: that one's refit was cut off, or is still to be made.
    assert not plan_cleaning(folder, bench.workspace, keep=1).deletions
    write_champion(folder, row, "1")
    found = plan_cleaning(folder, bench.workspace, keep=1).deletions
    assert [one.path for one in found if one.kind == "refit"] == [folder.refit(old).weights]
    carry_out(folder, bench.workspace, keep=1)
    assert not folder.refit(old).path.exists()
    assert folder.refit(new).weights.exists()


def test_kept_features_are_told_and_deleted(bench: Bench, trials: InlineTrials) -> None:
    folder = bench.search(bench.experiment(), 1).folder
    kept = bench.workspace.cache / "features" / "0123.npy"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(bytes(1234))
    plan = carry_out(folder, bench.workspace, keep=1)
    told = {line.what: line for line in plan.taken}
    assert told["features of probes"].deletable_bytes == 1234
    assert not kept.exists()


def test_space_is_freed_though_mlflow_does_not_open_on_a_full_disk(
    bench: Bench, trials: InlineTrials, monkeypatch: pytest.MonkeyPatch
) -> None:
    trials.weights_bytes = 1000
    folder = bench.search(bench.experiment(), 3).folder
    best, *_ = ranked(folder)

    def full(*_: object) -> None:
        raise StudyError("database or disk is full")

    monkeypatch.setattr(cleaning, "StudyRecord", full)
    with pytest.raises(StudyError, match="database or disk is full"):
        carry_out(folder, bench.workspace, keep=1)
    monkeypatch.setattr(cleaning, "no_space", lambda folder: True)
    monkeypatch.setattr(files, "no_space", lambda folder: True)
    write_bytes = Path.write_bytes

    def no_note(path: Path, data: bytes) -> int:
        # A note fits where weights have made room for it.
        if path.name.startswith(PART) and len(with_weights(folder)) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write_bytes(path, data)

    monkeypatch.setattr(Path, "write_bytes", no_note)
    artifacts = artifact_folder(bench.workspace.tracking, folder.name) / "models"
    artifacts.mkdir(parents=True)
    write_bytes(artifacts / "model", bytes(10))
    plan = carry_out(folder, bench.workspace, keep=1)
    assert with_weights(folder) == {best.number}
    assert "kept of models in MLflow: all: the disk is full" in describe_plan(plan)
