import pandas as pd

from workbench.selection.mistakes import mistakes_by_slice, worst_mistakes


def table(*rows: tuple[str, str, int, float]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["slice", "name", "target", "score"])


def test_the_surest_mistakes_come_first() -> None:
    scores = table(
        ("val", "right", 1, 0.9),
        ("val", "missed", 1, 0.2),
        ("val", "alarm", 0, 0.95),
        ("val", "half", 0, 0.5),  # 0.5 is called fake
    )
    found = worst_mistakes(scores, 6)
    assert [(one.name, one.target) for one in found] == [("alarm", 0), ("missed", 1), ("half", 0)]
    assert [one.name for one in worst_mistakes(scores, 1)] == ["alarm"]


def test_each_slice_takes_its_turn() -> None:
    easy = [("generators.a", f"a{n}", 1, 0.01 + n / 100) for n in range(5)]
    hard = [("generators.b", "b0", 1, 0.4)]
    scores = table(*easy, *hard, *(("val", *row[1:]) for row in easy + hard))
    found = worst_mistakes(scores, 2)
    assert [one.name for one in found] == ["a0", "b0"]
    assert found[0].slices == ("generators.a", "val")


def test_a_file_of_another_folder_is_not_the_one_of_val_that_is_called_alike() -> None:
    scores = table(
        ("val", "x", 1, 0.1),
        ("generators.a", "x", 1, 0.1),
        ("wild", "x", 1, 0.2),
        ("val", "y", 0, 0),
    )
    found = worst_mistakes(scores, 6, {"wild"})
    assert [(one.source, one.slices, one.score) for one in found] == [
        ("val", ("val", "generators.a"), 0.1),
        ("wild", ("wild",), 0.2),
    ]


def test_degraded_copies_are_not_shown_but_counted() -> None:
    scores = table(("val", "x", 1, 0.9), ("degraded.blur", "x", 1, 0.1))
    assert worst_mistakes(scores, 6) == []
    (blur,) = mistakes_by_slice(scores)
    assert (blur.slice, blur.num_files, blur.num_missed, blur.num_alarms) == (
        "degraded.blur",
        1,
        1,
        0,
    )


def test_the_slice_with_the_largest_share_of_mistakes_is_first() -> None:
    scores = table(
        ("val", "x", 1, 0.9),
        ("val", "y", 0, 0.6),
        ("val", "z", 0, 0.7),
        ("generators.a", "y", 0, 0.6),
    )
    first, second = mistakes_by_slice(scores)
    assert (first.slice, second.slice) == ("generators.a", "val")
    assert (second.num_alarms, second.worst.name) == (2, "z")
