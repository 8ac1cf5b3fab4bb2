"""What a backbone sees untrained: its pooled features, their cache, and the line through them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from tests.trial.pictures import BACKBONE
from workbench.data.prepare import Prepared
from workbench.errors import DataError
from workbench.media.audio_features import Features
from workbench.media.mel import Mel
from workbench.media.view import View
from workbench.parts.model import MediaModel, PictureReader
from workbench.parts.pixels import as_input, to_tensor
from workbench.parts.pretrained import loader, resolve
from workbench.parts.torchvision_fix import import_timm
from workbench.parts.weights import Weights
from workbench.scoring.slices import Slice
from workbench.scoring.stored import StoredViews
from workbench.screening import probe as probe_module
from workbench.screening.probe import Asked, Pooled, Where, part_by_a_line, pooled, probe
from workbench.trial.memory import TooLargeError

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two files of weights for the tests' backbone."""
    folder = tmp_path_factory.mktemp("store")
    for seed, tag in enumerate(("r160_in1k", "other")):
        torch.manual_seed(seed)
        state = import_timm().create_model(BACKBONE).state_dict()
        name = f"{BACKBONE}.{tag}" if tag == "r160_in1k" else BACKBONE
        (folder / tag).mkdir()
        save_file(state, folder / tag / f"{name}.safetensors")
    return folder


@pytest.fixture
def where(store: Path, tmp_path: Path) -> Where:
    return Where(tmp_path / "cache", store / "r160_in1k", "cpu", 1)


@pytest.fixture
def asked(pictures: Prepared, store: Path, tmp_path: Path) -> Asked:
    pictures.save(tmp_path / "study")
    return Asked(tmp_path / "study", "image", 32, BACKBONE, local_weights(store / "r160_in1k"))


def local_weights(folder: Path) -> Weights:
    return resolve(BACKBONE, "local", folder)[0]


