"""What a search space can say, what it refuses, and that all it draws reaches the recipe."""

from collections.abc import Callable, Iterator
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any, get_args

import hypothesis
import pytest
import yaml
from hypothesis import strategies as st

from workbench.errors import ConfigError
from workbench.media.views import AnyView
from workbench.parts.augment_policy import Policy
from workbench.parts.leaderboard import Table, read_table
from workbench.parts.model_spec import TTA
from workbench.rules.ranking import Query, rank_backbones
from workbench.rules.rulebook import Rulebook
from workbench.space import backbone_options
from workbench.space.experiment import read_experiment
from workbench.space.space import SampledConfig, Space, read_space
from workbench.values import Frozen, kinds

ROOT = Path(__file__).parents[2]
EXPERIMENTS = sorted((ROOT / "experiments").glob("*.yaml"))
LEAST: dict[str, Any] = {
    "views": ["image"],
    "backbone": "test_resnet",
    "optimizer": {"kind": "adamw", "lr": 1e-3},
}


class Fixed:
    """Draws the wanted values, else the first option or the low bound; remembers what it saw."""

    def __init__(self, **wanted: Any) -> None:
        self.wanted = {name.replace("__", "."): value for name, value in wanted.items()}
        self.seen: dict[str, tuple[Any, ...]] = {}

    def suggest_categorical(self, name: str, choices: list[Any]) -> Any:
        self.seen[name] = ("choice", *choices)
        return self.wanted.get(name, choices[0])

    def suggest_float(self, name: str, low: float, high: float, *, log: bool) -> float:
        self.seen[name] = ("float", low, high, log)
        return float(self.wanted.get(name, low))

    def suggest_int(self, name: str, low: int, high: int, *, log: bool) -> int:
        self.seen[name] = ("int", low, high, log)
        return int(self.wanted.get(name, low))


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., Space]:
    """Reads a space made of the least one and some keys."""

    def read_with(**keys: Any) -> Space:
        file = tmp_path / "space.yaml"
        file.write_text(yaml.safe_dump({**LEAST, **keys}), encoding="utf-8")
        return read_space(file, ("image", "mel"))

    return read_with


def test_a_number_is_drawn_between_its_bounds_and_a_choice_from_its_options(
    read: Callable[..., Space],
) -> None:
    space = read(
        dropout={"float": [0.1, 0.4]},
        batch_size={"int": [8, 64], "log": True},
        image_px={"choice": [32, 64]},
        optimizer={"kind": "adamw", "lr": {"float": [1e-4, 1e-2], "log": True}},
    )
    drawer = Fixed(dropout=0.3, batch_size=16, image_px=64)
    draft = space.draw(drawer)
    assert drawer.seen == {
        "dropout": ("float", 0.1, 0.4, False),
        "batch_size": ("int", 8, 64, True),
        "image_px": ("choice", 32, 64),
        "optimizer.lr": ("float", 1e-4, 1e-2, True),
    }
    assert (draft.dropout, draft.batch_size, draft.image_px) == (0.3, 16, 64)
    assert draft.optimizer.lr == 1e-4
    assert isinstance(draft.batch_size, int)


def test_a_value_that_is_no_draw_is_taken_as_it_is(read: Callable[..., Space]) -> None:
    drawer = Fixed()
    draft = read(dropout=0.25, num_epochs=7).draw(drawer)
    assert not drawer.seen
    assert (draft.dropout, draft.num_epochs) == (0.25, 7)


def test_a_switch_is_no_number_of_epochs(read: Callable[..., Space]) -> None:
    with pytest.raises(ConfigError, match=r"`num_epochs` is yes or no .* Write the number"):
        read(num_epochs=True)


def test_what_an_option_opens_is_drawn_only_where_it_is_chosen(read: Callable[..., Space]) -> None:
    space = read(
        optimizer={
            "choice": [
                {"kind": "adamw", "lr": {"float": [1e-4, 1e-3]}, "weight_decay": 0.05},
                {"kind": "sgd", "lr": {"float": [1e-2, 1e-1]}},
            ]
        }
    )
    adamw, sgd = Fixed(), Fixed(optimizer="sgd")
    with_adamw, with_sgd = space.draw(adamw), space.draw(sgd)
    assert adamw.seen.keys() == {"optimizer", "optimizer.adamw(weight_decay=0.05).lr"}
    assert sgd.seen.keys() == {"optimizer", "optimizer.sgd.lr"}
    assert adamw.seen["optimizer"] == ("choice", "adamw(weight_decay=0.05)", "sgd")
    assert (with_adamw.optimizer.kind, with_adamw.optimizer.weight_decay) == ("adamw", 0.05)
    assert (with_sgd.optimizer.kind, with_sgd.optimizer.lr) == ("sgd", 1e-2)


