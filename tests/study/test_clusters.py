"""Clusters of the fakes of `val`, by features that can be checked by hand."""

from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.study.test_screening import VIEWS, space_of
from workbench.data.prepare import Prepared
from workbench.parts.weights import RANDOM
from workbench.rules.rulebook import Rulebook
from workbench.scoring.slices import families_of, labelled_slices
from workbench.screening import clusters as module
from workbench.screening.clusters import (
    Clusters,
    cluster_fakes,
    describe_clusters,
    find_clusters,
    with_clusters,
)
from workbench.screening.probe import FeatureRows, Where
from workbench.screening.screening import Candidate
from workbench.space.weights_finder import WeightsFinder

CENTRES = np.array([(0, 0), (10, 0), (0, 10), (10, 10)])


def spots(*sizes: int) -> FeatureRows:
    """Rows near the corners of a square, so many at each."""
    rng = np.random.default_rng(0)
    of_each = [rng.normal(CENTRES[i], 0.1, (size, 2)) for i, size in enumerate(sizes)]
    return np.concatenate(of_each).astype(np.float32)


def test_spots_are_clusters_the_largest_first() -> None:
    features = spots(12, 30, 20)
    numbers = cluster_fakes(features, 3, least=10)
    assert numbers.tolist() == [3] * 12 + [1] * 30 + [2] * 20
    shuffled = np.random.default_rng(1).permutation(62)
    np.testing.assert_array_equal(cluster_fakes(features[shuffled], 3, least=10), numbers[shuffled])


def test_where_a_cluster_would_be_too_small_there_are_fewer() -> None:
    # Three clusters would leave the four alone; two join them to their neighbours.
    features = spots(20, 4, 0, 20)
    features[20:24, 0] = 2
    numbers = cluster_fakes(features, 3, least=10)
    assert sorted(set(numbers.tolist())) == [1, 2]
    assert np.bincount(numbers)[1:].tolist() == [24, 20]
    assert not cluster_fakes(spots(19), 4, least=10).any()


def test_a_file_far_out_is_no_cluster() -> None:
    features = spots(20, 0, 0, 20)
    features[0] -= 100
    assert cluster_fakes(features, 2, least=10).tolist() == [1] * 20 + [2] * 20


def test_a_scale_of_a_feature_and_one_that_never_moves_change_nothing() -> None:
    features = spots(15, 0, 0, 15)
    wide = np.column_stack([features * [1000, 1000], np.full(30, 7.0)]).astype(np.float32)
    np.testing.assert_array_equal(
        cluster_fakes(wide, 2, least=5), cluster_fakes(features, 2, least=5)
    )


def prepared_of(num_each: int) -> Prepared:
    """Training files, reals and fakes of val, one view whose rows are all there."""
    count = 3 * num_each
    split = ["train"] * num_each + ["val"] * (2 * num_each)
    table = pd.DataFrame(
        {
            "split": split,
            "name": [f"{i % (2 * num_each)}.png" for i in range(count)],
            "target": np.arange(count, dtype=np.int8) % 2,
            "content": [f"c{i}" for i in range(count)],
            "row.image": np.arange(1, count + 1),
        }
    )
    return Prepared(table, {"image": VIEWS["image"]}, {"image": Path("none")}, "0" * 12)


def test_every_cluster_stands_against_all_reals() -> None:
    prepared = prepared_of(20)
    rows = prepared.rows("val")
    fakes = rows["name"][rows["target"] == 1].tolist()
    numbers = {name: 1 + (i >= 15) for i, name in enumerate(fakes)}
    clustered = with_clusters(prepared, Clusters(numbers=numbers))
    first, second = labelled_slices(clustered, ["clusters"])
    assert [first.name, second.name] == ["clusters.1", "clusters.2"]
    assert [sum(part.rows["target"] == 1) for part in (first, second)] == [15, 5]
    assert [sum(part.rows["target"] == 0) for part in (first, second)] == [20, 20]
    assert clustered.table.loc[clustered.table["split"] == "train", "cluster"].eq(0).all()
    assert not families_of(prepared)["clusters"].slices


def found(
    folder: Path, prepared: Prepared, monkeypatch: pytest.MonkeyPatch, features: FeatureRows | str
) -> Clusters:
    """Find the clusters by features that are given."""
    candidates = [
        (Candidate(backbone=name, views=views, image_px=32, reason=reason), RANDOM)
        for name, views, reason in (
            ("blind", ("image", "small"), "no pretrained weights"),
            ("small", ("image",), ""),
            ("seeing", ("image", "small"), ""),
        )
    ]
    monkeypatch.setattr(module, "candidates_of", lambda *_: candidates)
    monkeypatch.setattr(module, "child_process", nullcontext)
    monkeypatch.setattr(module, "ask", lambda *_: features)
    return find_clusters(
        space_of(),
        VIEWS,
        prepared,
        folder,
        num_clusters=2,
        rulebook=Rulebook(),
        finder=WeightsFinder(folder / "store"),
        where=Where(folder, folder, "cpu", 1),
    )


def test_they_are_found_once_a_study_by_the_most_views(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = prepared_of(20)
    fake = prepared.rows("val")["target"].to_numpy() == 1
    features = np.zeros((40, 2), np.float32)
    features[fake] = spots(10, 0, 0, 10)
    clusters = found(tmp_path, prepared, monkeypatch, features)
    assert (clusters.backbone, clusters.views) == ("seeing", ("image", "small"))
    assert list(clusters.numbers.values()) == [1] * 10 + [2] * 10
    assert "in 2 (10, 10 files) by image+small (seeing" in describe_clusters(clusters)
    again = found(tmp_path, prepared, monkeypatch, "never asked again")
    assert again == clusters


def test_without_features_there_is_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clusters = found(tmp_path, prepared_of(20), monkeypatch, "it took over 5 s")
    assert clusters.numbers == {}
    assert describe_clusters(clusters) == "No clusters: it took over 5 s."
