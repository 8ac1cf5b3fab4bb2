"""Fakes mixed with what they were made of."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from tests.trial.pictures import recipe_for
from workbench.data.prepare import Prepared
from workbench.parts.augment import Augment
from workbench.trial.batches import Batch
from workbench.trial.originals import mixed_with_originals, originals_of


def rows(originals: list[str]) -> pd.DataFrame:
    names = ["a.mp4", "in/b.mp4", "x/c.mp4", "y/c.mp4", *(f"f{i}" for i in range(len(originals)))]
    targets = np.array([0, 0, 0, 0, *[1] * len(originals)], np.int8)
    cells = ["a.mp4", "", "", "", *originals]
    return pd.DataFrame({"name": names, "target": targets, "meta.original": cells})


def test_a_fake_is_of_the_file_that_its_column_names_with_or_without_folder_and_ending() -> None:
    found = originals_of(rows(["a.mp4", "a", "in/b.mp4", "b.mp4", "y/c.mp4", "c", "", "z"]), None)
    # Real files are made of none; `c` could be either of two.
    assert found.tolist() == [-1] * 4 + [0, 0, 1, 1, 3, -1, -1, -1]
    assert originals_of(rows([]).drop(columns="meta.original"), None).tolist() == [-1] * 4


def test_a_copy_is_of_what_it_was_made_of() -> None:
    plain = torch.arange(4)[None]
    copies = SimpleNamespace(num_files=4, made_of={5: 0, 6: 5}, plain=plain)
    found = originals_of(rows(["", "a", "b"])[["name", "target"]], copies)  # type: ignore[arg-type]
    assert found.tolist() == [-1] * 5 + [0, 5]


def test_a_damaged_fake_is_of_its_original_as_damaged() -> None:
    table = rows(["a", "y/c.mp4", "a"])
    table = pd.concat([table, table.iloc[[0, 4, 5]]], ignore_index=True)
    # Of the real files the first alone has a damaged copy, and of the fakes the last one has none.
    plain = torch.tensor([[0, 1, 2, 3, 4, 5, 6], [7, 1, 2, 3, 8, 9, 6]])
    copies = SimpleNamespace(num_files=7, made_of={}, plain=plain)
    found = originals_of(table, copies)  # type: ignore[arg-type]
    assert found.tolist() == [-1] * 4 + [0, 3, 0] + [-1, 7, 3]


class Source:
    """Two segments a file: the first is ten times the file's number, the second one more."""

    num_segments = 2

    def inputs(self, index: torch.Tensor) -> dict[str, torch.Tensor]:
        value = 10.0 * (index // 2) + index % 2
        return {"x": value[:, None].repeat(1, 3), "y": value[:, None, None, None, None]}


def mixed(index: list[int], alpha: float = 0.5, seed: int = 0) -> Batch:
    source, places = Source(), torch.tensor(index)
    batch = Batch(source.inputs(places), torch.tensor([0, 0, 1, 1])[places // 2], places)
    generator = torch.Generator().manual_seed(seed)
    originals = torch.tensor([-1, -1, 0, -1])  # of files: the third is made of the first
    return mixed_with_originals(batch, source, originals, alpha, generator)  # type: ignore[arg-type]


def test_a_fake_keeps_a_drawn_share_of_itself_and_of_its_label() -> None:
    shares = []
    for seed in range(200):
        batch = mixed([0, 5, 4, 6], seed=seed)
        assert batch.targets[[0, 3]].tolist() == [0, 1]
        for at, segment in ((1, 1), (2, 0)):
            share = float(batch.targets[at])
            # 20 of its own, 0 of its original's; of the same segment.
            assert batch.inputs["x"][at].tolist() == pytest.approx([20 * share + segment] * 3)
            assert float(batch.inputs["y"][at]) == pytest.approx(20 * share + segment)
            shares.append(share)
        assert batch.inputs["x"][0].tolist() == [0.0] * 3
        assert batch.inputs["x"][3].tolist() == [30.0] * 3
    # Beta(1/2, 1/2) is the arcsine law: a third lies under a quarter, and its mean is a half.
    assert np.mean(shares) == pytest.approx(0.5, abs=0.05)
    assert np.mean(np.array(shares) < 0.25) == pytest.approx(1 / 3, abs=0.06)


def test_a_batch_without_such_fakes_stays_as_it_is_and_draws_as_much() -> None:
    batch = mixed([0, 6])
    assert batch.targets.tolist() == [0, 1]
    generators = [torch.Generator().manual_seed(1) for _ in range(2)]
    for index, generator in zip(([0, 6], [0, 4]), generators, strict=True):
        places = torch.tensor(index)
        plain = Batch(Source().inputs(places), torch.tensor([0, 1]), places)
        mixed_with_originals(plain, Source(), torch.tensor([-1, -1, 0, -1]), 0.5, generator)  # type: ignore[arg-type]
    assert torch.equal(generators[0].get_state(), generators[1].get_state())


def test_a_recipe_without_it_has_the_name_that_it_had(pictures: Prepared, tmp_path: Path) -> None:
    plain = recipe_for(pictures)
    assert recipe_for(pictures, augment=Augment(paired_mixup_alpha=0.0)).uid == plain.uid
    assert recipe_for(pictures, augment=Augment(paired_mixup_alpha=0.5)).uid != plain.uid
