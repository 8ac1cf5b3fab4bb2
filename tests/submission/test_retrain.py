"""The training of a bundle repeated: the same bits on a CPU, and what is refused or held apart."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from pydantic import ValidationError

from tests.selection.studies import champion, row
from tests.submission.made_study import TrainedStudy
from workbench.data.metadata import column_of
from workbench.data.prepare import Prepared
from workbench.errors import BundleError, DataError, WeightsError
from workbench.files import hash_file, read_json, write_json
from workbench.parts.augment import Augment, Pictures
from workbench.parts.copies import Copies
from workbench.parts.joint import MeanOfProbabilities
from workbench.parts.optimizers import AdamW
from workbench.parts.weights import Weights
from workbench.selection.champion import read_champion
from workbench.selection.packing import Ingredient, record_of, write_pack
from workbench.selection.soup import average_again
from workbench.study.folder import StudyFolder
from workbench.study.soups import Ingredient as Averaged
from workbench.study.soups import Soup, soup_uid
from workbench.submission import retrain_data, training_files
from workbench.submission.bundle import Bundle, export
from workbench.submission.contents import read_manifest_of_bundle
from workbench.submission.places import MANIFEST, WEIGHTS
from workbench.submission.retrain import How, _begin, _data_told, retrain
from workbench.submission.retrain_checks import (
    Check,
    check_documents,
    check_model,
    check_predictions,
    check_value,
    checks_as_table,
    nothing_compared,
    tolerance_for,
    why_not_bits,
)
from workbench.submission.retrain_data import require_same
from workbench.submission.training_record import (
    SeedSpread,
    TrainedModel,
    TrainingRecord,
    digest_of_scores,
    digests,
    read_training,
    told_apart,
)
from workbench.trial.environment import Environment
from workbench.trial.recipe import Objective
from workbench.trial.result import Result
from workbench.trial.train import run_trial
from workbench.workspace import Workspace

HERE = Environment(processor="a CPU", num_threads=2, versions={"torch": "2.13.0"})


def said_of(checks: tuple[Check, ...]) -> dict[str, tuple[bool | None, str]]:
    return {check.what: (check.ok, check.said) for check in checks}


def with_ended_trial(bundle: Path, study: TrainedStudy) -> Path:
    """Put the files of the ended trial into a bundle, as its author can, with their hashes."""
    (trial,) = (study.folder.path / "trials").iterdir()
    place = bundle / "training" / "made" / "trials" / trial.name
    shutil.copytree(trial, place)
    manifest = read_json(bundle / MANIFEST)
    for file in place.iterdir():
        about = {"sha256": hash_file(file), "size_bytes": file.stat().st_size}
        manifest["files"][file.relative_to(bundle).as_posix()] = about
    write_json(bundle / MANIFEST, manifest)
    return bundle


def test_a_training_that_is_repeated_gives_the_same_bits(
    study: TrainedStudy, own_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, how = tmp_path / "out", How(store=tmp_path)
    path = with_ended_trial(own_bundle, study)
    done = retrain(path, study.data, out, how)
    # What the bundle holds of an ended trial does not stand for a training.
    assert "trial 7: epoch 1 of 1" in capsys.readouterr().err
    said = said_of(done.checks)
    assert done.ok, checks_as_table(done.checks)
    assert said["trial 7: weights"] == (True, "the same bits")
    assert said["trial 7: scores"] == (True, "the same bits")
    assert said["trial 7: auc"][1].endswith("0.00000 apart, none allowed")
    assert said["predictions"] == (True, "the same 7 scores to the last digit")
    assert said["starting weights"] == (True, "random, by the seed of the recipe")
    assert "tolerance" not in said
    assert hash_file(out / WEIGHTS) == hash_file(path / WEIGHTS)

    # What ended is not trained again.
    (written,) = out.glob("experiments/made/trials/*/model.safetensors")
    before = written.stat().st_mtime_ns
    assert retrain(path, study.data, out, how).ok
    assert written.stat().st_mtime_ns == before


def test_copies_are_made_of_what_the_training_had(
    study: TrainedStudy, own_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Which sounds are spliced into which depends on what could be decoded.
    record = read_training(own_bundle)
    table = Prepared.load(study.folder.path).table
    content = table.loc[table["name"] == "train0.mp4", "content"].iloc[0]
    unread = {"made": {"": {"mel": (content,), "frames": (content,)}}}
    seen: list[Prepared] = []

    def made(prepared: Prepared, *_: object, **__: object) -> Prepared:
        seen.append(prepared)
        return prepared

    monkeypatch.setattr(retrain_data, "with_made_slices", made)
    retrain_data.retraining_data(
        record.model_copy(update={"unread": unread}),
        "made",
        own_bundle,
        study.data,
        Workspace(tmp_path / "out"),
        store=tmp_path,
        slices={},
        device="cpu",
    )
    lost = seen[0].left_out()
    assert list(lost.loc[lost["split"] == "train", "name"]) == ["train0.mp4"]


def test_files_that_no_training_looks_at_are_told(own_bundle: Path, own_study: StudyFolder) -> None:
    prepared, record = Prepared.load(own_study.path), read_training(own_bundle)
    assert "view" not in _data_told(record, {"made": prepared}).said
    table = prepared.table.copy()
    lost = table["name"].isin(["train0.mp4", "train1.mp4"])
    table.loc[lost, ["row.mel", "row.frames"]] = 0
    table.loc[table["name"] == "val0.mp4", "row.mel"] = 0  # it has frames
    said = _data_told(record, {"made": replace(prepared, table=table)}).said
    assert said.startswith(
        "train 4 files, 2 fake (2 of which no view could be made), val 4 files, 2 fake: the same"
    )


@pytest.mark.slow
def test_a_soup_in_a_pack_is_averaged_again_of_trials_that_are_trained_again(
    study: TrainedStudy, own_study: StudyFolder, tmp_path: Path
) -> None:
    best, prepared = read_champion(own_study), Prepared.load(own_study.path)
    first = own_study.trial(best.recipe).read_recipe()
    second = first.replaced(optimizer=AdamW(lr=3e-3))
    ended = run_trial(
        second, prepared, own_study.trial(second.uid).path, device="cpu", report=lambda _: "go on"
    )
    averaged = tuple(
        Averaged(number=number, recipe=recipe.uid, objective=value or 0.0)
        for number, recipe, value in ((7, first, best.value), (8, second, ended.objective))
    )
    uid = soup_uid([first.uid, second.uid])
    soup = Soup(recipe=uid, chosen="all", ingredients=averaged)
    average_again(own_study, prepared, soup, device="cpu")
    made = own_study.soup(uid).read_result()
    assert made and ended.state == "complete"
    ingredients = [
        Ingredient(own_study, row(7, best.value, recipe=first.uid)),
        Ingredient(own_study, row(7, made.objective, recipe=uid), soup),
    ]
    joint = MeanOfProbabilities(weights=(0.5, 0.5))
    record = record_of(ingredients, joint, best.objective, num_trials=3)
    pack = write_pack(own_study, record, ingredients).read_result()
    told: dict[str, Any] = {"number": None, "recipe": record.uid}
    told["members"] = ("7", f"soup {uid}")
    told["value"] = pack and pack.objective
    own_study.champion.write_text(best.model_copy(update=told).model_dump_json())
    about = yaml.safe_load(own_study.experiment_file.read_text())
    about["experiment"]["rulebook"]["single_model"] = "module"
    own_study.experiment_file.write_text(yaml.safe_dump(about, sort_keys=False))
    bundle = export(own_study, tmp_path / "bundle", allow_missing=True)

    out = tmp_path / "out"
    done = retrain(bundle.path, study.data, out, How(store=tmp_path))
    said = said_of(done.checks)
    assert done.ok, checks_as_table(done.checks)
    assert [said[f"trial {n}: weights"][1] for n in (7, 8)] == ["the same bits"] * 2
    assert said["model.safetensors"] == (True, "the same file")
    assert said[f"the pack of trial 7 and soup {uid}: auc"][0] is True
    assert said["predictions"] == (True, "the same 7 scores to the last digit")
    tree = read_training(bundle.path).model_dump(mode="json")
    tree["members"][1][1] = "f" * 12
    with pytest.raises(ValidationError, match="a member is of no training"):
        TrainingRecord.model_validate(tree)


def test_another_order_of_the_files_is_told_and_held_to_the_tolerance(
    study: TrainedStudy, bundle: Bundle, tmp_path: Path
) -> None:
    data = shutil.copytree(study.data, tmp_path / "data")
    for name in ("train_label.txt", "val_label.txt", "prediction.txt.csv"):
        header, *rows = (data / name).read_text().splitlines()
        (data / name).write_text("\n".join([header, *reversed(rows)]) + "\n")
    said = said_of(retrain(bundle.path, data, tmp_path / "out", How(store=tmp_path)).checks)
    why = "the table has {} in another order"
    words = ("the training files", "the files of val", "the test files")
    told = "; ".join(map(why.format, words))
    assert said["trial 7: conditions"] == (None, f"not the same: {told}")
    assert said["trial 7: weights"] == (None, "other bits, which these conditions allow")
    assert "at most " in said["trial 7: auc"][1]


def test_other_labels_are_refused_before_anything_is_trained(
    study: TrainedStudy, bundle: Bundle, tmp_path: Path
) -> None:
    data = shutil.copytree(study.data, tmp_path / "data")
    file = data / "train_label.txt"
    text = file.read_text()
    swapped = text.replace("train0.mp4,0", "train0.mp4,1").replace("train1.mp4,1", "train1.mp4,0")
    assert swapped != text
    file.write_text(swapped)
    with pytest.raises(DataError, match="the training files have other names or labels"):
        retrain(bundle.path, data, tmp_path / "out", How(store=tmp_path))
    assert not list((tmp_path / "out").glob("experiments/made/trials"))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"target": [1, 1]}, "the training files have other names or labels"),
        ({"content": ["x", "z"]}, "the training files hold something else than they did"),
        ({"split": ["train", "val"]}, "the training files are 1, not 2"),
    ],
)
def test_what_is_another_in_the_data_is_told(changed: dict[str, Any], said: str) -> None:
    table = pd.DataFrame(
        {"split": "train", "name": ["a", "b"], "target": [0, 1], "content": ["x", "y"]}
    )
    wanted = digests(table, ())
    require_same(wanted, digests(table.iloc[::-1], ()), Path("data"))
    with pytest.raises(DataError, match=said):
        require_same(wanted, digests(table.assign(**changed), ()), Path("data"))


def test_a_bundle_that_does_not_tell_its_files_is_refused() -> None:
    table = pd.DataFrame(
        {"split": ["train", "val"], "name": ["a", "b"], "target": 0, "content": ["x", "y"]}
    )
    wanted = digests(table, ())
    for told in ({}, {"val": wanted["val"]}, {"train": wanted["train"]}):
        with pytest.raises(BundleError, match="does not say which were the"):
            require_same(told, wanted, Path("data"))
    require_same({"train": wanted["train"]}, {"train": wanted["train"]}, Path("data"))


def test_a_column_counts_where_numbers_depend_on_it() -> None:
    told = {"split": "train", "name": ["a"], "target": [0], "content": ["x"]}
    table = pd.DataFrame({**told, column_of("generator"): ["g"]})
    other = pd.DataFrame({**told, column_of("generator"): ["h"]})
    assert digests(table, ()) == digests(other, ())
    assert digests(table, ("generator",)) != digests(other, ("generator",))


def test_another_version_is_refused(
    study: TrainedStudy, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tags = {"version.workbench": "9.9.9", "code_hash": ""}
    monkeypatch.setattr("workbench.submission.retrain.code_tags", lambda: tags)
    with pytest.raises(BundleError, match=r"and this is 9\.9\.9\. Install workbench-.*\.whl"):
        retrain(bundle.path, study.data, tmp_path / "out", How())


def test_a_changed_bundle_and_a_folder_in_use_are_refused(
    study: TrainedStudy, bundle: Bundle, own_bundle: Path, tmp_path: Path
) -> None:
    with pytest.raises(BundleError, match="is inside the bundle"):
        retrain(bundle.path, study.data, bundle.path / "deep" / "out", How())
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "mine.txt").touch()
    # Of a call that was killed when it began.
    killed = tmp_path / "killed"
    killed.mkdir()
    (killed / ".part-0.json").write_text("{")
    _begin(killed, bundle.path)
    assert [file.name for file in killed.iterdir()] == ["retrain.json"]
    with pytest.raises(BundleError, match="exists and holds no training of"):
        retrain(bundle.path, study.data, tmp_path / "used", How())
    file = own_bundle / "training" / "training.json"
    file.write_text(file.read_text().replace('"seed": 0', '"seed": 1'))
    with pytest.raises(BundleError, match=r"training/training\.json is not the exported file"):
        retrain(own_bundle, study.data, tmp_path / "out", How())
    shutil.rmtree(file.parent)
    with pytest.raises(BundleError, match="an older version wrote it"):
        read_training(own_bundle)


def trained(bundle: Bundle, **changes: Any) -> TrainedModel:
    (model,) = read_training(bundle.path).models
    return model.model_copy(update=changes)


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("recipe.json", "training", {"num_epochs": 9}),
        ("model.json", "dropout", 0.5),
        (MANIFEST, "recipe", "0" * 12),
    ],
)
def test_what_a_bundle_tells_of_its_model_must_be_of_the_one_that_is_trained(
    own_bundle: Path, name: str, key: str, value: Any
) -> None:
    check = check_documents(own_bundle, read_manifest_of_bundle(own_bundle))
    assert check.ok, check.said
    tree = read_json(own_bundle / name)
    tree[key] = tree[key] | value if isinstance(value, dict) else value
    write_json(own_bundle / name, tree)
    check = check_documents(own_bundle, read_manifest_of_bundle(own_bundle))
    assert check.ok is False
    assert check.said == f"{name} not of the model that training/training.json trains"


def test_starting_weights_that_are_gone_are_told_before_the_data_are_read(
    study: TrainedStudy, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = read_training(bundle.path)
    start = Weights(source="local", name="resnet10t.c3_in1k", sha256="0" * 64, pretraining="in1k")
    recipe = record.models[0].recipe.replaced(weights=start)
    other = record.model_copy(
        update={"models": (record.models[0].model_copy(update={"recipe": recipe}),)}
    )
    monkeypatch.setattr("workbench.submission.retrain.read_training", lambda _: other)
    with pytest.raises(
        WeightsError, match=r"weights that trial 7 starts from cannot be had: resnet10t\.c3_in1k"
    ):
        retrain(bundle.path, tmp_path / "no data", tmp_path / "out", How(store=tmp_path))
    assert not (tmp_path / "out").exists()


def result_of(model: TrainedModel, **changes: Any) -> Result:
    whole = {
        "recipe": model.uid,
        "state": "complete",
        "objective": model.value,
        "device": "cpu",
        "weights_sha256": model.weights_sha256,
    }
    return Result.model_validate({**whole, **changes})


def test_models_of_two_studies_are_told_apart(bundle: Bundle) -> None:
    (one,) = read_training(bundle.path).models
    assert told_apart([one], "made") == [one]
    two = one.model_copy(update={"study": "other"})
    titles = [each.title for each in told_apart([one, two], "made")]
    assert titles == ["trial 7", "trial 7 of other"]
    # All may be of one study, which is another than that of the pack.
    assert [each.title for each in told_apart([two], "made")] == ["trial 7 of other"]


def test_bits_are_asked_for_where_nothing_is_another(bundle: Bundle) -> None:
    model = trained(bundle, environment=HERE, code_hash="c0de")
    assert why_not_bits(model, result_of(model), HERE, "c0de") == []
    newer = HERE.model_copy(update={"num_threads": 1, "versions": {"torch": "2.14.0"}})
    assert why_not_bits(model, result_of(model), newer, "0ther") == [
        "1 threads in place of 2",
        "torch 2.14.0 in place of 2.13.0",
        "code 0ther in place of c0de",
    ]
    on_gpu = result_of(model, device="GPU")
    assert why_not_bits(model, on_gpu, HERE, "c0de") == ["GPU in place of cpu"]
    both = trained(bundle, environment=HERE, device="GPU")
    assert why_not_bits(both, on_gpu, HERE, "") == ["GPU, whose sums have no fixed order"]
    parts = result_of(model, micro_batch=4)
    assert why_not_bits(model, parts, HERE, "c0de") == [
        "batches went through the model in other parts"
    ]


def test_other_bits_fail_unless_there_is_a_reason_for_them(
    study: TrainedStudy, bundle: Bundle
) -> None:
    scores = study.folder.model(bundle.contents.recipe).read_scores()
    model = trained(bundle, value=0.80)
    moved = result_of(model, weights_sha256="f" * 64, objective=0.815)
    tolerance = tolerance_for(None, None)
    assert tolerance.objective == 0.02

    strict = check_model(model, moved, scores, reasons=[], tolerance=tolerance)
    assert [check.ok for check in strict] == [False, True, False]
    others = scores.assign(score=scores["score"].mask(scores["slice"] == "test", 0.5))
    alike = result_of(model, objective=0.80)
    for has_same_test, scored in ((True, False), (False, None)):
        lines = check_model(
            model, alike, others, reasons=[], tolerance=tolerance, has_same_test=has_same_test
        )
        assert [check.ok for check in lines] == [True, scored, True]
    assert lines[1].said == "not compared: the test files here are others"
    lenient = check_model(model, moved, scores, reasons=["a GPU"], tolerance=tolerance)
    assert [check.ok for check in lenient] == [None, None, True, True]
    tight = tolerance_for(None, 0.01)
    far = check_model(model, moved, scores, reasons=["a GPU"], tolerance=tight)
    assert [check.ok for check in far] == [None, None, True, False]


def test_the_value_of_a_pack_is_that_of_its_scores_made_again() -> None:
    # Of the four pairs of a fake and a real file one is in the wrong order: an AUC of 3/4.
    scores = pd.DataFrame(
        {
            "slice": ["val"] * 4 + ["test"],
            "name": list("abcde"),
            "score": [0.1, 0.6, 0.5, 0.9, 0.3],
            "target": [0, 0, 1, 1, -1],
        }
    )
    of_pack = {"number": None, "members": ("1", "2")}
    tolerance = tolerance_for(None, None)  # 0.02
    for value, if_bits, if_near in ((0.75, True, True), (0.76, False, True), (0.8, False, False)):
        told = champion().model_copy(update={**of_pack, "value": value})
        assert check_value(told, scores, True, tolerance).ok is if_bits
        assert check_value(told, scores, False, tolerance).ok is if_near
    line = check_value(told, scores, True, tolerance)
    assert line.what == "the pack of trials 1 and 2: auc"
    assert line.said == "0.75000, was 0.80000: 0.05000 apart, none allowed"
    assert check_value(told, scores[scores["slice"] == "test"], True, tolerance).ok is None


def test_the_tolerance_is_what_repeats_tell() -> None:
    found = tolerance_for(SeedSpread(num_repeats=6, deviation=0.01, scores=0.03), None)
    assert found.objective == pytest.approx(0.0277, abs=1e-4)  # 1.96 times the root of two
    assert found.scores == 0.03
    assert found.source == "by 6 repeats with other seeds, at most 0.1 and 0.2"


def test_a_bundle_cannot_widen_the_tolerance_without_limit() -> None:
    wide = tolerance_for(SeedSpread(num_repeats=6, deviation=1e9, scores=1.0), None)
    assert (wide.objective, wide.scores) == (0.1, 0.2)
    assert tolerance_for(SeedSpread(num_repeats=6, deviation=1e9, scores=1.0), 0.3).objective == 0.3


def test_a_training_of_which_nothing_could_be_compared_does_not_pass() -> None:
    told = [Check(what=what, ok=None, said="") for what in ("weights", "scores", "predictions")]
    (line,) = nothing_compared(told)
    assert line.ok is False
    assert nothing_compared([*told, Check(what="auc", ok=True, said="")]) == []


def test_predictions_are_the_same_or_near() -> None:
    tolerance = tolerance_for(None, None)
    old, new = {"a": 0.1, "b": 0.5, "c": 0.9}, {"a": 0.1, "b": 0.8, "c": 0.6}
    assert check_predictions(old, old, is_bits=True, tolerance=tolerance).ok is True
    told = check_predictions(old, new, is_bits=False, tolerance=tolerance)
    assert (told.ok, told.said) == (
        False,
        "up to 0.30000 apart, 0.20000 on average, rank correlation 0.500; at most 0.10000 on "
        "average",
    )
    near = {**old, "b": 0.52}
    assert check_predictions(old, near, is_bits=False, tolerance=tolerance).ok is True
    assert check_predictions(old, near, is_bits=True, tolerance=tolerance).ok is False
    assert check_predictions(old, {"a": 0.1}, is_bits=False, tolerance=tolerance).ok is False
    assert check_predictions(old, None, is_bits=True, tolerance=tolerance).ok is None


def test_scores_count_to_the_last_bit_and_in_any_order() -> None:
    scores = pd.DataFrame(
        {"slice": ["val", "test", "phone"], "name": ["a", "b", "c"], "score": [0.1, 0.2, 0.3]}
    )
    digest = digest_of_scores(scores, Objective())
    assert digest_of_scores(scores.iloc[::-1], Objective()) == digest
    assert digest_of_scores(scores.assign(score=[0.1, 0.2, 0.4]), Objective()) == digest
    assert digest_of_scores(scores.assign(score=[0.1, 0.2 + 2**-54, 0.3]), Objective()) != digest


def test_the_report_says_what_the_study_knows(bundle: Bundle) -> None:
    text = (bundle.path / "TECHNICAL_REPORT.md").read_text()
    for heading in (
        "Data", "Views", "Model", "Training", "What was searched", "How it was chosen",
        "Results", "Extra samples", "How to run it again", "The rules, line by line",
    ):  # fmt: skip
        assert f"\n## {heading}\n" in text
    assert "- train: 4 files, 2 fake" in text
    assert "- test: 7 files, without labels" in text
    assert "| params" in text.replace("`", "") and "resnet10t" in text
    assert "It is the only one." in text  # why it was promoted
    assert "| optimizer | kind adamw, lr 0.001" in text
    assert text.count("to be filled in by you") >= 5
    assert "| Generated samples | none | yes |" in text and "\n- trial 7: none\n" in text
    assert "\n\n\n" not in text


def test_the_report_says_that_training_made_fakes(
    own_study: StudyFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = training_files._model

    def with_fakes(*args: Any) -> TrainedModel:
        one = read(*args)
        training = one.recipe.training.model_copy(
            update={
                "copies": Copies(pitch=0.25, trimmed=0.5),
                "augment": Augment(pictures=Pictures(self_blend=0.125)),
            }
        )
        recipe = one.recipe.model_copy(update={"training": training})
        return one.model_copy(update={"recipe": recipe})

    monkeypatch.setattr(training_files, "_model", with_fakes)
    monkeypatch.setattr("workbench.submission.bundle.disagreements", lambda *_: ([], []))
    bundle = export(own_study, tmp_path / "bundle", allow_missing=True)
    text = (bundle.path / "TECHNICAL_REPORT.md").read_text()
    row = "| Generated samples | fakes of real training files: pitch 0.25, self_blend 0.125 | *(to"
    assert row in text
    assert "Fakes were made of real training files" in text and "None were generated" not in text
    assert "copies pitch 0.25, trimmed 0.5" in text.partition("## Extra samples")[2]


def test_the_bundle_tells_no_place_of_the_author(bundle: Bundle) -> None:
    tree = yaml.safe_load((bundle.path / "training" / "made" / "experiment.yaml").read_text())
    assert tree["space"]["backbone"] == "resnet10t"
    assert not tree["experiment"].keys() & {"storage", "tracking", "disk_budget", "gpus_per_trial"}
