"""An experiment file: what it may say, and the sentence that answers each mistake."""

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.study.tiny import SPACE, write_experiment
from workbench.errors import ConfigError
from workbench.media.image import Image
from workbench.space.experiment import read_experiment


def test_an_experiment_is_read_with_its_space_and_the_defaults(tmp_path: Path) -> None:
    experiment, space = read_experiment(write_experiment(tmp_path))
    assert experiment.name == "tiny"
    assert experiment.views == {"image": Image(image_px=32)}
    assert experiment.rulebook.max_params == 200_000_000
    assert (experiment.objective.metric, experiment.objective.over) == ("auc", ("val",))
    assert space.tree == SPACE


def test_the_space_is_looked_for_beside_the_experiment_file_not_where_the_program_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_experiment(tmp_path / "project")
    monkeypatch.chdir(tmp_path)
    _, space = read_experiment(Path("project/experiments/tiny.yaml"))
    assert Path(space.file).samefile(tmp_path / "project" / "search_spaces" / "tiny.yaml")


def test_a_study_keeps_the_versions_of_its_views_unless_the_file_names_one(tmp_path: Path) -> None:
    frames: dict[str, Any] = {"kind": "frames"}
    keys: dict[str, Any] = {
        "views": {"image": {"kind": "image"}, "a": frames, "b": frames, "c": frames}
    }
    begun, _ = read_experiment(write_experiment(tmp_path / "then", **keys))
    first = begun.views["a"].model_copy(update={"version": 1})
    begun = begun.model_copy(update={"views": {**begun.views, **dict.fromkeys("abc", first)}})
    keys["views"] |= {"b": {**frames, "version": 2}, "c": {"kind": "frame-diff"}, "d": frames}
    now, _ = read_experiment(write_experiment(tmp_path / "now", **keys))
    assert {name: view.version for name, view in now.as_begun(begun).views.items()} == {
        "image": 2,
        "a": 1,
        "b": 2,
        "c": 2,
        "d": 2,
    }
    assert now.as_begun(begun).views["a"] == first


def test_a_search_space_may_be_named_by_its_whole_path(tmp_path: Path) -> None:
    whole = tmp_path / "search_spaces" / "tiny.yaml"
    _, space = read_experiment(write_experiment(tmp_path, search_space=str(whole)))
    assert space.file == str(whole)


SECRET = "token: hidden"


@pytest.mark.parametrize(
    "named",
    [
        "../../outside.yaml",
        "{outside}",
        "../search_spaces/link.yaml",
        "../search_spaces/renamed.yaml",
        "../search_spaces/notes.txt",
        "/etc/passwd",
        "/dev/zero",
        "../../../../../../../../etc/passwd",
        "",
        "..",
        "a\0.yaml",
    ],
)
def test_a_search_space_of_elsewhere_is_not_opened(tmp_path: Path, named: str) -> None:
    project = tmp_path / "project"
    (tmp_path / "outside.yaml").write_text(SECRET)
    spaces = project / "search_spaces"
    spaces.mkdir(parents=True)
    (spaces / "link.yaml").symlink_to(tmp_path / "outside.yaml")
    (spaces / "notes.txt").write_text(SECRET)
    (spaces / "renamed.yaml").symlink_to("notes.txt")
    named = named.format(outside=tmp_path / "outside.yaml")
    with pytest.raises(ConfigError) as refused:
        read_experiment(write_experiment(project, search_space=named))
    assert "must be a .yaml file in" in str(refused.value)
    assert "\n" not in str(refused.value)
    assert "token" not in str(refused.value)
    assert "root:" not in str(refused.value)


def test_a_search_space_that_is_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    file = write_experiment(tmp_path)
    (tmp_path / "search_spaces" / "tiny.yaml").unlink()
    os.mkfifo(tmp_path / "search_spaces" / "tiny.yaml")
    with pytest.raises(ConfigError, match=r"tiny\.yaml is a pipe"):
        read_experiment(file)


