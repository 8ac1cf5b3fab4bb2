import csv
import errno
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from safetensors.torch import load_file, save_file

from tests.selection.studies import MadeStudy, champion, normal_scores
from tests.selection.test_refit import record
from tests.submission.made_study import TEMPLATE, VIEWS, TrainedStudy
from workbench.data.facts import FactsStore
from workbench.data.prepared_table import read_prepared_table, write_prepared_table
from workbench.data.view_store import NEUTRAL_ROW
from workbench.errors import BundleError, DamagedFileError, DataError, RuleError, StudyError
from workbench.errors import told as told_of
from workbench.files import hash_file, read_json, write_json, write_text
from workbench.media.facts import Facts
from workbench.media.mel import Mel
from workbench.parts.model_spec import ModelSpec
from workbench.parts.weights import Weights
from workbench.selection.champion import read_champion, require_number, write_champion
from workbench.selection.estimate import expect
from workbench.selection.registration import load_trained
from workbench.study.folder import StudyFolder, StudyInfo
from workbench.study.refits import RefitRecord, RefittedModel, write_refit
from workbench.submission import bundle as bundle_module
from workbench.submission import documents
from workbench.submission.bundle import Bundle, _require_still, describe_bundle, export
from workbench.submission.documents import _start, _starts_told, _worth, installed_versions
from workbench.submission.markdown import as_cell
from workbench.submission.neutral import Neutral, neutral_of, require_few
from workbench.submission.scored_files import (
    ScoredFile,
    read_scored_files,
    scored_files_table,
)
from workbench.submission.study_files import find_scored_files, sentence_on_changed_media
from workbench.trial.result import TrialFolder
from workbench.workspace import Workspace


def stored_scores(folder: StudyFolder) -> dict[str, float]:
    stored = the_trial(folder).read_scores()
    test = stored[stored["slice"] == "test"]
    return dict(zip(test["name"], test["score"], strict=True))


def the_trial(folder: StudyFolder) -> TrialFolder:
    return folder.trial(json.loads(folder.champion.read_text())["recipe"])


def test_predictions_have_the_template_rows_order_columns_and_cells(bundle: Bundle) -> None:
    with (bundle.path / "predictions.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    template = list(csv.reader(TEMPLATE.splitlines()))
    assert [row[:2] for row in rows] == [row[:2] for row in template]
    assert rows[0] == ["video_name", "phase", "y_pred"]
    assert b"\r" not in (bundle.path / "predictions.csv").read_bytes()


def test_predictions_are_the_stored_scores_to_the_last_digit(
    study: TrainedStudy, bundle: Bundle
) -> None:
    stored = stored_scores(study.folder)
    with (bundle.path / "predictions.csv").open(newline="") as file:
        rows = [(row["video_name"], float(row["y_pred"])) for row in csv.DictReader(file)]
    assert rows == [(name, stored[name]) for name, _ in rows]
    # Three clips, the mute one and the neutral pictures: a mix-up of names would show.
    assert len({round(score, 5) for _, score in rows}) == 5


def test_files_without_any_picture_or_sound_share_one_score(bundle: Bundle) -> None:
    filled = pd.read_csv(bundle.path / "predictions.csv").set_index("video_name")["y_pred"]
    assert filled["broken.mp4"] == pytest.approx(filled["empty.mp4"], abs=1e-6)
    assert filled["missing.mp4"] == pytest.approx(filled["empty.mp4"], abs=1e-6)
    assert abs(filled["mute.mp4"] - filled["empty.mp4"]) > 1e-5


def test_what_reads_the_pictures_of_the_test_files_is_required(
    own_study: StudyFolder, tmp_path: Path
) -> None:
    root = tmp_path / "workspace"
    folder = StudyFolder(root / "experiments" / "made")
    shutil.copytree(own_study.path, folder.path)
    table = pd.read_parquet(folder.manifest)
    content = table.loc[(table["split"] == "test") & (table["status"] == "ok"), "content"].iloc[0]
    of_train = table.loc[table["split"] == "train", "content"].iloc[0]
    with FactsStore(Workspace(root).cache).writing() as facts:
        facts.add(content, Facts(container="HEIF"))
        facts.add(of_train, Facts(container="JXL"))
    out = export(folder, tmp_path / "out", allow_missing=True).path
    needed = (out / "requirements.txt").read_text()
    assert re.search(r"^pillow[-_]heif==", needed, re.MULTILINE)
    assert "jxl" not in needed


def test_the_manifest_names_every_file_with_its_hash(bundle: Bundle) -> None:
    files = {
        path.relative_to(bundle.path).as_posix(): path
        for path in bundle.path.rglob("*")
        if path.is_file()
    }
    manifest = json.loads((bundle.path / "manifest.json").read_text())
    assert manifest["files"].keys() == files.keys() - {"manifest.json"}
    for name, told in manifest["files"].items():
        assert told["sha256"] == hash_file(files[name])
        assert told["size_bytes"] == files[name].stat().st_size


def test_the_code_is_copied_verbatim_and_knows_neither_optuna_nor_mlflow(bundle: Bundle) -> None:
    root = Path(__file__).parents[2]
    code = bundle.path / "code"
    copied = [path.relative_to(code) for path in code.rglob("*.py")]
    assert Path("workbench/submission/api.py") in copied
    # These name what the model has: its views, heads and backbones, how it reads pictures.
    copied.remove(Path("workbench/media/views.py"))
    copied.remove(Path("workbench/parts/any_head.py"))
    copied.remove(Path("workbench/parts/any_over_frames.py"))
    copied.remove(Path("workbench/parts/picture_input.py"))
    copied.remove(Path("workbench/parts/own_models.py"))
    # The whole package offers studies and shows them in notebooks.
    copied.remove(Path("workbench/__init__.py"))
    copied.remove(Path("workbench/notebook.py"))
    # A model alone needs no packs.
    copied.remove(Path("workbench/scoring/any_model.py"))
    for path in copied:
        assert (code / path).read_bytes() == (root / path).read_bytes()
    needed = (bundle.path / "requirements.txt").read_text().lower()
    assert "torch==" in needed
    assert "timm==" in needed
    for heavy in ("optuna", "mlflow", "plotly", "pandas", "scikit-learn", "matplotlib", "thop"):
        assert heavy not in needed


def test_requirements_are_exact_and_without_local_versions(bundle: Bundle) -> None:
    for line in (bundle.path / "requirements.txt").read_text().splitlines():
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][0-9a-z.]*", line), line


