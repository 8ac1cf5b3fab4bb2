import json
from pathlib import Path

import pytest

from tests.selection.studies import MadeStudy, row
from workbench.errors import DamagedFileError
from workbench.selection.leaderboard import (
    as_json,
    as_table,
    common_reasons,
    count_line,
    rank,
    shorten,
)
from workbench.study.records import TrialRow, read_trials
from workbench.trial.recipe import Objective

AUC = Objective(metric="auc")
LONG = "vit_base_patch16_clip_quickgelu_224.metaclip_2pt5b"


def mixed() -> list[TrialRow]:
    return [
        row(0, None, state="failed", reason="out of memory"),
        row(1, 0.99, state="pruned", reason="pruned after epoch 1"),
        row(2, 0.8, metrics={"auc": 0.8, "log_loss": 0.5}),
        row(3, 0.9, metrics={"auc": 0.9, "log_loss": 0.7}),
        row(4, 0.9, metrics={"auc": 0.9, "log_loss": 0.4}),
        row(5, 0.9, metrics={"auc": 0.9, "log_loss": 0.4}),
        row(6, None, state="pruned", reason="refused"),
    ]


def numbers(rows: list[TrialRow]) -> list[int]:
    return [row.number for row in rows]


def test_ties_go_to_the_lower_log_loss_then_to_the_earlier_trial() -> None:
    # 4 and 5 tie in both; 1 is pruned, so its high objective does not count.
    assert numbers(rank(mixed(), AUC)) == [4, 5, 3, 2, 1, 6, 0]


def test_what_rounding_tells_apart_is_a_tie() -> None:
    # Both order 7 of 10 pairs; scikit-learn sums the trapezoids of a curve in its own order.
    values = (0.7000000000000001, 0.7)
    rows = [row(n, value, metrics={"log_loss": 0.7 - n / 5}) for n, value in enumerate(values)]
    assert numbers(rank(rows, AUC)) == [1, 0]


def test_a_lower_log_loss_ranks_higher_when_it_is_the_objective() -> None:
    rows = [row(0, 0.5), row(1, 0.2), row(2, 0.9)]
    assert numbers(rank(rows, Objective(metric="log_loss"))) == [1, 0, 2]


def test_the_order_of_the_rows_does_not_matter() -> None:
    assert rank(mixed()[::-1], AUC) == rank(mixed(), AUC)


def test_json_holds_each_trial_by_number_with_flat_metrics_and_no_nulls() -> None:
    rows = [
        row(1, None, state="failed", reason="out of memory"),
        row(0, 0.9, metrics={"auc": 0.9, "f1": 0.8}, params_thop=7, views=("mel", "frames")),
    ]
    assert json.loads(json.dumps(as_json(rows))) == [
        {
            "number": 0,
            "state": "complete",
            "recipe": "000000000000",
            "objective": 0.9,
            "auc": 0.9,
            "f1": 0.8,
            "params_thop": 7,
            "params_true": None,
            "seconds": 1.0,
            "ms_per_file": None,
            "slices": {},
            "reason": "",
            "breaks": [],
            "backbone": "resnet18",
            "views": ["mel", "frames"],
        },
        {
            "number": 1,
            "state": "failed",
            "recipe": "000000000001",
            "objective": None,
            "params_thop": None,
            "params_true": None,
            "seconds": 1.0,
            "ms_per_file": None,
            "slices": {},
            "reason": "out of memory",
            "breaks": [],
            "backbone": "resnet18",
            "views": ["mel"],
        },
    ]


def test_a_table_lists_the_best_trials_with_their_numbers() -> None:
    metrics = {"auc": 0.91234, "f1": 0.8, "log_loss": 0.4, "tpr": 0.7, "fpr": 0.1}
    rows = [
        row(0, 0.5),
        row(1, 0.91234, metrics=metrics, params_thop=0, params_true=2_500_000, seconds=61.4),
    ]
    header, _, best, _, _, count = as_table(rows, AUC).splitlines()
    assert " ".join(header.split()) == "trial auc f1 log-loss TPR FPR backbone views M s"
    # The larger count: the other one missed every layer.
    assert " ".join(best.split()) == "1 0.9123 0.8000 0.4000 0.7000 0.1000 resnet18 mel 2.5 61"
    assert count == "2 complete, 0 pruned, 0 failed."


def test_another_objective_has_its_own_column() -> None:
    rows = [row(0, 0.25, metrics={"auc": 0.9, "log_loss": 0.25})]
    header = as_table(rows, Objective(metric="log_loss")).splitlines()[0].split()
    assert header[:4] == ["trial", "log_loss", "auc", "f1"]
    assert "log-loss" not in header


def test_the_picture_side_is_shown_where_it_was_searched() -> None:
    rows = [row(0, 0.9, image_px=160), row(1, 0.8, image_px=128)]
    header, _, line = as_table(rows, AUC).splitlines()[:3]
    assert "px" in header.split()
    assert "160" in line.split()
    assert "px" not in as_table(rows[:1], AUC).splitlines()[0].split()


