from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.checks.made import FRAMES, MEL, clean_data
from workbench.checks.cues import codes, make_cues
from workbench.checks.shortcuts import cross_validated_rates, score_cues


def test_few_values_are_taken_one_by_one_and_unknown_ones_together() -> None:
    assert codes(pd.Series([25.0, 30.0, None, 25.0, np.nan])).tolist() == [0, 1, 2, 0, 2]
    assert codes(pd.Series(["h264", "", "h264", "vp9"])).tolist() == [0, 1, 0, 2]


def test_many_values_are_cut_into_steps_of_equal_size() -> None:
    values = pd.Series(np.random.default_rng(0).permutation(600).astype(float) ** 3)
    found = codes(values)
    assert np.bincount(found).tolist() == [30] * 20
    assert (np.diff(found[np.argsort(values)]) >= 0).all()
    values[:60] = np.nan
    assert np.bincount(codes(values))[0] == 60


def test_rates_are_those_of_the_other_folds_drawn_to_the_average() -> None:
    # Ten files a class; value 0 only real, value 1 only fake. Each fold leaves 8 of each: a file
    # of value 1 has (8 + 4 * 1/2) / (8 + 4), one of value 0 has (0 + 4 * 1/2) / (8 + 4).
    targets = np.repeat([0, 1], 10)
    rates = cross_validated_rates(targets, targets)
    assert rates[:10] == pytest.approx(2 / 12)
    assert rates[10:] == pytest.approx(10 / 12)


def test_a_value_of_one_file_says_nothing_of_it() -> None:
    targets = np.repeat([0, 1], 10)
    rates = cross_validated_rates(np.arange(20), targets)
    assert rates == pytest.approx(0.5)


def test_only_cues_that_vary_are_asked(tmp_path: Path) -> None:
    data = clean_data(train=40, val=20, test=10)
    prepared = data.prepared(tmp_path, {"mel": MEL, "frames": FRAMES})
    rows = prepared.table[prepared.table["split"] == "train"]
    names = {cue.name for cue in make_cues(prepared, data.facts(), rows)}
    assert {"bit rate", "duration", "loudness", "file size", "place in the label file"} <= names
    assert not names & {"width", "container", "JPEG quality", "whether there is mel"}
    assert len({cue.codes.shape for cue in make_cues(prepared, data.facts(), rows)}) == 1


def test_files_without_facts_are_one_more_value(tmp_path: Path) -> None:
    data = clean_data(train=40, val=20, test=10)
    prepared = data.prepared(tmp_path, {"mel": MEL})
    rows = prepared.table[prepared.table["split"] == "train"]
    cues = make_cues(prepared, data.facts().iloc[:10], rows)
    width = next(cue for cue in cues if cue.name == "width")
    assert np.bincount(width.codes).tolist() == [10, 30]


def test_a_cue_of_the_splits_is_no_cue_of_the_classes(tmp_path: Path) -> None:
    # Most of train is real and small, most of val fake and large: pooled, size would tell.
    data = clean_data(train=200, val=200, test=10)
    kept = []
    for file in data.files:
        is_rare = file.is_fake == (file.split == "train")
        file.facts["width"] = 320 if file.split == "train" else 640
        if not is_rare or data.rng.random() < 0.3:
            kept.append(file)
    data.files = kept
    prepared = data.prepared(tmp_path, {"mel": MEL})
    scores = score_cues(prepared, data.facts(), prepared.table, short=True)
    assert not [score for score in scores if score.is_shortcut]
    assert "width" not in {score.cue for score in scores}


def test_folders_that_are_the_labels_are_no_shortcut_but_the_names_in_them_are(
    tmp_path: Path,
) -> None:
    data = clean_data(train=60, val=40, test=10)
    prepared = data.prepared(tmp_path, {"mel": MEL})
    table = prepared.table.sort_values("target", kind="stable", ignore_index=True)
    folders = table["target"].map({0: "real", 1: "fake", -1: "test"})

    def shortcuts(names: "pd.Series[str]") -> set[str]:
        files = table.assign(name=folders + "/" + names)
        scores = score_cues(prepared, data.facts(), files, short=True, in_class_folders=True)
        return {score.cue for score in scores if score.is_shortcut}

    assert shortcuts(table["name"]) == set()
    assert shortcuts(folders.str[0] + table["name"]) == {"letters of the name"}


def test_chance_is_rarely_taken_for_a_shortcut(tmp_path: Path) -> None:
    data = clean_data(train=60, val=40, test=10)
    prepared = data.prepared(tmp_path, {"mel": MEL})
    facts, rng, found = data.facts(), np.random.default_rng(0), 0
    for _ in range(12):
        shuffled = prepared.table.copy()
        for split in ("train", "val"):
            part = shuffled["split"] == split
            shuffled.loc[part, "target"] = rng.permutation(shuffled.loc[part, "target"])
        scores = score_cues(prepared, facts, shuffled, short=True)
        found += any(score.is_shortcut for score in scores)
    assert found <= 1
