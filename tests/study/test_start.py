"""From an experiment file to a begun study: its data, its devices, and that it stays the same."""

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from sklearn.metrics import roc_auc_score

from tests.study.conftest import Bench
from tests.study.inline import InlineTrials
from tests.study.tiny import SPACE, THREE, write_data, write_experiment
from workbench.demo import build
from workbench.errors import ConfigError, DataError, StudyError
from workbench.files import write_json
from workbench.parts.leaderboard import Table, read_table
from workbench.screening.screening import FILE, Candidate, Screening
from workbench.searching import devices
from workbench.searching import start as start_module
from workbench.searching.devices import Seats, choose_seats
from workbench.space import backbone_options
from workbench.space import precisions as precisions_module
from workbench.space.space import Space
from workbench.space.weights_finder import WeightsFinder
from workbench.study.folder import StudyFolder, find_study
from workbench.study.records import read_trials
from workbench.tracking.runs import Tracking
from workbench.workspace import Workspace


def test_a_screening_narrows_the_backbones_and_its_first_drafts_are_tried_first(
    bench: Bench,
    inline: InlineTrials,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    names = ["test_resnet", "test_efficientnet", "test_convnext", "test_vit"]
    found = Screening(
        candidates=tuple(
            Candidate(
                backbone=name,
                views=("image",),
                pretrained="none",
                image_px=32,
                auc=0.9 - 0.1 * place,
                standard_error=0.02,
                val_auc=0.8,
            )
            for place, name in enumerate(names)
        ),
        kept=("test_resnet", "test_efficientnet"),
        seconds=3.0,
    )

    def screen(space: Space, *_: object, **__: object) -> Screening:
        assert space.backbones() == names
        write_json(bench.workspace.studies / experiment.stem / FILE, found.model_dump(mode="json"))
        return found

    monkeypatch.setattr(start_module, "screen", screen)
    space = {**SPACE, "backbone": {"choice": names}}
    experiment = bench.experiment(space)
    outcome = bench.search(experiment, 6)
    tried = [recipe.model.backbone for recipe in inline.trained]
    assert tried[:2] == ["test_resnet", "test_efficientnet"]
    assert {*tried} == {"test_resnet", "test_efficientnet"}
    # In the middle of 1e-4 to 1e-2, by powers of ten.
    assert [recipe.training.optimizer.lr for recipe in inline.trained[:2]] == pytest.approx(
        [1e-3] * 2
    )
    assert "2 of 4 backbones go on" in capsys.readouterr().err
    tracking = Tracking(bench.workspace.tracking)
    info = outcome.folder.info()
    assert tracking.has_files(tracking.find_study(info.name, info.id), "screening")
    # A second search of the same study goes on in the same narrowed space.
    assert bench.search(experiment, 7).num_new == 1


def test_an_experiment_can_do_without_a_screening(
    bench: Bench, inline: InlineTrials, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(start_module, "screen", None)  # calling it would raise
    names = ["test_resnet", "test_efficientnet", "test_convnext", "test_vit"]
    space = {**SPACE, "backbone": {"choice": names}}
    assert bench.search(bench.experiment(space, screening="off"), 1).num_new == 1
    assert bench.search(bench.experiment(), 1).num_new == 1  # two backbones are too few


def test_what_no_screening_can_judge_is_searched_as_it_is(
    bench: Bench, inline: InlineTrials, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = bench.search(bench.experiment(screening="on"), 2)
    said = capsys.readouterr().err
    assert "not judged: test_resnet and 1 more: no pretrained weights" in said
    assert "cannot help" in said
    assert outcome.num_new == 2


def test_precision_is_decided_when_a_study_begins(
    bench: Bench, inline: InlineTrials, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = {**SPACE, "precision": "auto"}
    experiment = bench.experiment(space)
    gains = {"test_resnet": 2.0, "test_efficientnet": 0.6}
    measured: list[str] = []

    def gain(backbone: str, **_: object) -> float:
        measured.append(backbone)
        return gains[backbone]

    monkeypatch.setattr(precisions_module, "has_bfloat16", lambda device: True)
    monkeypatch.setattr(precisions_module, "gain_of_bfloat16", gain)
    bench.search(experiment, 6)
    monkeypatch.setattr(precisions_module, "has_bfloat16", lambda device: False)
    outcome = bench.search(experiment, 8)
    told = {(recipe.model.backbone, recipe.training.precision) for recipe in inline.trained}
    assert told == {("test_resnet", "bfloat16"), ("test_efficientnet", "float32")}
    assert sorted(measured) == sorted(gains)
    assert outcome.folder.info().bfloat16 is None
    inline.trained.clear()
    bench.search(bench.experiment(space), 1)
    assert [recipe.training.precision for recipe in inline.trained] == ["float32"]


def test_a_runner_is_told_what_may_be_trained(bench: Bench, inline: InlineTrials) -> None:
    space = {**SPACE, "image_px": {"choice": [32, 64]}, "batch_size": {"choice": [8, 16]}}
    bench.search(bench.experiment(space), 2, jobs="auto")
    told = inline.prepared_for
    assert {recipe.model.image_px for recipe in told} == {32, 64}
    assert {recipe.training.batch_size for recipe in told} == {8, 16}


def test_a_study_of_an_older_version_goes_on(bench: Bench, inline: InlineTrials) -> None:
    experiment = bench.experiment()
    outcome = bench.search(experiment, 1)
    begun = yaml.safe_load(outcome.folder.experiment_file.read_text(encoding="utf-8"))
    del begun["experiment"]["sampler"], begun["experiment"]["screening"]
    outcome.folder.experiment_file.write_text(yaml.safe_dump(begun), encoding="utf-8")
    assert bench.search(experiment, 2).num_new == 1


@pytest.mark.parametrize(
    ("key", "value", "named"),
    [
        ("pruning", {"kind": "halving", "tryout": {"data_share": 0.5}}, "`pruning.tryout`"),
        ("sampler", {"kind": "tpe-flat"}, "`sampler.kind: tpe-flat`"),
    ],
)
def test_what_only_an_older_version_had_is_refused_with_a_sentence(
    bench: Bench, inline: InlineTrials, key: str, value: dict[str, Any], named: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        bench.search(bench.experiment(**{key: value}), 1)
    assert str(refused.value).endswith(f"asks for {named}, which only version 0.1 had. Remove it.")
    # A study that was begun with it, whose experiment file no longer has it.
    experiment = bench.experiment()
    outcome = bench.search(experiment, 1)
    begun = yaml.safe_load(outcome.folder.experiment_file.read_text(encoding="utf-8"))
    begun["experiment"][key] = value
    outcome.folder.experiment_file.write_text(yaml.safe_dump(begun), encoding="utf-8")
    with pytest.raises(ConfigError) as refused:
        bench.search(experiment, 2)
    assert str(refused.value) == (
        f"The study {experiment.stem} asks for {named}, which only version 0.1 had. "
        "Go on with that version, or start another study by --study NAME."
    )


def test_a_study_that_an_older_version_began_without_tryouts_goes_on(
    bench: Bench, inline: InlineTrials
) -> None:
    experiment = bench.experiment()
    outcome = bench.search(experiment, 1)
    begun = yaml.safe_load(outcome.folder.experiment_file.read_text(encoding="utf-8"))
    begun["experiment"]["pruning"]["tryout"] = None
    outcome.folder.experiment_file.write_text(yaml.safe_dump(begun), encoding="utf-8")
    assert bench.search(experiment, 2).num_new == 1


def test_a_study_keeps_what_it_is_about(bench: Bench, inline: InlineTrials) -> None:
    experiment = bench.experiment()
    outcome = bench.search(experiment, 1, seed=3)
    info = outcome.folder.info()
    assert info.name == experiment.stem == outcome.folder.name
    assert (info.seed, info.data) == (3, str(bench.data))
    assert info.experiment == str(experiment)
    assert outcome.folder.experiment() == outcome.experiment
    assert yaml.safe_load(outcome.folder.experiment_file.read_text())["space"] == SPACE
    assert outcome.folder.template.read_text() == (bench.data / "prediction.txt.csv").read_text()
    assert find_study(bench.workspace.studies, None).name == info.name
    assert {recipe.seed for recipe in inline.trained} == {3}
    assert {recipe.data for recipe in inline.trained} == {info.fingerprint}


def test_a_name_makes_another_study_of_the_same_experiment(
    bench: Bench, inline: InlineTrials
) -> None:
    experiment = bench.experiment()
    one, two = bench.search(experiment, 1), bench.search(experiment, 2, study="other-name")
    assert (one.folder.name, two.folder.name) == (experiment.stem, "other-name")
    assert (len(read_trials(one.folder)), len(read_trials(two.folder))) == (1, 2)
    assert one.folder.info().id != two.folder.info().id


def test_the_same_seed_draws_the_same_recipes(bench: Bench, inline: InlineTrials) -> None:
    for name in ("first-draw", "second-draw"):
        bench.search(bench.experiment(), 3, study=name)
    uids = [recipe.uid for recipe in inline.trained]
    assert uids[:3] == uids[3:]
    bench.search(bench.experiment(), 3, study="third-draw", seed=1)
    assert not {recipe.training.optimizer.lr for recipe in inline.trained[6:]} & {
        recipe.training.optimizer.lr for recipe in inline.trained[:6]
    }


def test_a_study_goes_on_with_the_versions_of_views_that_it_began_with(
    bench: Bench, inline: InlineTrials
) -> None:
    frames = {"kind": "frames", "num_frames": 1, "image_px": 32}
    space = {**SPACE, "views": ["frames"]}
    experiment = bench.experiment(space, views={"frames": frames})
    outcome = bench.search(experiment, 1)
    # As a program wrote it that knew the first version alone.
    about = yaml.safe_load(outcome.folder.experiment_file.read_text())
    about["experiment"]["views"]["frames"]["version"] = 1
    outcome.folder.experiment_file.write_text(yaml.safe_dump(about))
    assert bench.search(experiment, 2).num_new == 1
    assert [recipe.model.views["frames"].version for recipe in inline.trained] == [2, 1]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (
            {"objective": {"metric": "f1"}},
            "its experiment (`objective.metric` was 'auc', is 'f1') changed",
        ),
        (
            {"views": {"image": {"kind": "image", "image_px": 48}}},
            "its experiment (`views.image.image_px` was 32, is 48) changed",
        ),
        (
            {"space": {**SPACE, "batch_size": 4, "dropout": 0.1}},
            "its space (`batch_size` was 8, is 4; and 1 more) changed",
        ),
        ({"seed": 1}, "its seed (was 0, is 1) changed"),
        ({"data": None}, "its data (other content: 48 files, e.g. trainset/train0.png) changed"),
        (
            {"seed": 1, "space": {**SPACE, "frozen": True}},
            "its space (`frozen` was not there, is True) and its seed (was 0, is 1) changed",
        ),
    ],
    ids=["objective", "views", "space", "seed", "data", "two"],
)
def test_a_study_that_was_begun_otherwise_is_refused_and_says_what_changed(
    bench: Bench,
    inline: InlineTrials,
    tmp_path: Path,
    changed: dict[str, Any],
    said: str,
) -> None:
    experiment = bench.experiment()
    bench.search(experiment, 1)
    options = {key: changed[key] for key in ("seed",) if key in changed}
    if "data" in changed:
        options["data"] = write_data(tmp_path / "data", seed=1)
    keys = {k: v for k, v in changed.items() if k not in ("seed", "data", "space")}
    write_experiment(
        bench.workspace.root, changed.get("space", SPACE), name=experiment.stem, **keys
    )
    with pytest.raises(StudyError) as refused:
        bench.search(experiment, 2, **options)
    assert said in str(refused.value)
    assert "--study NAME" in str(refused.value)
    assert len(inline.trained) == 1


def test_a_study_goes_on_when_the_file_of_its_search_space_was_moved(
    bench: Bench, inline: InlineTrials
) -> None:
    experiment = bench.experiment()
    bench.search(experiment, 1)
    old = bench.workspace.root / "search_spaces" / experiment.name
    old.rename(old.with_name(f"moved-{old.name}"))
    tree = yaml.safe_load(experiment.read_text())
    tree["search_space"] = f"../search_spaces/moved-{old.name}"
    experiment.write_text(yaml.safe_dump(tree), encoding="utf-8")
    assert bench.search(experiment, 2).num_new == 1


def test_a_study_goes_on_with_its_backbones_when_the_table_of_figures_changes(
    bench: Bench, inline: InlineTrials, monkeypatch: pytest.MonkeyPatch
) -> None:
    query = {"leaderboard": {"sort": "params", "top": 2, "limit": "1M"}}
    experiment = bench.experiment({**SPACE, "backbone": query})
    outcome = bench.search(experiment, 1)
    stored = yaml.safe_load(outcome.folder.experiment_file.read_text())["space"]["backbone"]
    assert len(stored["choice"]) == 2
    assert stored["asked"] == query
    table = read_table()
    rows = tuple(row for row in table.rows if row.model not in stored["choice"])
    monkeypatch.setattr(backbone_options, "read_table", lambda: Table(source="", rows=rows))
    assert bench.search(experiment, 4).num_new == 3
    assert {recipe.model.backbone for recipe in inline.trained} <= set(stored["choice"])
    bench.search(experiment, 1, study="another-table")
    assert inline.trained[-1].model.backbone not in stored["choice"]


def test_a_comment_or_a_default_written_out_is_no_change(
    bench: Bench, inline: InlineTrials
) -> None:
    experiment = bench.experiment()
    bench.search(experiment, 1)
    experiment.write_text("# thoughts\nobjective: {metric: auc}\n" + experiment.read_text())
    assert bench.search(experiment, 2).num_new == 1


def test_data_that_moved_is_the_same_data(
    bench: Bench, inline: InlineTrials, tmp_path: Path
) -> None:
    experiment = bench.experiment()
    bench.search(experiment, 1)
    bench.data.rename(tmp_path / "moved")
    try:
        assert bench.search(experiment, 2, data=tmp_path / "moved").num_new == 1
    finally:
        (tmp_path / "moved").rename(bench.data)


def test_an_experiment_about_a_folder_needs_one(bench: Bench, tmp_path: Path) -> None:
    experiment = bench.experiment()
    with pytest.raises(DataError, match="needs its data: give the folder by --data DIR"):
        bench.search(experiment, 1, data=None)
    with pytest.raises(DataError, match="no data does not exist"):
        bench.search(experiment, 1, data=tmp_path / "no data")
    with pytest.raises(StudyError, match="no study"):
        find_study(bench.workspace.studies, experiment.stem)


def test_an_experiment_about_the_demo_makes_it(
    bench: Bench, inline: InlineTrials, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Path] = []

    def make_demo(out: Path) -> None:
        made.append(write_data(out))

    monkeypatch.setattr(build, "make_demo", make_demo)
    outcome = bench.search(bench.experiment(source="demo"), 1, data=None)
    assert made == [bench.workspace.demo_data]
    assert outcome.folder.info().data == str(bench.workspace.demo_data)


def test_an_unknown_backbone_is_refused_before_the_data_is_read(
    bench: Bench, tmp_path: Path
) -> None:
    space = {**SPACE, "backbone": {"choice": ["test_resnet", "test_resnot"]}}
    with pytest.raises(ConfigError, match="'test_resnot' is not a model of timm"):
        bench.search(bench.experiment(space), 1, data=tmp_path)  # which holds no data


def test_a_wrong_data_folder_is_told_before_weights_are_looked_for(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def find(*_: object) -> None:
        raise AssertionError("weights are looked for")

    monkeypatch.setattr(WeightsFinder, "find", find)
    experiment = bench.experiment({**SPACE, "pretrained": "hub"})
    with pytest.raises(DataError, match="does not exist"):
        bench.search(experiment, 1, data=tmp_path / "none")


def test_what_could_not_be_decoded_is_told_once(
    bench: Bench, inline: InlineTrials, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_data(tmp_path / "data")
    (data / "valset" / "val1.jpg").write_bytes(b"no picture")
    bench.search(bench.experiment(), 1, data=data)
    said = " ".join(capsys.readouterr().err.split())
    assert said.count("not an image of an accepted format") == 1
    assert "val: 15 of 16 files are measured" in said
    with pytest.raises(DataError, match="--strict allows none"):
        bench.search(bench.experiment(), 1, data=data, strict=True)
    assert "image: 1 file broken, e.g. valset/val1.jpg: the file is" in capsys.readouterr().err


@pytest.mark.slow
def test_a_missing_val_file_is_left_out_of_every_score_counted_and_told(
    bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_data(tmp_path / "data")
    (data / "valset" / "val1.jpg").unlink()
    outcome = bench.search(bench.experiment({**THREE, "num_epochs": 1}), 1, data=data)
    said = " ".join(capsys.readouterr().err.split())
    assert (
        "val: 15 of 16 files are measured; 1 of which no view could be made (1 fake) are left out "
        "of every score, e.g. valset/val1.jpg" in said
    )
    (row,) = read_trials(outcome.folder)
    scores = outcome.folder.trial(row.recipe).read_scores()
    val = scores[scores["slice"] == "val"]
    assert len(val) == 15 and "val1.jpg" not in {*val["name"]}
    (epoch,) = row.epochs
    assert epoch.objective == pytest.approx(roc_auc_score(val["target"], val["score"]))
    assert row.by_slice["val"]["auc"] == row.objective == epoch.objective


def test_a_name_that_no_folder_can_have_is_refused(bench: Bench) -> None:
    with pytest.raises(StudyError, match="cannot be used"):
        bench.search(bench.experiment(), 1, study="../up")


def test_a_study_in_use_is_refused(bench: Bench) -> None:
    experiment = bench.experiment()
    folder = StudyFolder(bench.workspace.studies / experiment.stem)
    with folder.held(), pytest.raises(StudyError, match="is held by another search"):
        bench.search(experiment, 1)


def test_a_cpu_gets_a_worker_a_core_and_the_cores_are_shared_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(devices, "num_cores", lambda: 2)
    assert choose_seats("cpu", None) == Seats(("cpu", "cpu"), 1)
    assert choose_seats("cpu", 1) == Seats(("cpu",), 2)
    monkeypatch.setattr(devices, "num_cores", lambda: 16)
    assert choose_seats("cpu", None) == Seats(("cpu",) * 4, 4)
    assert choose_seats("cpu", 32) == Seats(("cpu",) * 32, 1)


def test_a_user_may_bound_the_threads_of_a_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "num_cores", lambda: 16)
    for asked, threads in (("1", 1), ("6", 6), ("99", 8), ("0", 8), ("", 8), ("many", 8)):
        monkeypatch.setenv("OMP_NUM_THREADS", asked)
        assert choose_seats("cpu", 2) == Seats(("cpu", "cpu"), threads)


def test_several_cuda_devices_share_the_workers_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(devices, "num_cores", lambda: 12)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_seats("auto", None) == Seats(("cuda:0", "cuda:1"), 6)
    assert choose_seats("cuda", 3) == Seats(("cuda:0", "cuda:1", "cuda:0"), 4)
    assert choose_seats("cuda:1", 2) == Seats(("cuda:1", "cuda:1"), 6)
    with pytest.raises(StudyError, match=r"cuda:2 is not there: torch sees 2"):
        choose_seats("cuda:2", None)


def test_a_trial_may_take_several_cuda_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(devices, "num_cores", lambda: 12)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 5)
    pairs = Seats(("cuda:0", "cuda:2"), 3, (("cuda:1",), ("cuda:3",)))
    assert choose_seats("auto", None, 2) == pairs  # the fifth takes none
    assert pairs.all_devices == ("cuda:0", "cuda:2", "cuda:1", "cuda:3")
    # Two share the devices.
    both = (("cuda:1", "cuda:2", "cuda:3"),) * 2
    assert choose_seats("cuda", 2, 4) == Seats(("cuda:0", "cuda:0"), 1, both)


@pytest.mark.parametrize(
    ("device", "num", "words"),
    [
        ("cpu", 2, "is 2, and --device cpu has 0. Set it to 1 in the experiment."),
        ("auto", 6, "is 6, and --device cuda has 5. Set it to 5 in the experiment."),
        ("cuda:1", 2, "--device cuda:1 has 1. Set it to 1 in the experiment, or give --device cu"),
    ],
)
def test_fewer_gpus_than_a_trial_takes_are_refused(
    monkeypatch: pytest.MonkeyPatch, device: str, num: int, words: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 5)
    with pytest.raises(StudyError, match=words):
        choose_seats(device, None, num)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"jobs": "auto"}, "^--jobs auto measures how many trials share one GPU"),
        ({"compiled": "on"}, "^--compile on compiles the pass of one GPU"),
        ({}, "^`gpus_per_trial` is 2, and --device cpu has 0"),
    ],
    ids=str,
)
def test_what_goes_with_one_gpu_alone_is_refused_before_the_search(
    bench: Bench, options: dict[str, Any], words: str
) -> None:
    experiment = bench.experiment(gpus_per_trial=2)
    with pytest.raises(StudyError, match=words):
        bench.search(experiment, 1, **options)
    assert not StudyFolder(bench.workspace.studies / experiment.stem).info_file.exists()


def test_a_study_goes_on_with_another_number_of_gpus(
    bench: Bench, inline: InlineTrials, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = bench.experiment()
    bench.search(experiment, 1)
    with monkeypatch.context() as patch:
        seats = Seats(("cpu",), 1, (("cpu",),))
        patch.setattr(start_module, "seats_asked", lambda options, experiment: seats)
        experiment.write_text(experiment.read_text() + "gpus_per_trial: 2\n")
        outcome = bench.search(experiment, 2)
    assert outcome.num_new == 1
    assert outcome.folder.experiment().gpus_per_trial == 2


@pytest.mark.parametrize("device", ["tpu", "cuda:x", ""])
def test_an_unknown_device_is_refused(device: str) -> None:
    with pytest.raises(StudyError, match="is not known"):
        choose_seats(device, None)


def test_everything_is_kept_below_the_folder_that_it_runs_in(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    kept = (
        workspace.studies,
        workspace.cache,
        workspace.demo_data,
        workspace.weights,
        workspace.tracking,
    )
    assert all(path.is_relative_to(tmp_path) for path in kept)