def test_only_the_top_is_listed_but_all_are_counted() -> None:
    text = as_table([row(n, n / 100) for n in range(30)], AUC, top=3)
    assert [line.split()[0] for line in text.splitlines()[2:5]] == ["29", "28", "27"]
    assert text.splitlines()[5:] == ["", "30 complete, 0 pruned, 0 failed."]


@pytest.mark.parametrize("columns", [80, 100, 140])
def test_long_names_leave_the_table_within_the_terminal(columns: int) -> None:
    metrics = {"auc": 0.9, "f1": 0.8, "log_loss": 10.4, "tpr": 0.7, "fpr": 0.1}
    rows = [
        row(
            number,
            0.9,
            backbone=LONG,
            views=("frames_at_full_rate", "mel_of_the_left_channel"),
            metrics=metrics,
            params_true=199_999_999,
            seconds=86_400.0,
            image_px=1024 if number % 2 else 512,
        )
        for number in range(498, 501)
    ]
    rows.append(row(501, None, state="failed", reason="a very long reason " * 20))
    lines = as_table(rows, AUC, width=columns).splitlines()
    assert max(map(len, lines)) <= columns
    assert all("…" in line for line in lines[2:5])


def test_a_study_without_a_complete_trial_says_so() -> None:
    rows = [row(0, None, state="failed", reason="out of memory")]
    assert as_table(rows, AUC) == (
        "No trial is complete yet.\n0 complete, 0 pruned, 1 failed (1× out of memory)."
    )


def test_no_trials_at_all_are_counted_too() -> None:
    assert count_line([]) == "0 complete, 0 pruned, 0 failed."


def test_the_commonest_reasons_come_first() -> None:
    reasons = ["rare", "out of\n memory.", "out of memory", "", "other", "other", "other"]
    rows = [row(n, None, state="failed", reason=reason) for n, reason in enumerate(reasons)]
    rows.append(row(9, 0.5, state="pruned", reason="pruned after epoch 1"))
    assert common_reasons(rows) == [
        ("other", 3),
        ("out of memory", 2),
        ("rare", 1),
        ("no reason", 1),
    ]
    assert count_line(rows).endswith("7 failed (3× other; 2× out of memory).")


def test_reasons_that_differ_in_numbers_alone_are_one() -> None:
    reasons = [f"the loss is nan in epoch {n}: the rate 0.0{n}7 is too high" for n in (2, 1, 13)]
    rows = [row(n, None, state="failed", reason=reason) for n, reason in enumerate(reasons)]
    assert common_reasons(rows) == [(reasons[0], 3)]


@pytest.mark.parametrize("length", [8, 12, 31])
def test_a_shortened_name_keeps_both_ends(length: int) -> None:
    short = shorten(LONG, length)
    assert len(short) == length
    head, tail = short.split("…")
    assert LONG.startswith(head)
    assert LONG.endswith(tail)
    assert tail


def test_of_an_objective_over_slices_the_other_metrics_are_those_on_val() -> None:
    worst = Objective(over=("val", "generators"), aggregate="worst")
    by_slice = {"val": {"auc": 0.75, "f1": 0.625}, "generators.a": {"auc": 0.5, "f1": 0.125}}
    rows = [row(0, 0.5, metrics={"auc": 0.5, "f1": 0.125}, by_slice=by_slice)]
    header, _, line, note, *_ = as_table(rows, worst).splitlines()
    assert header.split()[:5] == ["trial", "worst", "auc", "auc", "f1"]
    assert line.split()[:4] == ["0", "0.5000", "0.7500", "0.6250"]
    assert note == "auc to FPR: on val alone; worst auc: on the worst of val, generators."
    # Of trials without their slices, all is of the objective.
    assert "on val alone" not in as_table([row(0, 0.5, metrics={"auc": 0.5})], worst)


@pytest.mark.parametrize(
    ("was", "changed"),
    [
        ('"seconds":10.0', '"seconds":Infinity'),
        ('"seconds":10.0', '"seconds":"x"'),
        ('"params_thop":1000000', '"params_thop":[1]'),
        ('"recipe":"', '"recipe":5,"was":"'),
    ],
)
def test_a_value_in_the_journal_that_cannot_be_is_a_sentence(
    tmp_path: Path, was: str, changed: str
) -> None:
    made = MadeStudy(tmp_path)
    made.add([1, 0], [0.9, 0.2])
    text = made.folder.journal.read_text(encoding="utf-8")
    assert was in text
    made.folder.journal.write_text(text.replace(was, changed), encoding="utf-8")
    with pytest.raises(DamagedFileError, match=r"a value of a trial cannot be\. Move it away"):
        read_trials(made.folder)
