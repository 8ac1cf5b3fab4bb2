"""The sheets of augmentations: a row for each that a search space draws, of training's own make."""

import itertools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
import yaml
from mlflow import MlflowClient

from tests.checks.test_sheet import Numbers, pixels, prepare_by_hand
from tests.study.conftest import Bench
from tests.study.inline import InlineTrials
from tests.study.tiny import SPACE
from workbench.checks.sheet import CLASS_COLOURS, for_people
from workbench.checks.sheet_drawing import MARGIN_PX
from workbench.data.prepare import Prepared
from workbench.media.frames import Frames
from workbench.media.image import Image
from workbench.media.mel import Mel
from workbench.media.view import View
from workbench.parts.augment import Augment, Pictures, Spectrograms
from workbench.parts.pixels import to_tensor
from workbench.searching import beside
from workbench.searching.augment_sheet import rows_of, write_augment_sheets
from workbench.space.space import Space, read_space
from workbench.study.folder import StudyFolder
from workbench.tracking.runs import Tracking

Pixels = npt.NDArray[Any]
MakeSpace = Callable[..., Space]

PX = 96
IMAGE, MEL = Image(image_px=PX), Mel(image_px=PX)
PITCH_PX = PX + 6 + 14
"""From one column to the next."""


@pytest.fixture
def space(tmp_path: Path) -> MakeSpace:
    """Reads a space of one recipe with these augmentations and other keys."""

    def read(augment: Mapping[str, Any], **keys: Any) -> Space:
        tree = {
            "views": ["seen"],
            "backbone": "test_resnet",
            "image_px": PX,
            "optimizer": {"kind": "adamw", "lr": 1e-3},
            "augment": augment,
            **keys,
        }
        file = tmp_path / "space.yaml"
        file.write_text(yaml.safe_dump(tree), encoding="utf-8")
        return read_space(file, ("seen", "heard", "numbers"))

    return read