def test_one_name_will_do_where_several_may_stand(tmp_path: Path) -> None:
    data = {
        "train_media": "clips",
        "val_labels": ["a.txt", "b.txt"],
        "columns": {"name": "clip", "target": "kind"},
        "classes": {"fake": 1, "real": [0, "genuine"]},
    }
    experiment, _ = read_experiment(write_experiment(tmp_path, data=data))
    assert experiment.data.train_media == ("clips",)
    assert (experiment.data.columns.name, experiment.data.columns.score) == ("clip", None)
    assert (experiment.data.classes.fake, experiment.data.classes.real) == (
        ("1",),
        ("0", "genuine"),
    )
    assert experiment.data.val_labels == ("a.txt", "b.txt")


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"sorce": "demo"}, "`sorce` is not a known key (given 'demo'). Remove or rename it."),
        ({"source": "web"}, "`source` is 'web'"),
        ({"name": "../up"}, "`name` is '../up'"),
        ({"name": ""}, "`name` is ''"),
        ({"views": {}}, "`views` is {}"),
        ({"views": {"image": {"kind": "picture"}}}, "'picture'"),
        ({"views": {"image": {"kind": "image", "px": 3}}}, "`views.image.image.px`"),
        ({"views": {"the image": {"kind": "image"}}}, "the view name 'the image' may hold letters"),
        ({"views": {"v" * 270: {"kind": "image"}}}, "has 270 letters: 64 at most"),
        ({"views": {"../x": {"kind": "image"}}}, "the view name '../x' may hold letters"),
        ({"views": {"a\n\x1b[2J": {"kind": "image"}}}, r"name 'a\n\u001b[2J' may hold letters"),
        ({"data": {"columns": {"label": "x"}}}, "`data.columns.label` is not a known key"),
        ({"data": {"classes": {"fake": "x"}}}, "name the labels of both classes"),
        ({"rulebook": {"max_params": "many"}}, "`rulebook.max_params` is 'many'"),
        ({"rulebook": {"pretraining": ["in2k"]}}, "'in2k' is not known: write none"),
        ({"objective": {"metric": "acc"}}, "`objective.metric` is 'acc'"),
        ({"pruning": {"kind": "mean"}}, "`pruning.kind` is 'mean'"),
        ({"pruning": {"warmup_epochs": -1}}, "`pruning.warmup_epochs` is -1"),
        ({"data": {"train": "x"}}, "`data.train` is not a known key"),
        ({"search_space": None}, "`search_space` is None"),
    ],
)
def test_each_mistake_is_named_by_file_and_key(
    tmp_path: Path, keys: dict[str, Any], said: str
) -> None:
    file = write_experiment(tmp_path)
    file.write_text(yaml.safe_dump({**yaml.safe_load(file.read_text()), **keys}), encoding="utf-8")
    with pytest.raises(ConfigError) as refused:
        read_experiment(file)
    assert said in str(refused.value)
    assert str(file) in str(refused.value)


@pytest.mark.parametrize("key", ["name", "views", "search_space"])
def test_a_missing_key_is_named(tmp_path: Path, key: str) -> None:
    file = write_experiment(tmp_path)
    tree = yaml.safe_load(file.read_text())
    del tree[key]
    file.write_text(yaml.safe_dump(tree), encoding="utf-8")
    with pytest.raises(ConfigError, match=f"tiny.yaml: `{key}` is missing"):
        read_experiment(file)


def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "list.yaml"
    file.write_text("- a\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"list\.yaml holds no .key: value. pairs"):
        read_experiment(file)


def test_an_absent_experiment_lists_those_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_experiment(tmp_path)
    with pytest.raises(ConfigError, match=r"tyni\.yaml does not exist\. There is .*tiny\.yaml"):
        read_experiment(tmp_path / "experiments" / "tyni.yaml")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"There is experiments/tiny\.yaml"):
        read_experiment(tmp_path / "nowhere" / "demo.yaml")
    (tmp_path / ".pre-commit-config.yaml").write_text("repos: []\n")  # no experiment
    with pytest.raises(ConfigError, match=r"There is experiments/tiny\.yaml"):
        read_experiment(tmp_path / "tyni.yaml")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="Run this in the project's folder"):
        read_experiment(tmp_path / "nowhere" / "demo.yaml")


def test_an_absent_search_space_is_named(tmp_path: Path) -> None:
    file = write_experiment(tmp_path)
    (tmp_path / "search_spaces" / "tiny.yaml").unlink()
    with pytest.raises(ConfigError, match=r"search_spaces/tiny\.yaml does not exist"):
        read_experiment(file)


def test_a_view_that_the_experiment_lacks_is_refused_by_the_space_file(tmp_path: Path) -> None:
    file = write_experiment(tmp_path, {**SPACE, "views": ["frames"]})
    with pytest.raises(
        ConfigError, match=r"search_spaces/tiny\.yaml: .*views of the experiment \(image"
    ):
        read_experiment(file)