def test_lists_of_views_are_options_named_by_their_views(read: Callable[..., Space]) -> None:
    space = read(views={"choice": [["image"], ["mel", "image"]]})
    drawer = Fixed(views="mel+image")
    assert space.draw(drawer).views == ("mel", "image")
    assert drawer.seen["views"] == ("choice", "image", "mel+image")
    assert space.view_sets() == [("image",), ("mel", "image")]


def test_yes_and_no_are_options(read: Callable[..., Space]) -> None:
    space = read(frozen={"choice": [True, False]})
    assert [space.draw(Fixed(frozen=value)).frozen for value in (True, False)] == [True, False]


def test_what_can_be_drawn_is_told_without_drawing(read: Callable[..., Space]) -> None:
    space = read(
        backbone={"choice": ["test_resnet", "test_vit"]},
        pretrained={"choice": ["none", "auto"]},
        image_px={"int": [48, 96]},
    )
    assert space.backbones() == ["test_resnet", "test_vit"]
    assert space.pretrained_modes() == ["none", "auto"]
    assert space.least_image_px() == 48
    plain = read()
    assert plain.backbones() == ["test_resnet"]
    assert plain.pretrained_modes() == ["auto"]
    assert plain.least_image_px() == SampledConfig.model_fields["image_px"].default


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"dropuot": 0.1}, "`dropuot` is not a known key (given 0.1)"),
        ({"dropout": 1.5}, "`dropout` is 1.5"),
        ({"dropout": {"float": [0.0, 1.5]}}, "`dropout` is 1.5"),
        ({"dropout": {"float": [0.4, 0.1]}}, "`dropout` is {'float': [0.4, 0.1]}"),
        ({"dropout": {"float": [0.1]}}, "give `float: [low, high]`"),
        ({"dropout": {"float": "0 to 1"}}, "give `float: [low, high]`"),
        ({"dropout": {"float": [0, float("inf")]}}, "`dropout` is {'float': [0, inf]}"),
        ({"dropout": {"float": [float("nan"), 1]}}, "give `float: [low, high]`"),
        ({"dropout": {"float": [0.0, 0.5], "log": True}}, "low above 0 with `log: true`"),
        ({"dropout": {"float": [0.1, 0.5], "log": 3}}, "`dropout` is {'float'"),
        ({"dropout": {"float": [0.1, 0.5], "step": 0.1}}, "unknown keys step"),
        ({"dropout": {"choice": [0.1], "log": True}}, "unknown keys log"),
        ({"dropout": {"chioce": [0.1, 0.2]}}, "`chioce`: a draw is written `choice`"),
        ({"backbone": {"flaot": [0.1, 0.2]}}, "`flaot`: a draw is written `float`"),
        ({"batch_size": {"int": [8, 16.5]}}, "give `int: [low, high]`"),
        ({"batch_size": {"int": [True, 8]}}, "give `int: [low, high]`"),
        ({"batch_size": {"choice": []}}, "`batch_size.choice` is []"),
        ({"batch_size": {"choice": 8}}, "`batch_size.choice` is 8"),
        ({"batch_size": {"choice": [8, 16, 8]}}, "`batch_size.choice` holds an option twice"),
        ({"batch_size": {"choice": [8, 0]}}, "`batch_size` is 0"),
        ({"optimizer": {"kind": "lion", "lr": 1e-3}}, "`optimizer.kind` is 'lion': should be one"),
        ({"optimizer": {"choice": [{"kind": "sgd", "lr": {"floats": [1e-3, 1]}}]}}, "`floats`"),
        ({"optimizer": {"kind": "sgd"}}, "`optimizer.sgd.lr` is missing"),
        (
            {"optimizer": {"choice": [{"kind": "adamw", "lr": 1e-3}, {"kind": "sgd", "lr": -1}]}},
            "`optimizer.sgd.lr` is -1",
        ),
        (
            {"optimizer": {"choice": [{"kind": "adamw", "lr": 1e-3}, {"kind": "sgd", "nu": 1}]}},
            "`optimizer.sgd.nu` is not a known key",
        ),
        ({"optimizer": None}, "`optimizer`"),
        ({"views": []}, "`views`"),
        ({"views": "image"}, "`views` is 'image'"),
        ({"views": ["face"]}, "`views` is ['face'], and must be views of"),
        (
            {"views": {"choice": [["image"], ["image", "image"]]}},
            "['image', 'image'], and must be views",
        ),
        ({"backbone": {"choice": ["test_resnet", 3]}}, "`backbone` is 3"),
        ({"augment": {"pictures": {"hflip": {"float": [0.0, 2.0]}}}}, "`augment.pictures.hflip`"),
        ({"augment": {3: 4}}, "`augment"),
        ({"dropout": {"choice": [0.1, float("inf")]}}, "space.yaml, `dropout.choice`"),
        ({"backbone": {"choice": ["test_vit", date(2020, 1, 1)]}}, "`backbone` is"),
    ],
)
def test_what_cannot_make_a_recipe_is_refused_by_file_and_key(
    read: Callable[..., Space], tmp_path: Path, keys: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        read(**keys)
    assert said in str(refused.value)
    assert str(tmp_path / "space.yaml") in str(refused.value)


def test_a_space_of_too_many_options_is_refused(read: Callable[..., Space]) -> None:
    nested = {"choice": [{"kind": "adamw", "lr": {"choice": [1e-3, 1e-4]}}] * 3}
    with pytest.raises(ConfigError, match=r"`optimizer\.choice` holds an option twice"):
        read(optimizer=nested)
    wide = {"choice": [f"b{number}" for number in range(2_500)]}
    with pytest.raises(ConfigError, match=r"2,500 options among 2,5.. values, more than"):
        read(backbone=wide)
    deep = {"choice": [{"kind": f"o{number}", "lr": [1] * 8} for number in range(700)]}
    with pytest.raises(ConfigError, match="700 options among 7,"):
        read(optimizer=deep)
    with pytest.raises(ConfigError, match="has 21 options with a `leaderboard`"):
        read(backbone={"choice": [{"leaderboard": {"top": number}} for number in range(1, 22)]})


def test_what_is_refused_is_shown_in_part(read: Callable[..., Space]) -> None:
    long = "x" * 2_000
    for keys in (
        {"dropout": {"float": [long] * 50}},
        {"dropout": {"choice": {long: [long] * 50}}},
        {"dropout": {"float": [0, 1], long: 1}},
        {"views": [long] * 20},
        {"backbone": {"leaderboard": {"top": 1}, long: 1}},
    ):
        with pytest.raises(ConfigError) as refused:
            read(**keys)
        assert len(str(refused.value)) < 700


def test_a_key_that_is_no_word_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "space.yaml"
    tree: dict[Any, Any] = {**LEAST, 3: 4}
    file.write_text(yaml.safe_dump(tree), encoding="utf-8")
    with pytest.raises(ConfigError, match="`3`"):
        read_space(file, ("image",))


@pytest.mark.parametrize("key", ["views", "backbone", "optimizer"])
def test_a_missing_key_is_named(tmp_path: Path, key: str) -> None:
    file = tmp_path / "space.yaml"
    file.write_text(yaml.safe_dump({k: v for k, v in LEAST.items() if k != key}), encoding="utf-8")
    with pytest.raises(ConfigError, match=f"space.yaml: `{key}` is missing"):
        read_space(file, ("image",))


def test_a_space_that_is_no_mapping_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "space.yaml"
    file.write_text("- views\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"space\.yaml holds no .key: value. pairs"):
        read_space(file, ("image",))


def test_an_unknown_view_is_refused_with_those_there_are(read: Callable[..., Space]) -> None:
    with pytest.raises(ConfigError, match=r"views of the experiment \(image, mel\)"):
        read(views={"choice": [["image"], ["imgae"]]})


def test_an_error_deep_in_an_option_of_an_option_is_found(read: Callable[..., Space]) -> None:
    inner = {"choice": [{"hflip": 0.5}, {"rotation_deg": {"float": [0, 999]}}]}
    space_keys = {"augment": {"choice": [{"mixup_alpha": 0.2}, {"pictures": inner}]}}
    with pytest.raises(ConfigError, match=r"`augment\.pictures\.rotation_deg` is 999"):
        read(**space_keys)


def test_a_choice_within_a_choice_counts_among_what_can_be_drawn(
    read: Callable[..., Space],
) -> None:
    space = read(backbone={"choice": ["test_vit", {"choice": ["test_resnet", "test_convnext"]}]})
    assert space.backbones() == ["test_vit", "test_resnet", "test_convnext"]


def test_a_question_to_the_table_of_figures_becomes_a_plain_choice(
    read: Callable[..., Space],
) -> None:
    asked = {"leaderboard": {"sort": "imagenet-r", "top": 4, "families": 2, "limit": "10M"}}
    space = read(backbone=asked)
    found = space.backbones()
    want = Query(sort="imagenet-r", top=4, families=2, limit=10_000_000)
    assert found == [row.model for row in rank_backbones(read_table(), want, Rulebook()).rows[:4]]
    assert len(set(found)) == 4
    assert space.tree["backbone"] == {"choice": found, "asked": asked}
    drawer = Fixed(backbone=found[2])
    assert space.draw(drawer).backbone == found[2]
    assert drawer.seen == {"backbone": ("choice", *found)}
    assert [dimension.name for dimension in space.dimensions()] == ["backbone"]


def test_a_question_stands_among_names_and_repeats_none(read: Callable[..., Space]) -> None:
    best, second = read(backbone={"leaderboard": {"top": 2}}).backbones()
    space = read(backbone={"choice": ["resnet18.a1_in1k", best, {"leaderboard": {"top": 2}}]})
    assert space.backbones() == ["resnet18.a1_in1k", best, second]


def test_a_question_is_answered_under_the_rulebook_with_a_backbone_for_each_view(
    tmp_path: Path,
) -> None:
    file = tmp_path / "space.yaml"
    query = {"leaderboard": {"sort": "imagenet", "top": 1000}}
    rulebook = Rulebook.model_validate({"max_params": "20M", "pretraining": ["in21k"]})
    rows = {row.model: row for row in read_table().rows}
    most = {}
    for views in (["image"], {"choice": [["image"], ["image", "mel"]]}):
        tree = {**LEAST, "views": views, "backbone": query}
        file.write_text(yaml.safe_dump(tree), encoding="utf-8")
        names = read_space(file, ("image", "mel"), rulebook).backbones()
        assert {rows[name].saw.label for name in names} == {"in21k"}
        most[str(views)] = max(rows[name].params_m for name in names)
    one, two = most.values()
    assert two <= 10 < one <= 20


def test_a_begun_study_keeps_its_answer_when_the_table_changes(
    read: Callable[..., Space], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {"leaderboard": {"sort": "imagenet", "top": 3}}
    begun = read(backbone=asked)
    table = read_table()
    best = begun.backbones()[0]
    newer = Table(source="", rows=tuple(row for row in table.rows if row.model != best))
    monkeypatch.setattr(backbone_options, "read_table", lambda: newer)
    later = read(backbone=asked)
    assert later.backbones() != begun.backbones()
    assert later.as_begun(begun.tree) == begun
    # Another question, or none, is another space.
    other = read(backbone={"leaderboard": {"sort": "imagenet", "top": 2}})
    assert other.as_begun(begun.tree) is other
    plain = read(backbone="test_resnet")
    assert plain.as_begun(begun.tree) is plain
    assert later.as_begun(plain.tree) is later


def test_a_stored_answer_reads_as_it_is(read: Callable[..., Space]) -> None:
    begun = read(backbone={"leaderboard": {"top": 3}})
    stored = {**begun.tree["backbone"], "choice": ["test_resnet", "test_vit"]}
    assert read(backbone=stored).backbones() == ["test_resnet", "test_vit"]


@pytest.mark.parametrize(
    ("node", "said"),
    [
        ({"leaderboard": {"top": 0}}, "`backbone.leaderboard`: `top` is 0"),
        ({"leaderboard": {"sort": "r"}}, "`sort` is 'r'"),
        ({"leaderboard": {"famlies": 2}}, "`famlies` is not a known key"),
        ({"leaderboard": {}, "top": 3}, "other keys beside `leaderboard`: top. Move them into it"),
        ({"leaderboard": "imagenet-r"}, "`backbone.leaderboard`"),
        (
            {"leaderboard": {"limit": "1K"}},
            "finds no model: of its rows, 1556 by params are excluded",
        ),
    ],
)
def test_a_question_that_has_no_answer_is_refused(
    read: Callable[..., Space], node: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        read(backbone=node)
    assert said in str(refused.value)


@pytest.mark.parametrize("experiment", EXPERIMENTS, ids=lambda file: file.stem)
def test_each_shipped_experiment_reads(experiment: Path) -> None:
    read_experiment(experiment)


class Drawn:
    """Draws whatever a property test likes; remembers what it drew."""

    def __init__(self, data: st.DataObject) -> None:
        self.data = data
        self.values: dict[str, Any] = {}

    def suggest_categorical(self, name: str, choices: list[Any]) -> Any:
        return self._keep(name, st.sampled_from(choices))

    def suggest_float(self, name: str, low: float, high: float, *, log: bool) -> float:
        return float(self._keep(name, st.floats(low, high)))

    def suggest_int(self, name: str, low: int, high: int, *, log: bool) -> int:
        return int(self._keep(name, st.integers(low, high)))

    def _keep(self, name: str, some: st.SearchStrategy[Any]) -> Any:
        assert name not in self.values, f"{name} is drawn twice"
        self.values[name] = self.data.draw(some, label=name)
        return self.values[name]


@cache
def shipped_space(experiment: Path) -> tuple[Space, set[str]]:
    """Return the space of an experiment, and the names of all that it can draw."""
    space = read_experiment(experiment)[1]
    return space, {dimension.name for dimension in space.dimensions()}


@pytest.mark.parametrize("experiment", EXPERIMENTS, ids=lambda file: file.stem)
@hypothesis.settings(max_examples=20)
@hypothesis.given(data=st.data())
def test_what_is_drawn_is_found_again(experiment: Path, data: st.DataObject) -> None:
    space, names = shipped_space(experiment)
    drawn = Drawn(data)
    draft = space.draw(drawn)
    assert drawn.values.keys() <= names
    assert space.at(drawn.values) == draft
    found = space.params_of(draft)
    assert found is not None
    assert space.at(found) == draft


def test_a_flip_of_spectrograms_that_can_be_drawn_is_warned_of(read: Callable[..., Space]) -> None:
    flips = {"augment": {"spectrograms": {"hflip": {"choice": [0.0, 0.25]}}}}
    (sentence,) = read(**flips).warnings()
    assert sentence.startswith("augment.spectrograms.hflip is 0.25: a mirrored spectrogram is")
    assert read(augment={"pictures": {"hflip": 0.5}}).warnings() == []


def fields_of(kind: Any) -> set[tuple[str, str]]:
    """Return each field of `kind` and of the values within it, by its class."""
    found = set()
    if isinstance(kind, type) and issubclass(kind, Frozen):
        for name, field in kind.model_fields.items():
            found |= {(kind.__name__, name)} | fields_of(field.annotation)
    for part in get_args(kind):
        found |= fields_of(part)
    return found


def given(value: Any) -> Iterator[tuple[str, str, Any]]:
    """Yield each field that `value`, and the values within it, was given: class, name, value."""
    if isinstance(value, Frozen):
        for name in value.model_fields_set:
            inner = getattr(value, name)
            yield type(value).__name__, name, inner
            yield from given(inner)


def test_the_reference_space_names_every_choice_there_is() -> None:
    space = read_space(ROOT / "search_spaces" / "everything.yaml", tuple(kinds(AnyView)))
    said: dict[tuple[str, str], set[str]] = {}
    for draft in space.corners():
        for owner, name, value in given(draft):
            said.setdefault((owner, name), set()).add(repr(value))
    # `ema_decay` is short for one of the averages, which are named; no optimizer is not asked for.
    wanted = {field for field in fields_of(SampledConfig) if field[0] != "NoOptimizer"}
    wanted -= {("Transfer", "ema_decay")}
    assert {("Pictures", "jpeg_quality"), ("Asymmetric", "clip"), ("Timm", "name")} <= wanted
    missing = sorted(f"{owner}.{name}" for owner, name in wanted - said.keys())
    assert not missing, f"search_spaces/everything.yaml lacks {', '.join(missing)}"
    # Each word that a field may have is an option, too.
    assert said["SampledConfig", "tta"] == {repr(word) for word in get_args(TTA)}
    assert said["Pictures", "policy"] == {repr(word) for word in get_args(Policy)}
    assert said["CrossEntropy", "class_weights"] == {"'none'", "'balanced'"}
    seen = {name for views in space.view_sets() for name in views}
    assert seen == set(kinds(AnyView))


def test_dimensions_know_where_they_exist(read: Callable[..., Space]) -> None:
    sgd = {"kind": "sgd", "lr": {"float": [0.1, 0.2]}}
    space = read(
        optimizer={"choice": [{"kind": "adam", "lr": 1e-3}, sgd]}, dropout={"float": [0.0, 0.5]}
    )
    found = {each.name: (each.values, each.where) for each in space.dimensions()}
    assert found == {
        "optimizer": (("adam(lr=0.001)", "sgd"), {}),
        "optimizer.sgd.lr": ((0.1, 0.2), {"optimizer": "sgd"}),
        "dropout": ((0.0, 0.5), {}),
    }
    assert space.at({"optimizer": "sgd", "optimizer.sgd.lr": 0.2}).optimizer.lr == 0.2
    corners = {(draft.optimizer.kind, draft.optimizer.lr) for draft in space.corners()}
    assert corners == {("adam", 1e-3), ("sgd", 0.1), ("sgd", 0.2)}
    assert {draft.dropout for draft in space.corners()} == {0.0, 0.5}