def test_a_library_that_no_package_provides_is_named() -> None:
    with pytest.raises(BundleError, match="imports no_such_library"):
        installed_versions(["numpy", "no_such_library"])


def test_the_readme_tells_the_rules_and_expected_scores(
    study: TrainedStudy, bundle: Bundle
) -> None:
    text = (bundle.path / "README.md").read_text()
    assert "resnet10t is allowed" in text
    # How it was chosen says what its value is worth, where no estimate does.
    assert re.search(r"reached\nauc [\d.]+\. It is the only one\.\n", text)
    assert re.search(r"\| parameters as thop \d[\w.-]* counts them \| [\d,]+ \|", text)
    weights = load_file(bundle.path / "model.safetensors")
    learned = [x.numel() for name, x in weights.items() if not re.search("running|tracked", name)]
    assert f"| parameters truly | {sum(learned):,} |" in text
    assert "| single_model | one network reads each view, as the rulebook asks |" in text
    assert "| helpers | its views are made without other models |" in text
    result = study.folder.model(bundle.contents.recipe).read_result()
    assert result is not None and result.ms_per_file is not None
    assert f"| ms a file, from its views on, all of it | {result.ms_per_file:.1f} |" in text
    assert f"| t2.mp4 | {stored_scores(study.folder)['t2.mp4']:.6f} |" in text


def test_the_readme_tells_the_interval_and_the_choice(tmp_path: Path) -> None:
    made = MadeStudy(tmp_path)
    for seed in range(3):
        made.add(*normal_scores(0.5, seed=seed))
    expected = expect(made.folder, made.rows, made.objective)
    told = " ".join(_worth(champion(expected=expected)))
    assert f"({expected.low:.2f} to {expected.high:.2f}, 95%: the best of 3)" in told


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        ("clip_1 (2).mp4", "`clip_1 (2).mp4`"),
        ("a/b-c_d.mp4", "a/b-c_d.mp4"),
        ("a | b", r"`a \| b`"),
        ("[x](http://evil)", "`[x](http://evil)`"),
        ("<img src=x>", "`<img src=x>`"),
        ("`<b>`", "`` `<b>` ``"),
        ("a``b", "```a``b```"),
        ("a\n# b\x1b", r"`a\n# b\u001b`"),
        ("**b**", "`**b**`"),
    ],
)
def test_a_name_in_the_readme_is_no_markup(name: str, cell: str) -> None:
    assert as_cell(name) == cell


