"""Stored views: what is read of them, resized, and put beside each other."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from tests.scoring.views import Numbers
from tests.trial.pictures import SIZES
from workbench.data.prepare import Prepared
from workbench.errors import DataError
from workbench.parts.pixels import to_tensor
from workbench.scoring.slices import Slice
from workbench.scoring.stored import StoredViews

CPU = torch.device("cpu")


def stored(
    prepared: Prepared, split: str, image_px: int = 32, *, most_kept_bytes: float = math.inf
) -> StoredViews:
    return StoredViews(
        Slice(split, prepared, prepared.rows(split)),
        prepared.views,
        image_px=image_px,
        device=CPU,
        most_kept_bytes=most_kept_bytes,
    )


def test_pixels_of_the_right_size_are_moved_and_kept() -> None:
    rows = np.random.default_rng(0).integers(0, 256, (2, 3, 8, 8, 3), dtype=np.uint8)
    pixels = to_tensor(rows, 8, CPU)
    assert pixels.dtype == torch.uint8
    np.testing.assert_array_equal(pixels.numpy(), rows.transpose(0, 1, 4, 2, 3))


def test_a_smaller_picture_is_an_average_of_every_pixel() -> None:
    # Columns 0 and 255 by turns: antialiasing gives grey, plain sampling black or white.
    rows = np.zeros((1, 1, 16, 16, 1), np.uint8)
    rows[:, :, :, ::2] = 255
    pixels = to_tensor(rows, 4, CPU)
    assert pixels.shape == (1, 1, 1, 4, 4)
    assert 110 <= int(pixels.min()) <= int(pixels.max()) <= 145


def test_a_larger_picture_is_bilinear() -> None:
    rows = np.array([0, 100], np.uint8).reshape(1, 1, 1, 2, 1).repeat(2, 2)
    pixels = to_tensor(rows, 4, CPU)
    assert pixels[0, 0, 0].tolist() == [[0, 25, 75, 100]] * 4


@pytest.mark.parametrize("image_px", [1, 3, 5, 24])
def test_a_picture_of_one_value_keeps_it(image_px: int) -> None:
    for value in (0, 1, 128, 254, 255):
        rows = np.full((2, 2, 7, 7, 3), value, np.uint8)
        pixels = to_tensor(rows, image_px, CPU)
        assert pixels.shape == (2, 2, 3, image_px, image_px)
        assert (pixels == value).all()


@pytest.mark.parametrize("image_px", [32, 40])
def test_resident_and_mapped_pixels_are_the_same(pictures: Prepared, image_px: int) -> None:
    index = torch.tensor([5, 0, 0, 13])
    resident = stored(pictures, "train", image_px)
    mapped = stored(pictures, "train", image_px, most_kept_bytes=0)
    assert resident._resident is not None
    assert mapped._resident is None
    x = resident.inputs(index)["image"]
    assert x.shape == (4, 1, 3, image_px, image_px)
    assert torch.equal(x, mapped.inputs(index)["image"])
    assert torch.equal(x[1], x[2])


def test_inputs_are_the_stored_pictures_in_shares_of_full_brightness(pictures: Prepared) -> None:
    part, array = stored(pictures, "val"), pictures.open_array("image")
    rows = pictures.rows("val")
    x = part.inputs(torch.arange(part.num_samples))["image"]
    for index, row in enumerate(rows["row.image"]):
        expected = array[row, 0].transpose(0, 3, 1, 2).astype(np.float32) / 255
        np.testing.assert_allclose(x[index].numpy(), expected, atol=1e-7)
    # Even ones are red.
    assert ((x[:, 0, 0].mean((1, 2)) > x[:, 0, 2].mean((1, 2))) == (part.targets == 0)).all()
    assert part.names == [f"val{index}.png" for index in range(SIZES["val"])]
    assert part.targets.tolist() == [0, 1] * 4


def test_training_leaves_out_what_cannot_be_decoded(pictures: Prepared) -> None:
    assert stored(pictures, "train").num_samples == SIZES["train"]
    assert "broken.png" not in stored(pictures, "train").names
    assert stored(pictures, "test").targets.tolist() == [-1] * SIZES["test"]


def test_a_split_without_a_readable_file_is_refused(pictures: Prepared) -> None:
    table = pictures.table[pictures.table["name"] == "broken.png"]
    broken = Prepared(table, pictures.views, pictures.arrays, pictures.fingerprint)
    with pytest.raises(DataError, match="No file of train can be decoded"):
        stored(broken, "train")


def test_a_split_of_many_files_is_loaded_in_pieces_without_a_seam(pictures: Prepared) -> None:
    table = pd.concat([pictures.rows("train")] * 40, ignore_index=True)
    many = Prepared(table, pictures.views, pictures.arrays, pictures.fingerprint)
    x = stored(many, "train").inputs(torch.arange(560))["image"]
    assert torch.equal(x, x[:14].repeat(40, 1, 1, 1, 1))


@pytest.mark.parametrize("most_kept_bytes", [math.inf, 0])
def test_a_file_of_several_segments_is_several_samples(
    tmp_path: Path, most_kept_bytes: float
) -> None:
    sound = Numbers(shape_=(1, 4, 4, 1), segments=3)
    vector = Numbers(shape_=(2,))
    # Rows 1 and 2 are the files; segment s of row r is all of level 50 r + 10 s.
    levels = np.array([[0] * 3, [50, 60, 70], [100, 110, 120]], np.uint8)
    np.repeat(levels[..., None], 16, 2).tofile(tmp_path / "sound")
    np.array([[0, 0], [1.5, -2], [300, 0.25]], np.float32).tofile(tmp_path / "vector")
    table = pd.DataFrame(
        {"split": "train", "name": ["a", "b"], "target": [1, 0], "row.s": [1, 2], "row.v": [1, 2]}
    )
    views = {"s": sound, "v": vector}
    arrays = {"s": tmp_path / "sound", "v": tmp_path / "vector"}
    prepared = Prepared(table, views, arrays, "0" * 12)
    part = stored(prepared, "train", 4, most_kept_bytes=most_kept_bytes)
    assert (part.num_samples, part.names) == (6, ["a", "b"])
    index = torch.tensor([0, 2, 3, 5])
    assert part.targets_of(index).tolist() == [1, 1, 0, 0]
    inputs = part.inputs(index)
    assert (inputs["s"][:, 0, 0, 0, 0] * 255).round().tolist() == [50, 70, 100, 120]
    # The vector is of the whole file: it stands beside each of its segments.
    assert inputs["v"].tolist() == [[1.5, -2.0], [1.5, -2.0], [300.0, 0.25], [300.0, 0.25]]


def test_the_rows_of_a_trial_s_scores(pictures: Prepared) -> None:
    part = stored(pictures, "test")
    table = part.table(np.linspace(0, 1, SIZES["test"]))
    assert table.columns.tolist() == ["slice", "name", "score", "target", "neutral"]
    assert table["slice"].unique().tolist() == ["test"]
    assert table["name"].tolist() == [f"test{index}.png" for index in range(SIZES["test"])]
    assert table["score"].tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert table["target"].tolist() == [-1] * SIZES["test"]
    assert not table["neutral"].any()
