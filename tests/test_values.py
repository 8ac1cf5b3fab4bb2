import os
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field, ValidationError

from workbench.console import cut_text
from workbench.errors import ConfigError
from workbench.validation import build, shown
from workbench.values import Frozen, Part, kinds
from workbench.yaml_files import build_said, parse_yaml, read_yaml


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


def doubled(times: int) -> str:
    """Aliases of aliases: the last key comes to 2 ** `times` values."""
    lines = ["x0: &x0 [a, a]"]
    lines += [f"x{n}: &x{n} [*x{n - 1}, *x{n - 1}]" for n in range(1, times)]
    return "\n".join(lines)


def merged(times: int) -> str:
    """The same of merges."""
    lines = ["x0: &x0 {a: 1}"]
    lines += [f"x{n}: &x{n} {{<<: [*x{n - 1}, *x{n - 1}]}}" for n in range(1, times)]
    return "\n".join(lines)


def chained(times: int) -> str:
    """Aliases of aliases: the last key is nested so deep."""
    return "\n".join(["x0: &x0 [a]", *(f"x{n}: &x{n} [*x{n - 1}]" for n in range(1, times))])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (doubled(60), "over 10,000 values, its aliases written out"),
        (merged(60), "over 10,000 values"),
        ("a: [" + "x," * 200_000 + "]", "over 10,000 values"),
        (f"a: &a '{'x' * 100_000}'\nb: [{'*a,' * 100}]", "over 10,000 values"),
        (chained(80), "nested over 64 deep"),
        ("[" * 100_000, "nested over 64 deep"),
        ("a: &a [*a]", "stands inside the value that it repeats"),
        ("a: &a {b: [1, {c: *a}]}", "stands inside the value that it repeats"),
        ("a: &a {<<: *a}", "stands inside the value that it repeats"),
        ("n: 0x" + "f" * 100_000, "too long for 64 bits"),
        ("n: " + "9" * 100_000, "too long for 64 bits"),
        ("n: " + "1:" * 50_000 + "1.5", "too long for 64 bits"),
        ("n: 9223372036854775808", "too long for 64 bits"),
        ("n: 010", "010 would be read as 8: write the number in decimals"),
        ("n: 1:30", "write the number in decimals, or put it in quotes at line 1, column 4"),
        ("n: -1:30.5", "-1:30.5 would be read as -90.5: write the number in decimals"),
        ("a: !!int ''", "is not valid YAML"),
        (r'groups: ["\ud800"]', "half a character"),
        (f"*{'x' * 100_000}", "undefined alias"),
        (f"a: !{'x' * 100_000} 1", "could not determine a constructor"),
        ("#" * (1 << 20) + "#", "over 1 MiB"),
    ],
    ids=lambda value: value[:24] if isinstance(value, str) else None,
)
def test_a_file_that_comes_to_too_much_is_refused_in_a_short_sentence(
    tmp_path: Path, text: str, said: str
) -> None:
    message = refusal(tmp_path, text)
    assert said in message
    assert len(message) < 600


def test_aliases_within_the_limits_are_what_they_stand_for(tmp_path: Path) -> None:
    read = read_yaml(written(tmp_path, doubled(10) + "\nn: [9223372036854775807, -0x7f, '1:30']"))
    assert len(str(read["x9"]).split("a")) == 2**10 + 1
    assert read["n"] == [2**63 - 1, -127, "1:30"]


def test_of_merged_mappings_the_first_says_a_key(tmp_path: Path) -> None:
    text = "a: &a {k: 1, l: 1}\nb: &b {k: 2, m: 2}\nc: {<<: [*a, *b], n: 3, l: 4}"
    read = read_yaml(written(tmp_path, text))["c"]
    assert read == {"k": 1, "l": 4, "m": 2, "n": 3}


def test_what_is_no_regular_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    with pytest.raises(ConfigError, match=r"pipe\.yaml is a pipe"):
        read_yaml(tmp_path / "pipe.yaml")
    with pytest.raises(ConfigError, match="/dev/zero is a device"):
        read_yaml(Path("/dev/zero"))


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
        (
            "table: 1\ndrink: {kind: rum}",
            ["`drink.kind` is 'rum': should be one of 'tea', 'coffee'."],
        ),
        ("table: 1\ndrink: {steep_s: 9}", ["`drink.kind` is missing (given {'steep_s': 9})."]),
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


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a", "'a'"),
        ([1, 2.5, None, True], "[1, 2.5, None, True]"),
        ({"b": 1, "a": {"c": [2]}}, "{'b': 1, 'a': {'c': [2]}}"),
        ("x" * 500, "'" + "x" * 76 + "..."),
        (["x" * 500] * 10_000, "['" + "x" * 75 + "..."),
    ],
)
def test_a_value_is_shown_by_its_beginning(value: Any, text: str) -> None:
    assert shown(value) == text


def test_no_more_of_a_value_is_looked_at_than_is_shown() -> None:
    bomb: list[Any] = ["x"]
    for _ in range(100):
        bomb = [bomb, bomb]
    assert len(shown(bomb)) <= 80
    assert len(shown({number: bomb for number in range(100_000)})) <= 80


def test_many_and_long_wrong_keys_are_told_in_a_few_lines(tmp_path: Path) -> None:
    text = "\n".join([f"? {'k' * 5_000}\n: 1", *(f"k{number}: 1" for number in range(3_000))])
    lines = refusal(tmp_path, text).splitlines()
    assert lines[-1] == "order.yaml: 2,982 more keys are wrong."
    assert len(lines) == 21
    assert max(map(len, lines)) < 400


def test_a_text_is_cut_at_its_length() -> None:
    assert cut_text("12345", 5) == "12345"
    assert cut_text("123456", 5) == "12..."


def test_values_do_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Tea().steep_s = 1.0  # type: ignore[misc]


def test_a_union_lists_its_kinds() -> None:
    expected: dict[str, type[Part]] = {"tea": Tea, "coffee": Coffee}
    assert kinds(AnyDrink) == expected


class Menu(Frozen):
    """A value of every kind that a switch may stand in."""

    num: int | None = None
    shares: tuple[float, ...] = ()
    by_name: dict[str, float]
    is_open: bool | int = False
    drink: AnyDrink = Tea()


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("num: yes", "num"),
        ("num: off", "num"),
        ("shares: [0.5, true]", "shares.1"),
        ("by_name: {a: 1, b: no}", "by_name.b"),
        ("drink: {kind: tea, steep_s: on}", "drink.steep_s"),
    ],
)
def test_a_switch_is_no_number(text: str, key: str) -> None:
    tree = {"by_name": {}} | parse_yaml(text, where="menu.yaml")
    with pytest.raises(ConfigError, match=rf"menu\.yaml: `{key}` is yes or no .* Write the number"):
        build_said(Menu, tree, where="menu.yaml")


def test_a_switch_stays_one_where_one_is_asked_for() -> None:
    tree = parse_yaml("{num: null, is_open: yes, shares: [1, 0], by_name: {}}", where="x")
    read: Menu = build_said(Menu, tree, where="x")
    assert (read.num, read.is_open, read.shares) == (None, True, (1.0, 0.0))