def test_strangers_names_in_a_readme_are_no_markup(
    study: TrainedStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    readme: Any = documents.readme

    def hostile(*given: Any, **named: Any) -> str:
        odd = {"first": {"[x](http://evil)": 0.5}, "columns": ("<b>name", "y|pred")}
        return str(readme(*given, **{**named, **odd}))

    monkeypatch.setattr(documents, "readme", hostile)
    made = export(study.folder, tmp_path / "out", allow_missing=True)
    text = (made.path / "README.md").read_text()
    assert "| `[x](http://evil)` | 0.500000 |" in text
    assert text.count("`<b>name`") == text.count("<b>name") == 2
    assert r"`y\|pred`" in text


def test_the_summary_names_trial_and_files(bundle: Bundle) -> None:
    said = describe_bundle(bundle)
    assert "trial 7 of made" in said
    assert "8 predictions" in said
    assert "model.safetensors" in said


def test_a_study_without_champion_says_to_promote(own_study: StudyFolder, tmp_path: Path) -> None:
    own_study.champion.unlink()
    with pytest.raises(StudyError, match="workbench promote"):
        export(own_study, tmp_path / "out")


@pytest.mark.parametrize("there", ["file", "folder"])
def test_what_is_there_is_never_overwritten(
    study: TrainedStudy, tmp_path: Path, there: str
) -> None:
    out = tmp_path / "out"
    kept = out / "kept.txt" if there == "folder" else out
    kept.parent.mkdir(exist_ok=True)
    kept.write_text("mine")
    with pytest.raises(BundleError, match=r"exists\. Remove it"):
        export(study.folder, out)
    assert kept.read_text() == "mine"


def test_a_bundle_is_exported_neither_into_another_nor_where_nothing_may_be_written(
    study: TrainedStudy, own_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(BundleError, match="is inside the bundle"):
        export(study.folder, own_bundle / "deep" / "out")
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="file is not a folder"):
        export(study.folder, tmp_path / "file" / "out")
    # Root may write everywhere, so the system's answer is given here.
    monkeypatch.setattr("workbench.submission.paths.os.access", lambda path, mode: False)
    with pytest.raises(DataError, match="permission denied"):
        export(study.folder, tmp_path / "out")


def test_a_template_name_without_a_score_stops_the_export_and_leaves_nothing(
    own_study: StudyFolder, tmp_path: Path
) -> None:
    write_text(own_study.template, TEMPLATE + "new.mp4,one,0.5\n")
    with pytest.raises(DataError, match=r"'new\.mp4', of which there is no score"):
        export(own_study, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_template_that_lost_rows_is_no_smaller_submission(
    own_study: StudyFolder, tmp_path: Path
) -> None:
    write_text(own_study.template, TEMPLATE.rsplit("t1.mp4", 1)[0])
    with pytest.raises(BundleError, match=r"1 of the 7 test files have no row, e.g. 't1.mp4'"):
        export(own_study, tmp_path / "out", allow_missing=True)
    assert not (tmp_path / "out").exists()


def test_scores_of_another_trial_that_reached_as_much_are_not_exported(
    own_study: StudyFolder, tmp_path: Path
) -> None:
    trial = the_trial(own_study)
    scores = trial.read_scores()
    of_test = scores["slice"] == "test"
    trial.write_scores(scores.assign(score=scores["score"].where(~of_test, 0.25)))
    with pytest.raises(DamagedFileError, match="is not what the trial wrote"):
        export(own_study, tmp_path / "out", allow_missing=True)


def test_a_changed_table_of_the_data_is_told(own_study: StudyFolder, tmp_path: Path) -> None:
    own_study.manifest.write_bytes(own_study.manifest.read_bytes()[:-100])
    with pytest.raises(DataError, match=r"manifest\.parquet is damaged"):
        export(own_study, tmp_path / "out", allow_missing=True)


def test_the_table_of_another_study_is_told(own_study: StudyFolder, tmp_path: Path) -> None:
    # Whole, and of the same names: the bundle would tell other files as those that were scored.
    table = read_prepared_table(own_study.manifest)
    write_prepared_table(table.assign(content=table["content"].str[::-1]), own_study.manifest)
    with pytest.raises(DataError, match=r"manifest\.parquet belongs to other data"):
        export(own_study, tmp_path / "out", allow_missing=True)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("model.safetensors", r"The weights of trial 7 are gone \(.*model\.safetensors\)"),
        ("recipe.json", r"recipe\.json is gone"),
        ("scores.parquet", r"scores\.parquet is gone"),
    ],
)
def test_a_champion_whose_files_are_gone_is_refused(
    own_study: StudyFolder, tmp_path: Path, name: str, said: str
) -> None:
    (the_trial(own_study).path / name).unlink()
    with pytest.raises(BundleError, match=said):
        export(own_study, tmp_path / "out")


