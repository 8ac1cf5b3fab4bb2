from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import pytest
import torch

from tests.trial.pictures import SIZES
from workbench.data.prepare import Prepared
from workbench.errors import ConfigError, DataError
from workbench.media.view import FileView, Made
from workbench.parts.pixels import to_tensor
from workbench.trial import batches
from workbench.trial.batches import Split, count_batches, in_order, shuffled, subset
from workbench.trial.recipe import Sampling

CPU = torch.device("cpu")


def split_of(prepared: Prepared, name: str, image_px: int = 32) -> Split:
    return Split(prepared, name, prepared.views, image_px=image_px, device=CPU)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


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
def test_resident_and_mapped_pixels_are_the_same(
    pictures: Prepared, image_px: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = torch.tensor([5, 0, 0, 13])
    resident = split_of(pictures, "train", image_px)
    monkeypatch.setattr(batches, "HOST_BYTES", 0)
    mapped = split_of(pictures, "train", image_px)
    assert resident._resident is not None
    assert mapped._resident is None
    x = resident.inputs(index)["image"]
    assert x.shape == (4, 1, 3, image_px, image_px)
    assert torch.equal(x, mapped.inputs(index)["image"])
    assert torch.equal(x[1], x[2])


def test_inputs_are_the_stored_pictures_in_shares_of_full_brightness(pictures: Prepared) -> None:
    split, array = split_of(pictures, "val"), pictures.open_array("image")
    rows = pictures.rows("val")
    x = split.inputs(torch.arange(len(split)))["image"]
    for index, row in enumerate(rows["row.image"]):
        expected = array[row, 0].transpose(0, 3, 1, 2).astype(np.float32) / 255
        np.testing.assert_allclose(x[index].numpy(), expected, atol=1e-7)
    # Even ones are red.
    assert ((x[:, 0, 0].mean((1, 2)) > x[:, 0, 2].mean((1, 2))) == (split.targets == 0)).all()
    assert split.names == [f"val{index}.png" for index in range(SIZES["val"])]
    assert split.targets.tolist() == [0, 1] * 4


def test_training_leaves_out_what_cannot_be_decoded(pictures: Prepared) -> None:
    assert len(split_of(pictures, "train")) == SIZES["train"]
    assert "broken.png" not in split_of(pictures, "train").names
    assert split_of(pictures, "test").targets.tolist() == [-1] * SIZES["test"]


def test_a_split_without_a_readable_file_is_refused(pictures: Prepared) -> None:
    table = pictures.table[pictures.table["name"] == "broken.png"]
    broken = Prepared(table, pictures.views, pictures.arrays, pictures.fingerprint)
    with pytest.raises(DataError, match="No file of the train split can be decoded"):
        split_of(broken, "train")


@pytest.mark.parametrize(
    ("batch_size", "sizes"),
    [(4, [4, 4, 4, 2]), (13, [14]), (14, [14]), (50, [14]), (7, [7, 7]), (1, [1] * 12 + [2])],
)
def test_every_sample_comes_once_and_no_batch_is_left_with_one(
    pictures: Prepared, batch_size: int, sizes: list[int]
) -> None:
    split = split_of(pictures, "train")
    every = list(shuffled(split, batch_size, seeded()))
    assert [len(batch.targets) for batch in every] == sizes
    assert count_batches(len(split), batch_size) == len(sizes)
    seen = torch.cat([batch.inputs["image"] for batch in every]).flatten(1)
    there = split.inputs(torch.arange(len(split)))["image"].flatten(1)
    distances = torch.cdist(seen.double(), there.double())
    origin = distances.argmin(1)
    assert (distances.min(1).values < 1e-4).all()
    assert sorted(origin.tolist()) == list(range(len(split)))
    assert torch.equal(torch.cat([batch.targets for batch in every]), split.targets[origin])


def test_each_epoch_has_its_order_and_each_seed_its_epochs(pictures: Prepared) -> None:
    split = split_of(pictures, "train")

    def order(generator: torch.Generator) -> list[float]:
        parts = [batch.inputs["image"].sum((1, 2, 3, 4)) for batch in shuffled(split, 4, generator)]
        return torch.cat(parts).tolist()

    generator = seeded(1)
    first, second = order(generator), order(generator)
    assert sorted(first) == sorted(second)
    assert first != second
    assert order(seeded(1)) == first
    assert order(seeded(2)) != first


@pytest.mark.parametrize("batch_size", [1, 3, 8, 100])
def test_scoring_keeps_the_order(pictures: Prepared, batch_size: int) -> None:
    split = split_of(pictures, "val")
    x = torch.cat([inputs["image"] for inputs in in_order(split, batch_size)])
    assert torch.equal(x, split.inputs(torch.arange(len(split)))["image"])


def test_a_split_of_many_files_is_loaded_in_pieces_without_a_seam(pictures: Prepared) -> None:
    table = pd.concat([pictures.rows("train")] * 40, ignore_index=True)
    many = Prepared(table, pictures.views, pictures.arrays, pictures.fingerprint)
    x = split_of(many, "train").inputs(torch.arange(560))["image"]
    assert torch.equal(x, x[:14].repeat(40, 1, 1, 1, 1))


class Numbers(FileView):
    """Stands for a view whose arrays a test wrote by hand."""

    kind: Literal["numbers"] = "numbers"
    modality = "picture"
    shape_: tuple[int, ...]
    segments: int = 1
    dtype_: Literal["uint8", "float32"] = "uint8"

    @property
    def shape(self) -> tuple[int, ...]:
        return self.shape_

    @property
    def num_segments(self) -> int:
        return self.segments

    @property
    def dtype(self) -> type[np.generic]:  # type: ignore[override]
        return np.uint8 if self.dtype_ == "uint8" else np.float32

    def of_file(self, path: Path) -> Made:
        raise AssertionError("the arrays are written by hand")


@pytest.mark.parametrize("resident", [True, False])
def test_a_file_of_several_segments_is_several_samples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, resident: bool
) -> None:
    if not resident:
        monkeypatch.setattr(batches, "HOST_BYTES", 0)
    sound = Numbers(shape_=(1, 4, 4, 1), segments=3)
    vector = Numbers(shape_=(2,), dtype_="float32")
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
    split = Split(prepared, "train", views, image_px=4, device=CPU)
    assert (len(split), split.names) == (6, ["a", "b"])
    index = torch.tensor([0, 2, 3, 5])
    assert split.targets_of(index).tolist() == [1, 1, 0, 0]
    inputs = split.inputs(index)
    assert (inputs["s"][:, 0, 0, 0, 0] * 255).round().tolist() == [50, 70, 100, 120]
    # The vector is of the whole file: it stands beside each of its segments.
    assert inputs["v"].tolist() == [[1.5, -2.0], [1.5, -2.0], [300.0, 0.25], [300.0, 0.25]]
    means = split.of_files(np.array([0.1, 0.2, 0.6, 0.5, 0.5, 0.2]))
    np.testing.assert_allclose(means, [0.3, 0.4])


