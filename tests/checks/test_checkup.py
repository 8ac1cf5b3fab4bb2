"""Faults planted one by one: each is found, and nothing else is."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.checks.made import FRAMES, MEL, MadeData, clean_data
from workbench.checks.checkup import Checkup, as_text, number_table, run_checks
from workbench.media.audio_features import Features
from workbench.media.frame_diff import FrameDiff

Plant = Callable[[MadeData], None]


def checkup(data: MadeData, folder: Path, *, short: bool = False) -> Checkup:
    prepared = data.prepared(folder, {"mel": MEL, "frames": FRAMES})
    return run_checks(data.manifest(), prepared, data.facts(), short=short)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_clean_data_set_is_not_complained_about(tmp_path: Path, seed: int) -> None:
    found = checkup(clean_data(seed=seed), tmp_path)
    assert [finding.code for finding in found.findings] == []
    assert as_text(found).startswith(
        "Nothing found. Looked at 380 files in 3 splits: exact and near copies,"
    )
    assert len(found.shifts) == 3
    assert [probe.num_files for probe in found.probes] == [100] * 3


def exact_copies(data: MadeData) -> None:
    for file in data.of("train")[:5]:
        data.add_copy(file, "val", exact=True)


def copies_in_test(data: MadeData) -> None:
    for file in data.of("val")[:4]:
        data.add_copy(file, "test", exact=True)


def coded_again(data: MadeData) -> None:
    for file in data.of("train")[:5]:
        data.add_copy(file, "val", exact=False)


def conflicts(data: MadeData) -> None:
    for file in data.of("train")[:3]:
        data.add_copy(file, "train", exact=True, target=1 - file.target)


def near_conflicts(data: MadeData) -> None:
    for file in data.of("train")[:3]:
        data.add_copy(file, "train", exact=False, target=1 - file.target)


def doubled(data: MadeData) -> None:
    for file in data.of("val")[:3]:
        data.add_copy(file, "val", exact=True)


def nearly_doubled(data: MadeData) -> None:
    for file in data.of("val")[:3]:
        data.add_copy(file, "val", exact=False)


def rows_without_media(data: MadeData) -> None:
    for file in [*data.of("train")[:2], *data.of("val")[:1]]:
        file.status = "missing"


def template_without_media(data: MadeData) -> None:
    for file in data.of("test")[:2]:
        file.status = "missing"


def empty_files(data: MadeData) -> None:
    data.of("train")[7].status = "empty"


def media_without_rows(data: MadeData) -> None:
    data.unnamed.append(("val, test", "valset/extra.mp4"))


def undecodable(data: MadeData) -> None:
    for file in data.of("train")[:4]:
        del file.arrays["frames"]


def nothing_decodes(data: MadeData) -> None:
    for file in data.of("val")[:4]:
        file.arrays.clear()


def bit_rate(data: MadeData) -> None:
    for file in data.files:
        if file.is_fake:
            file.facts["bit_rate"] *= 1.5
            file.facts["video_bit_rate"] *= 1.5


def one_of_two_rates(data: MadeData) -> None:
    # Not monotone: fakes are the slowest and the fastest.
    for file in data.files:
        if file.is_fake:
            file.facts["loudness_db"] += float(data.rng.choice([-12, 12]))


def codec(data: MadeData) -> None:
    for file in data.files:
        if file.is_fake and data.rng.random() < 0.7:
            file.facts["video_codec"] = "hevc"


def transparent(data: MadeData) -> None:
    for file in data.files:
        if file.is_fake and data.rng.random() < 0.7:
            file.facts["color_mode"] = "RGBA"


def names(data: MadeData) -> None:
    for file in data.files:
        if file.target >= 0:
            file.name = f"{'ab'[file.target]}{file.name[1:]}"


def sorted_labels(data: MadeData) -> None:
    train = sorted(data.of("train"), key=lambda file: file.target)
    data.files = train + [file for file in data.files if file.split != "train"]


def silent_fakes(data: MadeData) -> None:
    for file in data.files:
        if file.is_fake and data.rng.random() < 0.6:
            del file.arrays["mel"]


def long_fakes(data: MadeData) -> None:
    for file in data.files:
        if file.is_fake:
            file.facts["duration_s"] += 3
            file.facts["num_frames"] += 75


def easy(data: MadeData) -> None:
    for file in data.files:
        if file.is_fake:
            mel = file.arrays["mel"].astype(np.float32)
            mel[..., 40:, :, :] *= 0.6
            file.arrays["mel"] = mel.astype(np.uint8)


def unbalanced(data: MadeData) -> None:
    kept = [f for f in data.files if f.split != "val" or f.target == 1 or data.rng.random() < 0.15]
    data.files = kept


def louder_test(data: MadeData) -> None:
    for file in data.of("test"):
        file.facts["sample_rate_hz"] = 16_000


PLANTED: list[tuple[Plant, set[str], str]] = [
    (exact_copies, {"copies_across_splits"}, "5 groups of files are the same, byte for byte"),
    (copies_in_test, {"copies_across_splits"}, "4 in both val and test"),
    (coded_again, {"near_copies_across_splits"}, "5 in both train and val"),
    (conflicts, {"label_conflicts"}, "3 groups of files labelled both real and fake"),
    (near_conflicts, {"near_copies_with_other_labels"}, "3 groups of files that look and sound"),
    (doubled, {"copies_within_split"}, r"3 groups of files within one split .*.3 files too many"),
    (nearly_doubled, {"near_copies_within_split"}, "3 groups .* near copies"),
    (rows_without_media, {"label_rows_without_media"}, r"3 label rows .*2 in train and 1 in val"),
    (template_without_media, {"template_rows_without_media"}, "2 template rows without"),
    (empty_files, {"empty_files"}, "1 file of 0 bytes"),
    (media_without_rows, {"media_without_rows"}, "1 media file .*1 in val, test"),
    (undecodable, {"files_without_view"}, "4 files of 380 have no frames .4 broken; 4 in train"),
    (
        nothing_decodes,
        {"files_without_any_view"},
        r"4 labelled files of 380 of which nothing could be made \(4 in val\)",
    ),
    (bit_rate, {"shortcut_encoding"}, r"bit rate .AUC 0\.9\d+ in train, 0\.9\d+ in val"),
    (one_of_two_rates, {"shortcut_loudness"}, r"loudness .AUC 0\.\d+"),
    (codec, {"shortcut_encoding"}, r"by video codec .AUC 0\.8"),
    (transparent, {"shortcut_encoding"}, r"by colour mode .AUC 0\.8"),
    (names, {"shortcut_name", "shortcut_order"}, r"letters of the name .AUC (0\.99|1\.00)"),
    (sorted_labels, {"shortcut_order"}, r"place in the label file .AUC (0\.99|1\.00)"),
    (silent_fakes, {"shortcut_reading", "files_without_view"}, "whether there is mel"),
    (long_fakes, {"shortcut_length"}, "duration"),
    (easy, {"saturated_validation"}, r"AUC of (0\.9[89]|1\.0)\d* on val .100 files"),
    (unbalanced, {"class_balance_differs"}, "50% of train and 76% of val are fake"),
    (louder_test, {"shift_train_test", "shift_val_test"}, "sampling rate alone 1.000"),
]


@pytest.mark.parametrize(
    ("plant", "codes", "sentence"), PLANTED, ids=[plant.__name__ for plant, _, _ in PLANTED]
)
def test_a_planted_fault_is_found_and_nothing_else(
    tmp_path: Path, plant: Plant, codes: set[str], sentence: str
) -> None:
    data = clean_data()
    plant(data)
    found = checkup(data, tmp_path)
    assert {finding.code for finding in found.findings} == codes
    assert any(_says(finding.sentence, sentence) for finding in found.findings)
    assert all(finding.remedy.endswith(".") for finding in found.findings)


def test_the_probe_measures_no_file_of_which_nothing_could_be_made(tmp_path: Path) -> None:
    data = clean_data()
    nothing_decodes(data)
    assert {probe.num_files for probe in checkup(data, tmp_path).probes} == {96}


def test_what_a_trial_makes_of_a_file_without_its_views_is_told(tmp_path: Path) -> None:
    data = clean_data()
    undecodable(data)
    (found,) = checkup(data, tmp_path).findings
    assert found.remedy.endswith(
        "so that all trials are ranked on the same files: a trial goes by what else they have, and "
        "one that reads none of that scores neutral arrays in their place, which tells nothing of "
        "them."
    )
    assert "try them again by `workbench prepare --retry`" in found.remedy


def test_a_file_of_which_nothing_could_be_made_may_be_tried_again(tmp_path: Path) -> None:
    data = clean_data()
    nothing_decodes(data)
    (found,) = checkup(data, tmp_path).findings
    assert found.remedy.startswith("Try them again by `workbench prepare --retry`")


def _says(sentence: str, pattern: str) -> bool:
    return re.search(pattern, sentence) is not None


def test_a_short_checkup_still_finds_copies_conflicts_and_shortcuts(tmp_path: Path) -> None:
    data = clean_data()
    for plant in (exact_copies, coded_again, conflicts, bit_rate, easy):
        plant(data)
    found = checkup(data, tmp_path, short=True)
    assert {finding.code for finding in found.findings} == {
        "copies_across_splits",
        "near_copies_across_splits",
        "label_conflicts",
        "shortcut_encoding",
    }
    assert (found.shifts, found.probes, found.is_short) == ((), (), True)


def test_the_files_of_a_finding_are_the_planted_ones(tmp_path: Path) -> None:
    data = clean_data()
    originals = data.of("train")[:3]
    copies = [data.add_copy(file, "val", exact=False) for file in originals]
    (finding,) = checkup(data, tmp_path, short=True).findings
    pairs = zip(originals, copies, strict=True)
    assert set(finding.files) == {(one.path, other.path) for one, other in pairs}
    assert finding.num_groups == 3


def test_near_copies_in_two_folds_that_validate_are_across_splits(tmp_path: Path) -> None:
    data = clean_data()
    one, other, always = data.of("train")[:3]
    copies = [data.add_copy(file, "train", exact=False) for file in (one, other, always)]
    same = data.add_copy(data.of("train")[5], "train", exact=False)
    whole = data.manifest()
    fold_of = {one.path: 2, copies[0].path: 3, other.path: 0, copies[1].path: 2}
    table = whole.table.assign(fold=whole.table["path"].map(fold_of).fillna(3).astype(int))
    table.loc[table["split"] == "val", "fold"] = 1
    prepared = data.prepared(tmp_path, {"mel": MEL, "frames": FRAMES})
    folded = replace(whole, table=table)
    across, within = run_checks(folded, prepared, data.facts(), short=True).findings
    assert across.code == "near_copies_across_splits"
    assert {frozenset(group) for group in across.files} == {
        frozenset((file.path, copy.path))
        for file, copy in zip((one, other), copies[:2], strict=True)
    }
    assert "1 in both fold 2 and fold 3" in across.sentence
    assert (within.code, within.num_groups) == ("near_copies_within_split", 2)
    assert same.path in {path for group in within.files for path in group}


def test_a_fake_sound_under_a_real_picture_is_no_copy(tmp_path: Path) -> None:
    data = clean_data()
    for original, fake in zip(data.of("train")[:5], data.of("val")[:5], strict=True):
        fake.arrays["frames"] = original.arrays["frames"]
        fake.facts["duration_s"] = original.facts["duration_s"]
    for original, fake in zip(data.of("train")[5:10], data.of("val")[5:10], strict=True):
        fake.arrays["mel"] = original.arrays["mel"]
        fake.facts["duration_s"] = original.facts["duration_s"]
    assert checkup(data, tmp_path, short=True).findings == ()


def test_test_rows_that_are_the_validation_files_are_no_copies(tmp_path: Path) -> None:
    data = clean_data()
    data.files = [file for file in data.files if file.split != "test"]
    prepared = data.prepared(tmp_path, {"mel": MEL, "frames": FRAMES})
    twice = prepared.table[prepared.table["split"] == "val"].assign(split="test", target=-1)
    table = pd.concat([prepared.table, twice], ignore_index=True)
    same = type(prepared)(table, prepared.views, prepared.arrays, "made")
    assert run_checks(data.manifest(), same, data.facts(), short=True).findings == ()


def test_warnings_come_first_in_the_text_and_long_lists_are_cut(tmp_path: Path) -> None:
    data = clean_data()
    media_without_rows(data)
    for file in data.of("train")[:60]:
        file.status = "missing"
    found = checkup(data, tmp_path, short=True)
    text = as_text(found)
    assert text.startswith("1 warning and 1 note on 380 files in 3 splits.")
    assert text.index("warning: 60 label rows") < text.index("note: 1 media file")
    assert "and 57 more" in text
    assert len(found.findings[0].files) == 50
    assert found.findings[0].num_groups == 60
    assert max(len(line) for line in text.splitlines()) <= 96
    assert "train    200   100   100         60" in number_table(found)


def test_the_json_holds_everything_and_reads_back(tmp_path: Path) -> None:
    data = clean_data()
    exact_copies(data)
    found = checkup(data, tmp_path)
    assert Checkup.model_validate_json(found.model_dump_json()) == found
    assert json.loads(found.model_dump_json())["findings"][0]["code"] == "copies_across_splits"


def test_names_of_strangers_cannot_move_the_terminals_cursor(tmp_path: Path) -> None:
    data = clean_data()
    data.of("train")[0].name = "\x1b[2Jx\u202e.mp4"
    data.of("train")[0].status = "missing"
    text = as_text(checkup(data, tmp_path, short=True))
    assert "\x1b" not in text
    assert "\u202e" not in text


def test_two_files_of_each_split_are_enough_to_be_looked_at(tmp_path: Path) -> None:
    found = checkup(clean_data(train=2, val=2, test=1), tmp_path)
    assert found.findings == ()
    assert found.cues == ()


def test_without_a_view_that_shows_copies_none_are_claimed_to_be_looked_for(tmp_path: Path) -> None:
    data = clean_data(train=40, val=20, test=10)
    motion = FrameDiff(num_frames=3, image_px=48)
    for file in data.files:
        file.arrays["motion"] = file.arrays["frames"]
    coded_again(data)
    prepared = data.prepared(tmp_path, {"motion": motion})
    found = run_checks(data.manifest(), prepared, data.facts(), short=True)
    assert found.compared == ()
    assert "Looked at 75 files in 3 splits: exact copies, labels" in as_text(found)


def test_values_of_a_vector_are_read_by_the_probe(tmp_path: Path) -> None:
    data = clean_data()
    features = Features()
    for file in data.files:
        file.arrays["features"] = data.rng.normal(0, 1, features.stored_shape)
        file.arrays["features"][0, 3] += 4 * file.is_fake
    prepared = data.prepared(tmp_path, {"features": features})
    found = run_checks(data.manifest(), prepared, data.facts(), short=False)
    assert [finding.code for finding in found.findings] == ["saturated_validation"]
    assert found.probes[0].what == "features"