def data(folder: Path, view: View = IMAGE, *, name: str = "seen", number: int = 12) -> Prepared:
    """Return noisy files in turn real and fake."""
    stored = np.random.default_rng(0).integers(0, 256, (number, *view.stored_shape))
    return prepare_by_hand(folder, {name: view}, {name: stored}, [0, 1] * (number // 2))


def stored_of(prepared: Prepared, view: str, file: Any) -> Pixels:
    """Return the first segment of a file, (frames, height, width, channels)."""
    row = prepared.table.set_index("name")[f"row.{view}"].to_dict()[file]
    array: Pixels = prepared.open_array(view)[row, 0]
    return array


def plain(folder: Path) -> Prepared:
    """Return black real files and white fakes."""
    stored = np.zeros((12, *IMAGE.stored_shape))
    stored[1::2] = 255
    return prepare_by_hand(folder, {"seen": IMAGE}, {"seen": stored}, [0, 1] * 6)


def colour(kind: str) -> tuple[int, ...]:
    return tuple(bytes.fromhex(CLASS_COLOURS[kind][1:]))


def row_tops(sheet: Pixels) -> list[int]:
    """Return the first line of each row's frames; the leftmost begin at the margin."""
    left = sheet[:, MARGIN_PX]
    is_frame = [tuple(pixel) in (colour("real"), colour("fake")) for pixel in left]
    tops, place = [], 0
    for value, run in itertools.groupby(is_frame):
        length = len(list(run))
        if value and length >= PX:
            tops.append(place)
        place += length
    return tops


def cell(sheet: Pixels, row: int, column: int) -> Pixels:
    """Return the picture in a row (0: as stored) and column."""
    top, left = row_tops(sheet)[row] + 3, MARGIN_PX + column * PITCH_PX + 3
    return sheet[top : top + PX, left : left + PX]


def is_framed_as_fake(sheet: Pixels, row: int, column: int) -> bool:
    found = tuple(sheet[row_tops(sheet)[row], MARGIN_PX + column * PITCH_PX])
    assert found in (colour("real"), colour("fake"))
    return found == colour("fake")


def test_a_row_is_an_augmentation_at_the_strongest_that_the_space_draws(space: MakeSpace) -> None:
    pictures = {
        "hflip": 0.5,
        "crop_scale": {"float": [0.6, 1.0]},
        "policy": {"choice": ["none", "randaugment", "trivialaugment"]},
        "policy_magnitude": {"int": [3, 12]},
        "jpeg": {"choice": [0.0, 0.4, 0.2]},
        "jpeg_quality": {"int": [40, 80]},
        "noise": 0.0,
        "noise_levels": 50,
    }
    heard = {"time_mask": {"float": [0.0, 0.3]}, "num_time_masks": {"choice": [1, 3]}}
    drawn = space(
        {"pictures": pictures, "spectrograms": heard, "mixup_alpha": {"choice": [0.0, 0.4, 0.2]}}
    )
    drafts = list(drawn.corners())
    rows = {(row.label, row.note): row.augment for row in rows_of(drafts, "pictures")}
    every = Pictures(
        hflip=0.5,
        crop_scale=0.6,
        policy="trivialaugment",
        policy_magnitude=12,
        jpeg=0.4,
        jpeg_quality=40,
    )
    assert rows == {
        ("augment.pictures.hflip 0.5", ""): Augment(pictures=Pictures(hflip=1.0)),
        ("augment.pictures.crop_scale 0.6", "drawn: crop_scale 0.6 to 1"): Augment(
            pictures=Pictures(crop_scale=0.6)
        ),
        (
            "augment.pictures.policy randaugment, policy_ops 2, policy_magnitude 12, "
            "policy_magnitude_std 0",
            "drawn: policy_magnitude 3 to 12",
        ): Augment(pictures=Pictures(policy="randaugment", policy_magnitude=12)),
        ("augment.pictures.policy trivialaugment", ""): Augment(
            pictures=Pictures(policy="trivialaugment")
        ),
        (
            "augment.pictures.jpeg 0.4, jpeg_quality 40",
            "drawn: jpeg 0 to 0.4, jpeg_quality 40 to 80",
        ): Augment(pictures=Pictures(jpeg=1.0, jpeg_quality=40)),
        ("augment.mixup_alpha 0.4", "drawn: mixup_alpha 0 to 0.4"): Augment(mixup_alpha=0.4),
        ("all at once", "each by its own chance"): Augment(pictures=every, mixup_alpha=0.4),
    }
    assert [row.label for row in rows_of(drafts, "spectrograms")] == [
        "augment.spectrograms.time_mask 0.3, num_time_masks 3",
        "augment.mixup_alpha 0.4",
        "all at once",
    ]


def test_a_default_that_takes_effect_nowhere_is_not_shown(space: MakeSpace) -> None:
    options = [{"kind": "sent", "jpeg": 0.5, "jpeg_quality": 70}, {"kind": "kept", "hflip": 0.5}]
    pictures = [{"pictures": {k: v for k, v in o.items() if k != "kind"}} for o in options]
    rows = rows_of(list(space({"choice": pictures}).corners()), "pictures")
    # The default quality, 30, stands only where there is no JPEG.
    assert [row.label for row in rows] == [
        "augment.pictures.hflip 0.5",
        "augment.pictures.jpeg 0.5, jpeg_quality 70",
        "all at once",
    ]


STRONG = {"crop_scale": 0.3, "crop_aspect": 3.0, "centre_crop": 0.5, "policy": "trivialaugment"}
ANGLES = {"rotation_deg": 90, "shear_deg": 40, "hue_deg": 150, "gain_db": 30}
SHARES = dict.fromkeys(
    ("translation", "brightness", "contrast", "saturation", "time_shift", "time_mask"), 0.5
)
DETAILS = {
    "policy_ops",
    "policy_magnitude",
    "policy_magnitude_std",
    "blur_sigma_px",
    "noise_levels",
    "rescale_to",
    "jpeg_quality",
    "erase_share",
    "num_time_masks",
    "num_frequency_masks",
}


@pytest.mark.parametrize(
    ("kind", "field"),
    [
        (kind, field)
        for kind, settings in (("pictures", Pictures), ("spectrograms", Spectrograms))
        for field in settings.model_fields
        if field not in DETAILS
    ],
)
def test_every_augmentation_is_seen_in_its_row(
    space: MakeSpace, tmp_path: Path, kind: str, field: str
) -> None:
    name, view = ("seen", IMAGE) if kind == "pictures" else ("heard", MEL)
    # A hundredth, of what happens by chance: it must be seen all the same.
    value = {"frequency_mask": 0.5, **STRONG, **ANGLES, **SHARES}.get(field, 0.01)
    drawn = space({kind: {field: value}}, views=[name])
    (sheet,) = write_augment_sheets(drawn, data(tmp_path, view, name=name), tmp_path / "sheets")
    found = pixels(sheet.file)
    assert len(row_tops(found)) == 2
    # The first noise is a real one; its blend stands in the second column.
    columns = (1,) if field == "self_blend" else range(8)
    changed = [not np.array_equal(cell(found, 0, c), cell(found, 1, c)) for c in columns]
    assert sum(changed) >= 0.75 * len(changed)  # some draws of a policy or a mask change nothing


def test_the_first_row_is_what_is_stored_real_and_fake_in_turn(
    space: MakeSpace, tmp_path: Path
) -> None:
    prepared = data(tmp_path)
    (sheet,) = write_augment_sheets(space({"pictures": {"hflip": 0.5}}), prepared, tmp_path)
    found = pixels(sheet.file)
    targets = prepared.table.set_index("name")["target"].to_dict()
    assert [is_framed_as_fake(found, 0, c) for c in range(8)] == [False, True] * 4
    names = itertools.chain(*zip(sheet.shown["real"], sheet.shown["fake"], strict=True))
    for column, name in enumerate(names):
        (stored,) = stored_of(prepared, "seen", name)
        np.testing.assert_array_equal(cell(found, 0, column), stored)
        np.testing.assert_array_equal(cell(found, 1, column), stored[:, ::-1])
        assert targets[name] == column % 2


def test_a_sheet_has_the_side_that_the_model_reads_and_the_first_frame(
    space: MakeSpace, tmp_path: Path
) -> None:
    view = Frames(num_frames=3, image_px=64)
    prepared = data(tmp_path, view)
    drawn = space({"pictures": {"grayscale": 0.1}}, image_px={"choice": [48, PX, 80]})
    (sheet,) = write_augment_sheets(drawn, prepared, tmp_path)
    stored = stored_of(prepared, "seen", sheet.shown["real"][0])
    read = to_tensor(stored[None], PX, torch.device("cpu"))
    np.testing.assert_array_equal(cell(pixels(sheet.file), 0, 0), read[0, 0].movedim(0, -1).numpy())


def test_a_sound_is_shown_as_in_the_sheet_of_its_view(space: MakeSpace, tmp_path: Path) -> None:
    prepared = data(tmp_path, MEL, name="heard")
    drawn = space({"spectrograms": {"gain_db": 6}}, views=["heard"])
    (sheet,) = write_augment_sheets(drawn, prepared, tmp_path)
    (picture,) = for_people(MEL, stored_of(prepared, "heard", sheet.shown["real"][0]))
    np.testing.assert_array_equal(cell(pixels(sheet.file), 0, 0), picture)


@pytest.mark.parametrize("mixing", ["mixup_alpha", "cutmix_alpha"])
def test_a_mixed_sample_has_the_frame_of_its_label(
    space: MakeSpace, tmp_path: Path, mixing: str
) -> None:
    (sheet,) = write_augment_sheets(space({mixing: 1.0}), plain(tmp_path), tmp_path)
    found = pixels(sheet.file)
    shares = [cell(found, 1, column).mean() / 255 for column in range(8)]
    assert len({round(share, 2) for share in shares} - {0.0, 1.0}) >= 3
    assert [is_framed_as_fake(found, 1, c) for c in range(8)] == [s >= 0.5 for s in shares]


def test_blends_of_real_samples_stand_in_the_places_of_fakes(
    space: MakeSpace, tmp_path: Path
) -> None:
    (sheet,) = write_augment_sheets(
        space({"pictures": {"self_blend": 0.1}}), plain(tmp_path), tmp_path
    )
    found = pixels(sheet.file)
    assert [is_framed_as_fake(found, 1, c) for c in range(8)] == [False, True] * 4
    # Of black a blend is dark; the fakes are white.
    assert max(cell(found, 1, c).max() for c in range(8)) < 128


def test_the_same_space_makes_the_same_bytes(space: MakeSpace, tmp_path: Path) -> None:
    prepared = data(tmp_path)
    pictures = {"policy": "trivialaugment", "noise": 0.5, "jpeg": 0.5, "self_blend": 0.5}
    drawn = space({"pictures": pictures, "mixup_alpha": 0.2, "cutmix_alpha": 1.0})
    first, again = (
        write_augment_sheets(drawn, prepared, tmp_path / name)[0].file.read_bytes()
        for name in ("first", "again")
    )
    assert first == again


def test_what_a_space_cannot_draw_or_change_has_no_sheet(space: MakeSpace, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    views: dict[str, View] = {"seen": IMAGE, "heard": MEL, "numbers": Numbers()}
    stored = {name: rng.integers(0, 256, (6, *view.stored_shape)) for name, view in views.items()}
    prepared = prepare_by_hand(tmp_path, views, stored, [0, 1] * 3)
    out = tmp_path / "sheets"
    every = ["seen", "heard", "numbers"]
    off = {"pictures": {"hflip": 0.0, "jpeg_quality": 10}, "spectrograms": {"crop_scale": 1.0}}
    assert write_augment_sheets(space(off, views=every), prepared, out) == []
    assert not out.exists()

    def files(augment: Mapping[str, Any], **keys: Any) -> list[str]:
        return [s.file.name for s in write_augment_sheets(space(augment, **keys), prepared, out)]

    both = {"pictures": {"hflip": 0.5}, "spectrograms": {"gain_db": 6}}
    assert files(both, views=every) == ["seen.png", "heard.png"]
    assert files(both, views={"choice": [["numbers"], ["heard", "numbers"]]}) == ["heard.png"]
    assert files({"spectrograms": {"gain_db": 6}}, views=every) == ["heard.png"]
    assert files({"mixup_alpha": 0.2}, views=every) == ["seen.png", "heard.png"]


@pytest.mark.parametrize("targets", [[0, 0, 0], [1], [0, 1, 1, 1]])
def test_few_files_or_one_class_are_no_trouble(
    space: MakeSpace, tmp_path: Path, targets: list[int]
) -> None:
    stored = {"seen": np.zeros((len(targets), *IMAGE.stored_shape))}
    prepared = prepare_by_hand(tmp_path, {"seen": IMAGE}, stored, targets)
    drawn = space({"pictures": {"self_blend": 0.5, "hflip": 0.5}, "mixup_alpha": 0.2})
    (sheet,) = write_augment_sheets(drawn, prepared, tmp_path)
    assert sum(len(names) for names in sheet.shown.values()) == len(targets)


def test_a_view_without_a_file_to_show_has_no_sheet(space: MakeSpace, tmp_path: Path) -> None:
    stored = {"seen": np.zeros((2, *IMAGE.stored_shape))}
    status = {0: "broken", 1: "broken"}
    prepared = prepare_by_hand(tmp_path, {"seen": IMAGE}, stored, [0, 1], status=status)
    assert write_augment_sheets(space({"pictures": {"hflip": 1}}), prepared, tmp_path) == []


def recorded(bench: Bench, folder: StudyFolder) -> list[str]:
    """Return the sheets among the artifacts of a study's run."""
    tracking = Tracking(bench.workspace.tracking)
    run = tracking.find_study(folder.info().name, folder.info().id)
    return [
        file.path for file in MlflowClient(tracking.store.uri).list_artifacts(run, "augmentations")
    ]


def test_a_study_records_the_sheets_of_its_space_once(
    bench: Bench, inline: InlineTrials, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = bench.experiment({**SPACE, "augment": {"pictures": {"hflip": 0.5}}})
    folder = bench.search(experiment, 1).folder
    assert pixels(folder.path / "augmentations" / "image.png").size
    assert recorded(bench, folder) == ["augmentations/image.png"]

    def not_again(*_: object) -> None:
        raise AssertionError("written again")

    monkeypatch.setattr(beside, "write_augment_sheets", not_again)
    assert bench.search(experiment, 2).num_new == 1
    assert recorded(bench, folder) == ["augmentations/image.png"]


def test_a_study_of_no_augmentation_records_none(bench: Bench, inline: InlineTrials) -> None:
    folder = bench.search(bench.experiment(), 1).folder
    assert recorded(bench, folder) == []
    assert not (folder.path / "augmentations").exists()