def test_a_subset_keeps_the_share_of_fakes_and_is_the_same_every_time() -> None:
    targets = np.array([1] * 30 + [0] * 10, np.int8)
    half = subset(targets, Sampling(subset=0.5))
    assert (len(half), int(targets[half].sum())) == (20, 15)
    assert np.array_equal(half, np.sort(half))
    assert len(set(half.tolist())) == 20
    assert np.array_equal(half, subset(targets, Sampling(subset=0.5)))
    assert not np.array_equal(half, subset(targets, Sampling(subset=0.5, seed=1)))
    eight = subset(targets, Sampling(subset=8))
    assert (len(eight), int(targets[eight].sum())) == (8, 6)
    assert subset(targets, Sampling()).tolist() == list(range(40))


@pytest.mark.parametrize(("wanted", "said"), [(41, "Ask for fewer"), (2, "without any")])
def test_an_impossible_subset_is_refused(wanted: int, said: str) -> None:
    targets = np.array([1] * 39 + [0], np.int8)
    with pytest.raises(ConfigError, match=said):
        subset(targets, Sampling(subset=wanted))


def test_a_balanced_epoch_has_half_of_each_class(pictures: Prepared) -> None:
    split = split_of(pictures, "train")
    split.targets = torch.tensor([1] * 3 + [0] * 11)  # 14 files
    batches_ = list(shuffled(split, 4, seeded(), balanced=True))
    targets = torch.cat([batch.targets for batch in batches_])
    assert (len(targets), int(targets.sum())) == (14, 7)
    again = torch.cat([b.targets for b in shuffled(split, 4, seeded(), balanced=True)])
    assert torch.equal(targets, again)


def test_of_the_rarer_class_each_is_seen_before_any_is_seen_again() -> None:
    taken = batches._repeated(torch.tensor([4, 7, 9]), 7, seeded())
    counts = [taken.tolist().count(sample) for sample in (4, 7, 9)]
    assert sorted(counts) == [2, 2, 3]
    assert sorted(batches._repeated(torch.arange(10), 4, seeded()).tolist()) == [0, 1, 2, 3]