def made_by_hand(folder: Path, view: View, rows: npt.NDArray[np.generic]) -> Prepared:
    """Write the rows of one view, the first one neutral, as two splits; every second is fake."""
    array = folder / "array.u8"
    folder.mkdir(parents=True)
    array.write_bytes(np.ascontiguousarray(rows).tobytes())
    count = len(rows) - 1
    table = pd.DataFrame(
        {
            "split": np.where(np.arange(count) < count // 2, "train", "val"),
            "name": [f"{index}.mp4" for index in range(count)],
            "target": np.arange(count, dtype=np.int8) % 2,
            "content": [f"c{index}" for index in range(count)],
            "row.it": np.arange(1, count + 1),
            "status.it": "ok",
            "reason.it": "",
        }
    )
    prepared = Prepared(table, {"it": view}, {"it": array}, "0123456789ab")
    prepared.save(folder)
    return prepared


def never(self: PictureReader, view: torch.Tensor) -> torch.Tensor:
    raise AssertionError("a forward pass")


def test_they_are_what_the_head_of_an_untrained_model_reads(
    pictures: Prepared, asked: Asked, where: Where
) -> None:
    view = {"image": pictures.views["image"]}
    model = MediaModel(
        BACKBONE,
        view,
        image_px=32,
        weights=asked.weights,
        load=loader(where.store),
    ).eval()
    seen: list[torch.Tensor] = []
    model.head.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    found = pooled(asked, where)
    for split, values in found._asdict().items():
        seen.clear()
        with torch.no_grad():
            files = StoredViews(
                Slice(split, pictures, pictures.rows(split)),
                view,
                image_px=32,
                device=CPU,
                most_kept_bytes=0,
            )
            model(files.inputs(torch.arange(files.num_files)))
        np.testing.assert_allclose(values, torch.cat(seen).numpy(), atol=1e-5)


def test_what_was_computed_is_not_computed_again(
    asked: Asked, where: Where, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = pooled(asked, where)
    monkeypatch.setattr(PictureReader, "forward", never)
    again = pooled(asked, where)
    assert all(np.array_equal(*two) for two in zip(first, again, strict=True))


def test_other_weights_sides_or_files_are_computed_anew(
    asked: Asked,
    where: Where,
    store: Path,
    pictures: Prepared,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pooled(asked, where)
    monkeypatch.setattr(PictureReader, "forward", never)
    others = [replace(asked, weights=local_weights(store / "other")), replace(asked, image_px=64)]
    for number, (column, value) in enumerate({"content": "new", "status.image": "cut"}.items()):
        table = pictures.table.copy()
        table.loc[table["split"] == "val", column] = value
        replace(pictures, table=table).save(tmp_path / str(number))
        others.append(replace(asked, prepared=tmp_path / str(number)))
    at = [where, replace(where, store=store / "other")]
    for other in others:
        with pytest.raises(AssertionError, match="a forward pass"):
            pooled(other, at[other.weights != asked.weights])


@pytest.mark.parametrize("keep", [0, 100, -10])
def test_a_torn_file_is_not_used(asked: Asked, where: Where, keep: int) -> None:
    first = pooled(asked, where)
    (file,) = (where.cache / "features").iterdir()
    file.write_bytes(file.read_bytes()[:keep])
    again = pooled(asked, where)
    assert all(np.array_equal(*two) for two in zip(first, again, strict=True))


def test_too_many_pictures_at_once_go_in_parts(
    asked: Asked, where: Where, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = pooled(asked, where)
    forward, most = PictureReader.forward, 4

    def small(self: PictureReader, view: torch.Tensor) -> torch.Tensor:
        if len(view) > most:
            raise RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate")
        return forward(self, view)

    monkeypatch.setattr(PictureReader, "forward", small)
    in_parts = pooled(asked, replace(where, cache=where.cache / "parts"))
    np.testing.assert_allclose(first.train, in_parts.train, atol=1e-5)
    most = 0
    with pytest.raises(TooLargeError, match="too little memory on cpu"):
        pooled(asked, replace(where, cache=where.cache / "none"))
    assert not (where.cache / "none").exists()


def test_features_that_are_no_numbers_are_refused(
    asked: Asked, where: Where, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        PictureReader, "forward", lambda self, view: torch.full((len(view), 3), torch.inf)
    )
    with pytest.raises(DataError, match="NaN or infinite"):
        pooled(asked, where)


def test_a_vector_is_its_own_feature(where: Where, tmp_path: Path) -> None:
    view = Features()
    rows = np.random.default_rng(0).normal(size=(9, *view.stored_shape)).astype(np.float32)
    made_by_hand(tmp_path / "made", view, rows)
    found = pooled(Asked(tmp_path / "made", "it", 32), where)
    assert np.array_equal(found.train, rows[1:5, 0])
    assert np.array_equal(found.val, rows[5:, 0])


def test_a_file_in_segments_has_their_mean(where: Where, store: Path, tmp_path: Path) -> None:
    view = Mel(num_mels=16, image_px=32, segments=2, segment_s=1.0)
    rows = np.random.default_rng(0).integers(0, 256, (5, *view.stored_shape), dtype=np.uint8)
    made_by_hand(tmp_path / "made", view, rows)
    weights = local_weights(store / "r160_in1k")
    found = pooled(Asked(tmp_path / "made", "it", 32, BACKBONE, weights), where)
    reader = PictureReader(
        BACKBONE, view.shape, image_px=32, weights=weights, load=loader(where.store)
    ).eval()
    with torch.no_grad():
        each = reader(as_input(to_tensor(rows[1:].reshape(8, *view.shape), 32, CPU))).numpy()
    expected = each.reshape(4, 2, -1).mean(axis=1)
    np.testing.assert_allclose(np.concatenate(found), expected, atol=1e-5)


def test_of_many_files_a_part_is_looked_at(
    pictures: Prepared, asked: Asked, where: Where, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe_module, "MOST_PROBED", 6)
    rows = probe_module.taken(pictures, "train")
    assert sorted(rows["target"]) == [0, 0, 0, 1, 1, 1]
    assert [len(split) for split in pooled(asked, where)] == [6, 6]


def test_red_and_blue_pictures_are_told_apart(asked: Asked, where: Where) -> None:
    said = probe((asked, asked), where)
    assert said.auc == 1.0
    assert said.num_features == 2 * pooled(asked, where).train.shape[1]


def test_a_line_is_asked_of_the_split_that_it_did_not_learn_from() -> None:
    # Fakes are higher in both: of val 3 of 4 pairs are right, of train all.
    train, val = np.array([[[0], [1], [8], [9]], [[0], [2], [1], [3]]], np.float32)
    found = Pooled(train, val)
    targets = np.array([0, 0, 1, 1])
    said = part_by_a_line(found, targets, targets)
    assert (said.val_auc, said.auc, said.num_features) == (0.75, 0.875, 1)
    # Of val the fakes beat 1/2 and all of the reals: a variance of 1/8 each way, halved.
    assert said.standard_error == pytest.approx((1 / 8 / 2 * 2) ** 0.5 / 2)


def test_noise_is_told_from_nothing_and_constants_say_nothing() -> None:
    rng = np.random.default_rng(0)
    targets = np.arange(400) % 2
    noise = Pooled(*rng.normal(size=(2, 400, 8)).astype(np.float32))
    said = part_by_a_line(noise, targets, targets)
    assert abs(said.auc - 0.5) < 3 * said.standard_error
    flat = Pooled(*np.ones((2, 400, 8), np.float32))
    assert part_by_a_line(flat, targets, targets).auc == 0.5


def test_twins_of_the_other_class_in_one_split_do_not_mislead() -> None:
    # Each fake is its real twin and a little more: parted within a split, a twin misleads.
    rng = np.random.default_rng(0)
    faces = rng.normal(size=(2, 100, 50)).repeat(2, axis=1)
    targets = np.arange(200) % 2
    faces[:, :, 0] += 0.5 * targets
    said = part_by_a_line(Pooled(*faces.astype(np.float32)), targets, targets)
    assert said.auc > 0.5


def test_a_split_almost_of_one_class_is_refused() -> None:
    flat = Pooled(*np.ones((2, 4, 2), np.float32))
    with pytest.raises(DataError, match="val has fewer than two files of a class"):
        part_by_a_line(flat, np.arange(4) % 2, np.array([0, 0, 0, 1]))