def test_weights_of_another_recipe_are_refused(own_study: StudyFolder, tmp_path: Path) -> None:
    weights = the_trial(own_study).weights
    save_file(load_file(weights), weights, metadata={"recipe": "0123456789ab"})
    with pytest.raises(BundleError, match="of the recipe 0123456789ab"):
        export(own_study, tmp_path / "out")


def test_damaged_weights_are_refused(own_study: StudyFolder, tmp_path: Path) -> None:
    the_trial(own_study).weights.write_bytes(b"not tensors")
    with pytest.raises(BundleError, match="damaged"):
        export(own_study, tmp_path / "out")


def test_weights_that_may_not_be_read_are_named(
    own_study: StudyFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, opened = the_trial(own_study), Path.open
    spec = files.read_recipe().model

    def may_open(path: Path, *args: Any, **keys: Any) -> Any:
        if path == files.weights:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return opened(path, *args, **keys)

    def open_by_library(path: Path, **_: Any) -> Any:
        raise FileNotFoundError(f"No such file or directory: {path}")  # says the library

    monkeypatch.setattr(Path, "open", may_open)
    monkeypatch.setattr(bundle_module, "safe_open", open_by_library)
    monkeypatch.setattr("workbench.selection.registration.load_file", open_by_library)
    with pytest.raises(PermissionError) as of_export:
        export(own_study, tmp_path / "out")
    with pytest.raises(PermissionError) as of_audit:
        load_trained(files, spec, "trial 7")
    assert told_of(of_export.value) == told_of(of_audit.value)
    assert told_of(of_export.value).startswith(f"{files.weights}: permission denied.")
    monkeypatch.undo()
    files.weights.unlink()
    files.weights.mkdir()
    with pytest.raises(StudyError, match="The weights of trial 7 are gone"):
        load_trained(files, spec, "trial 7")


def test_a_model_over_the_limit_is_refused(own_study: StudyFolder, tmp_path: Path) -> None:
    text = own_study.experiment_file.read_text()
    write_text(own_study.experiment_file, text.replace("200000000", "1000000"))
    with pytest.raises(RuleError, match=r"refused.*over the limit of 1M"):
        export(own_study, tmp_path / "out")


def test_a_failure_on_the_way_leaves_no_half_bundle(
    study: TrainedStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(training: str) -> str:
        raise OSError("the disk is full")

    monkeypatch.setattr("workbench.submission.bundle.dockerfile", fail)
    with pytest.raises(OSError, match="full"):
        export(study.folder, tmp_path / "out", allow_missing=True)
    assert list(tmp_path.iterdir()) == []


NEUTRAL = (
    "3 of the 7 test files got a neutral score, that of a grey picture or silence, since they "
    "could not be decoded when they were scored. The first is 'broken.mp4' ("
)


def test_neutral_scores_are_counted_and_too_many_are_refused(
    study: TrainedStudy, bundle: Bundle, tmp_path: Path
) -> None:
    with pytest.raises(
        DataError, match=r"Over 1% are too many.*--allow-missing.*predict"
    ) as caught:
        export(study.folder, tmp_path / "out")
    assert str(caught.value).startswith(NEUTRAL)
    assert not (tmp_path / "out").exists()
    # Whoever exports all the same is told, and so is whoever gets the bundle.
    assert NEUTRAL in describe_bundle(bundle)
    assert NEUTRAL in (bundle.path / "README.md").read_text()


def test_test_files_that_were_changed_since_are_told(
    study: TrainedStudy, own_study: StudyFolder, tmp_path: Path
) -> None:
    data = shutil.copytree(study.data, tmp_path / "data", copy_function=shutil.copy2)
    info = StudyInfo(
        name="made", id="0", experiment="", data=str(data), fingerprint="", seed=0, created=""
    )
    own_study.write_info(info)
    assert sentence_on_changed_media(own_study) == ""
    # Damaged, empty and missing ones are what they were; a deleted one gives no wrong score.
    (data / "testset" / "mute.mp4").unlink()
    assert sentence_on_changed_media(own_study) == ""
    # One is another clip of now, one that was missing has come, and one that was empty is none.
    for name in ("t0.mp4", "missing.mp4", "empty.mp4"):
        shutil.copy(data / "testset" / "t1.mp4", data / "testset" / name)
    made = export(own_study, tmp_path / "out", allow_missing=True)
    assert made.changed == (
        f"3 of the 7 test files in {data} are not what was scored, e.g. testset/t0.mp4. The "
        "predictions are of what they were; `workbench predict` scores them as they are."
    )
    assert made.changed in describe_bundle(made)


def test_another_template_in_the_data_folder_is_told(
    study: TrainedStudy, own_study: StudyFolder, tmp_path: Path
) -> None:
    data = shutil.copytree(study.data, tmp_path / "data", copy_function=shutil.copy2)
    info = StudyInfo(
        name="made", id="0", experiment="", data=str(data), fingerprint="", seed=0, created=""
    )
    own_study.write_info(info)
    template = data / "prediction.txt.csv"
    template.write_bytes(own_study.template.read_bytes())
    assert export(own_study, tmp_path / "same", allow_missing=True).changed == ""
    header, *rows = template.read_text().splitlines(keepends=True)
    template.write_text("".join([header, *reversed(rows)]))
    made = export(own_study, tmp_path / "out", allow_missing=True)
    assert f"The template {template} is not the one that the study" in made.changed
    assert "(another order of rows); the study's is filled in." in describe_bundle(made)


def test_every_neutral_file_is_listed_with_its_reason(study: TrainedStudy, bundle: Bundle) -> None:
    files = {file.name: file for file in read_scored_files(bundle.path)}
    assert list(files) == [
        *("t2.mp4", "t0.mp4", "broken.mp4", "empty.mp4", "mute.mp4", "missing.mp4", "t1.mp4")
    ]
    found = {name: file.neutral for name, file in files.items()}
    assert {name for name in found if found[name] == "wholly"} == {
        *("broken.mp4", "empty.mp4", "missing.mp4")
    }
    assert (found["mute.mp4"], found["t0.mp4"]) == ("partly", "no")
    assert files["mute.mp4"].why.startswith("mel: ")
    assert files["empty.mp4"].why == "the file is empty"
    media = study.data / "testset"
    assert files["t1.mp4"].sha256 == hash_file(media / "t1.mp4")
    assert files["broken.mp4"].sha256 == hash_file(media / "broken.mp4")
    assert files["missing.mp4"].sha256 == ""
    for text in (describe_bundle(bundle), (bundle.path / "README.md").read_text()):
        for name in ("broken.mp4", "empty.mp4", "missing.mp4"):
            assert f"- '{name}' (" in text


def test_a_long_list_of_neutral_files_ends_with_where_the_rest_is() -> None:
    files = [ScoredFile(f"{index}.mp4", "", "wholly", "why") for index in range(25)]
    lines = Neutral(tuple(files), 30).lines
    assert lines[:1] + lines[19:] == [
        *("- '0.mp4' (why)", "- '19.mp4' (why)"),
        "- and 5 more, which scored_files.csv lists",
    ]


def test_scored_files_come_back_as_they_were_written(tmp_path: Path) -> None:
    files = (
        ScoredFile("a,b\n.mp4", "0" * 64, "no"),
        ScoredFile('"=1', "", "wholly", 'it, "is" gone'),
    )
    write_text(tmp_path / "scored_files.csv", scored_files_table(files))
    assert read_scored_files(tmp_path) == files
    write_text(tmp_path / "scored_files.csv", "name,sha256,neutral,why\na,,maybe,\n")
    with pytest.raises(BundleError, match="cannot be read"):
        read_scored_files(tmp_path)


def test_neutral_scores_of_an_older_study_are_counted_too(own_study: StudyFolder) -> None:
    trial = the_trial(own_study)
    result = trial.read_result()
    assert result is not None
    trial.write_scores(trial.read_scores().drop(columns="neutral"))
    trial.write_result(result.model_copy(update={"scores_sha256": ""}))
    names = ["t0.mp4", "mute.mp4", "empty.mp4", "missing.mp4"]
    trained = [(own_study.name, trial.read_recipe())]
    found = neutral_of(find_scored_files(own_study, trial, trained, names))
    assert [file.name for file in found.files] == ["empty.mp4", "missing.mp4"]
    assert found.num_files == 4
    assert "'empty.mp4' (the file is empty)" in found.sentence


def test_what_a_member_of_another_study_saw_of_a_file_is_told(own_study: StudyFolder) -> None:
    # The study of the pack has another view of that name, of which every file is.
    other = StudyFolder(shutil.copytree(own_study.path, own_study.path.parent / "other"))
    table = read_prepared_table(own_study.manifest)
    write_prepared_table(table.assign(**{"row.mel": 1}), own_study.manifest)
    trial = the_trial(own_study)
    recipe = trial.read_recipe()
    mel = {"mel": Mel(num_mels=16, image_px=48)}
    trained = [(own_study.name, recipe), (other.name, recipe.replaced(views=mel))]
    found = find_scored_files(own_study, trial, trained, ["t0.mp4", "mute.mp4"])
    assert [file.neutral for file in found] == ["no", "partly"]
    assert found[1].why.startswith("mel: ")


def test_a_file_that_one_member_alone_had_counts_as_neutral(own_study: StudyFolder) -> None:
    # The other study began while the decoder died on a file.
    other = StudyFolder(shutil.copytree(own_study.path, own_study.path.parent / "other"))
    table = read_prepared_table(other.manifest)
    table.loc[table["name"] == "t0.mp4", "row.mel"] = NEUTRAL_ROW
    table.loc[table["name"] == "t0.mp4", "reason.mel"] = "the decoder died"
    write_prepared_table(table, other.manifest)
    trial = the_trial(own_study)
    recipe = trial.read_recipe()
    names = ["t0.mp4", "t1.mp4", "mute.mp4"]
    trained = [(own_study.name, recipe), (other.name, recipe)]
    first, *rest = find_scored_files(own_study, trial, trained, names)
    assert first.neutral == "wholly"
    assert first.why == "only some members had it when they scored it: mel: the decoder died"
    assert [file.neutral for file in rest] == ["no", "partly"]


@pytest.mark.parametrize(("count", "is_refused"), [(1, False), (2, True)])
def test_one_in_a_hundred_is_few(count: int, is_refused: bool) -> None:
    files = [ScoredFile(f"{index}.mp4", "", "wholly") for index in range(count)]
    good = [ScoredFile(f"good{index}.mp4", "", "partly") for index in range(100 - count)]
    # The first is named in two ways, as a template may.
    neutral = neutral_of([*files, ScoredFile("./0.mp4", "", "wholly"), *good])
    if is_refused:
        with pytest.raises(DataError, match="2 of the 100 test files"):
            require_few(neutral)
    else:
        require_few(neutral)
        assert neutral.sentence.startswith("1 of the 100 test files")


def test_scores_of_another_trial_are_not_exported(own_study: StudyFolder, tmp_path: Path) -> None:
    champion = json.loads(own_study.champion.read_text())
    own_study.champion.write_text(json.dumps(champion | {"value": 0.123}))
    with pytest.raises(BundleError, match=r"scores\.parquet does not give the auc"):
        export(own_study, tmp_path / "out", allow_missing=True)
    assert not (tmp_path / "out").exists()


def test_a_champion_that_gives_way_during_the_export_is_not_half_in_it(
    own_study: StudyFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    champion = read_champion(own_study)
    other = champion.model_copy(update={"number": 8, "recipe": "c" * 12, "value": 0.99})

    def page(folder: StudyFolder, path: Path) -> None:
        write_text(path, "a page")
        write_text(folder.champion, other.model_dump_json())  # as a promotion does meanwhile

    monkeypatch.setattr(bundle_module, "write_study_page", page)
    with pytest.raises(BundleError, match="made got another champion or refit during the export"):
        export(own_study, tmp_path / "out", allow_missing=True)
    assert not (tmp_path / "out").exists()
    write_refit(own_study, record(when="9:01"))
    _require_still(own_study, other, record(when="9:01"))
    with pytest.raises(BundleError, match="another champion or refit"):
        _require_still(own_study, other, record(when="9:00"))


def test_a_changed_byte_among_the_weights_is_told(own_study: StudyFolder, tmp_path: Path) -> None:
    weights = the_trial(own_study).weights
    content = bytearray(weights.read_bytes())
    content[-1] ^= 0x40
    weights.write_bytes(content)
    with pytest.raises(DamagedFileError, match="is not what the trial wrote"):
        export(own_study, tmp_path / "out", allow_missing=True)


def test_a_champion_that_its_trials_own_record_contradicts_is_not_exported(
    own_study: StudyFolder, tmp_path: Path
) -> None:
    told = {**read_json(own_study.champion), "objective": {"metric": "f1"}}
    result = own_study.trial(told["recipe"]).read_result()
    assert result is not None
    told["value"] = result.metrics["f1"]  # its scores give it
    write_json(own_study.champion, told)
    with pytest.raises(BundleError, match=r"disagree: champion\.json has .* as the objective, and"):
        export(own_study, tmp_path / "out", allow_missing=True)
    assert not (tmp_path / "out").exists()


def test_a_champion_by_the_number_of_another_trial_is_refused(tmp_path: Path) -> None:
    made = MadeStudy(tmp_path)
    for scores in ([0.9, 0.2], [0.8, 0.3]):
        uid = made.add([1, 0], scores).uid
    require_number(made.folder, champion(1, recipe=uid))
    with pytest.raises(StudyError, match="has the recipe of trial 1 as that of trial 0"):
        require_number(made.folder, champion(0, recipe=uid))
    require_number(made.folder, champion(0, recipe="f" * 12))  # of a study that lost its trials


def test_a_champion_of_other_folds_than_its_studys_is_refused(own_study: StudyFolder) -> None:
    told = read_champion(own_study)
    require_number(own_study, told)
    with pytest.raises(StudyError, match=r"trained 9 times, .* asks for 1"):
        require_number(own_study, told.model_copy(update={"num_folds": 9}))


def test_the_readme_says_what_shows_which_weights_a_model_started_from() -> None:
    known = Weights(source="local", name="resnet18.tv_in1k", sha256="f37072fd" + "0" * 56)
    other = known.model_copy(update={"sha256": "1" * 64, "pretraining": "in1k"})
    spec = ModelSpec(views=VIEWS, backbone="resnet18", weights=known)
    assert _start(known).endswith(f"SHA-256 {known.sha256}, as timm publishes it")
    assert _start(other) == f"resnet18.tv_in1k, pretraining in1k, SHA-256 {'1' * 64}"
    assert _starts_told([spec]) == ""
    two = spec.model_copy(update={"weights": other})
    assert "is known from the name of their file alone" in _starts_told([spec, two])


def test_files_that_the_champion_saw_nothing_of_are_told(
    own_study: StudyFolder, tmp_path: Path
) -> None:
    promoted, told = read_champion(own_study), "2 of 4 files of val (2 fake) have none of the views"
    write_champion(own_study, promoted.model_copy(update={"unseen": told}))
    # In the record of an older version there is nothing, and nothing is said.
    assert promoted.unseen == ""
    made = export(own_study, tmp_path / "out", allow_missing=True)
    for name in ("README.md", "TECHNICAL_REPORT.md"):
        assert told in (made.path / name).read_text()


@pytest.mark.parametrize("changed", ["value", "high", "objective of trial 7", "files of trial 7"])
def test_a_refit_that_says_something_else_of_its_champion_is_not_exported(
    own_study: StudyFolder, tmp_path: Path, changed: str
) -> None:
    """Its record is where a bundle's README takes what the champion is worth from."""
    champion = read_champion(own_study)
    result = own_study.trial(champion.recipe).read_result()
    assert result is not None and result.objective is not None
    model = RefittedModel(
        study="made",
        number=7,
        of=champion.recipe,
        recipe="b" * 12,
        num_before=4,
        num_files=4000 if changed == "files of trial 7" else 8,
        objective=0.99 if changed == "objective of trial 7" else result.objective,
        at_last_epoch=result.objective,
    )
    told = {"objective": champion.objective, "value": champion.value, changed: 0.99}
    record = {"of": champion.recipe, "title": champion.title, "models": (model,), **told}
    whole = {"recipe": "b" * 12, "who": "a test", "when": "2026-01-01", **record}
    for key in ("objective of trial 7", "files of trial 7"):
        whole.pop(key, None)
    write_refit(own_study, RefitRecord.model_validate(whole))
    with pytest.raises(StudyError, match=rf" as the {changed}, and the champion has"):
        export(own_study, tmp_path / "out", is_refit=True, allow_missing=True)
