from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field, ValidationError

from workbench.errors import ConfigError
from workbench.values import Frozen, Part, build, kinds, read_yaml


class Tea(Part):
    kind: Literal["tea"] = "tea"
    steep_s: float = Field(180.0, gt=0)


class Coffee(Part):
    kind: Literal["coffee"] = "coffee"
    num_beans: int = 60


AnyDrink = Annotated[Tea | Coffee, Field(discriminator="kind")]


class Order(Frozen):
    drink: AnyDrink = Tea()
    table: int
    guest: str = ""


def written(folder: Path, text: str) -> Path:
    path = folder / "order.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def refusal(folder: Path, text: str) -> str:
    """The message that the file `text` is refused with, be it as YAML or as an Order."""
    path = written(folder, text)
    with pytest.raises(ConfigError) as caught:
        build(Order, read_yaml(path), where="order.yaml")
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-5", 1e-5),
        ("1E5", 1e5),
        ("-2.5e3", -2500.0),
        ("+3.e+2", 300.0),
        ("1.0e-5", 1e-5),
        ("1_000e-3", 1.0),
        ("12", 12),
        ("0.5", 0.5),
    ],
)
def test_numbers_are_numbers(tmp_path: Path, text: str, value: float) -> None:
    read = read_yaml(written(tmp_path, f"lr: {text}"))["lr"]
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize("text", ["3e", "e5", "1e5x", "'1e-5'", "1-5"])
def test_words_stay_words(tmp_path: Path, text: str) -> None:
    assert read_yaml(written(tmp_path, f"name: {text}"))["name"] == text.strip("'")


@pytest.mark.parametrize(
    "text", ["table: 1\ntable: 2", "drink: {kind: tea, kind: coffee}\ntable: 1"]
)
def test_a_key_written_twice_is_refused(tmp_path: Path, text: str) -> None:
    key = "table" if text.startswith("table") else "kind"
    message = refusal(tmp_path, text)
    assert "order.yaml" in message
    assert f"'{key}' is written twice" in message
    assert f"line {2 if key == 'table' else 1}" in message


def test_a_merge_gives_keys_that_its_mapping_may_change(tmp_path: Path) -> None:
    text = "outer: {inner: &inner {<<: &base {x: 1, y: 1}, x: 2}}\nlast: {<<: *inner, y: 3}"
    read = read_yaml(written(tmp_path, text))
    assert read["outer"]["inner"] == {"x": 2, "y": 1}
    assert read["last"] == {"x": 2, "y": 3}


@pytest.mark.parametrize(
    "text",
    [
        "!!python/object/apply:os.system ['true']",
        "!!python/name:os.system",
        "a: !!python/tuple [1]",
        "a: !local 1",
    ],
)
def test_tags_that_make_objects_are_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match="could not determine a constructor for the tag"):
        read_yaml(written(tmp_path, text))


@pytest.mark.parametrize(
    "text",
    [
        "a: [1",
        "a: 1\n- b",
        "day: 2024-13-45",
        "n: 0b_",
        "a: !!bool x",
        "a: !!timestamp x",
        "a: \x07",
        "[" * 5000,
        "*nowhere",
        "? [1]\n: 2",
    ],
)
def test_what_is_no_yaml_is_refused_with_the_files_name(tmp_path: Path, text: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ConfigError, match="is not valid YAML") as caught:
        read_yaml(path)
    assert str(path) in str(caught.value)


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.yaml does not exist"):
        read_yaml(tmp_path / "absent.yaml")
    with pytest.raises(ConfigError, match="is a folder"):
        read_yaml(tmp_path)
    (tmp_path / "latin.yaml").write_bytes(b"name: \xe9t\xe9")
    with pytest.raises(ConfigError, match="not UTF-8"):
        read_yaml(tmp_path / "latin.yaml")


def test_an_empty_file_holds_nothing(tmp_path: Path) -> None:
    assert read_yaml(written(tmp_path, "# nothing\n")) is None


def test_a_value_is_built_from_a_file(tmp_path: Path) -> None:
    path = written(tmp_path, "table: 3\ndrink: {kind: tea, steep_s: 1e2}")
    assert build(Order, read_yaml(path), where="x") == Order(table=3, drink=Tea(steep_s=100))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("table: 3\nchair: 7", ["`chair` is not a known key", "given 7"]),
        ("table: three", ["`table` is 'three'", "valid integer"]),
        ("guest: Ada", ["`table` is missing"]),
        ("table: 1\ndrink: {kind: tea, steep_s: -1}", ["`drink.tea.steep_s` is -1", "greater"]),
        ("table: 1\ndrink: {kind: coffee, steep_s: 9}", ["drink.coffee.steep_s", "given 9"]),
        ("table: 1\ndrink: {kind: rum}", ["`drink`", "rum", "'tea', 'coffee'"]),
        ("table: .nan", ["`table` is nan"]),
        ("table: 1\ndrink: {kind: tea, steep_s: .inf}", ["steep_s` is inf", "finite"]),
        ("table: ../1", ["`table` is '../1':"]),
        ("- 1", ["`the file` is [1]"]),
        ("", ["`the file` is None"]),
    ],
)
def test_a_wrong_value_is_refused_by_file_key_and_value(
    tmp_path: Path, text: str, says: list[str]
) -> None:
    message = refusal(tmp_path, text)
    assert message.startswith("order.yaml: ")
    assert all(word in message for word in says), message
    assert "\n" not in message
    assert message.endswith(".")
    assert not message.endswith("..")


def test_every_wrong_key_has_its_line(tmp_path: Path) -> None:
    lines = refusal(tmp_path, "table: x\nchair: 1").splitlines()
    assert [line.split("`")[1] for line in lines] == ["table", "chair"]


def test_a_long_value_is_shown_in_part(tmp_path: Path) -> None:
    message = refusal(tmp_path, f"table: {'x' * 500}")
    assert len(message) < 200
    assert "xxx..." in message


def test_values_do_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Tea().steep_s = 1.0  # type: ignore[misc]


def test_a_union_lists_its_kinds() -> None:
    expected: dict[str, type[Part]] = {"tea": Tea, "coffee": Coffee}
    assert kinds(AnyDrink) == expected
