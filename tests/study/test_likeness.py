"""The half of `val` most like the test files, by features that can be checked by hand."""

from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.study.conftest import Bench
from tests.study.inline import InlineTrials
from tests.study.test_screening import VIEWS, space_of
from tests.study.tiny import THREE
from workbench.data.prepare import Prepared
from workbench.errors import ConfigError
from workbench.parts.weights import RANDOM
from workbench.rules.rulebook import Rulebook
from workbench.scoring.slices import families_of, labelled_slices
from workbench.screening import feature_network
from workbench.screening import likeness as module
from workbench.screening.likeness import (
    Likeness,
    describe_likeness,
    find_likeness,
    seen_as_test,
    with_likeness,
)
from workbench.screening.probe import ValAndTest, Where
from workbench.screening.screening import Candidate
from workbench.space.weights_finder import WeightsFinder


def prepared_of(num_val: int, num_test: int) -> Prepared:
    """Reals and fakes of val in turn, and test files without labels."""
    table = pd.DataFrame(
        {
            "split": ["val"] * num_val + ["test"] * num_test,
            "name": [f"{i:03}.png" for i in range(num_val + num_test)],
            "target": [i % 2 for i in range(num_val)] + [-1] * num_test,
            "row.image": np.arange(1, num_val + num_test + 1),
        }
    )
    return Prepared(table, {"image": VIEWS["image"]}, {"image": Path("none")}, "0" * 12)


def shifted(num_val: int, num_test: int) -> ValAndTest:
    """Features of which the first is 1 for the last half of val and for all test files, else -1."""
    rng = np.random.default_rng(0)
    val = rng.normal(0, 0.1, (num_val, 3))
    test = rng.normal(0, 0.1, (num_test, 3))
    val[:, 0] += np.where(np.arange(num_val) < num_val // 2, -1, 1)
    test[:, 0] += 1
    return ValAndTest(val.astype(np.float32), test.astype(np.float32))


def found(
    folder: Path, prepared: Prepared, monkeypatch: pytest.MonkeyPatch, features: ValAndTest | str
) -> Likeness:
    one = Candidate(backbone="seeing", views=("image",), image_px=32, reason="")
    monkeypatch.setattr(feature_network, "candidates_of", lambda *_: [(one, RANDOM)])
    monkeypatch.setattr(module, "child_process", nullcontext)
    monkeypatch.setattr(module, "ask", lambda *_: features)
    return find_likeness(
        space_of(),
        VIEWS,
        prepared,
        folder,
        rulebook=Rulebook(),
        finder=WeightsFinder(folder / "store"),
        where=Where(folder, folder, "cpu", 1),
    )


def test_half_of_each_class_is_taken_that_looks_like_the_test(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = prepared_of(80, 30)
    likeness = found(tmp_path, prepared, monkeypatch, shifted(80, 30))
    assert list(likeness.names) == [f"{i:03}.png" for i in range(40, 80)]
    # Half of val looks like the test and ties with it, half is told from it: 1/2 + 1/4.
    assert likeness.told_apart == pytest.approx(0.75, abs=0.1)
    said = describe_likeness(likeness)
    assert "the 40 files of val that look most like the test files, by image (seeing" in said
    assert found(tmp_path, prepared, monkeypatch, "never asked again") == likeness


def test_they_are_one_slice_of_both_classes() -> None:
    prepared = with_likeness(prepared_of(60, 20), Likeness(names=("003.png", "008.png", "061.png")))
    [part] = labelled_slices(prepared, ["like-test"])
    assert part.name == "like-test"
    assert part.rows["name"].tolist() == ["003.png", "008.png"]  # the third is a test file
    assert part.rows["target"].tolist() == [1, 0]
    assert not families_of(prepared_of(60, 20))["like-test"].slices


def test_files_that_look_alike_are_not_told_apart() -> None:
    rng = np.random.default_rng(1)
    features = ValAndTest(*(rng.normal(size=(200, 4)).astype(np.float32) for _ in range(2)))
    odds, told_apart = seen_as_test(features)
    assert odds.shape == (200,)
    assert told_apart == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize(
    ("num_val", "num_test", "features", "why"),
    [
        (80, 5, "never asked", "fewer than 10 test files"),
        (30, 20, "never asked", "no 20 real and 20 fake files"),
        (80, 20, "it took longer than 600 s", "it took longer than 600 s"),
    ],
)
def test_where_there_is_none_a_sentence_says_why(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    num_val: int,
    num_test: int,
    features: str,
    why: str,
) -> None:
    prepared = prepared_of(num_val, num_test)
    likeness = found(tmp_path, prepared, monkeypatch, features)
    assert why in describe_likeness(likeness)
    assert not families_of(with_likeness(prepared, likeness))["like-test"].slices


def test_a_look_at_the_test_files_must_be_allowed(bench: Bench, inline: InlineTrials) -> None:
    over = {"over": ["val", "like-test"]}
    with pytest.raises(ConfigError, match=r"rulebook: \{test_media: select\}"):
        bench.search(bench.experiment(THREE, objective=over), 1)


def test_a_search_asks_for_it_and_says_what_it_found(
    bench: Bench, inline: InlineTrials, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = {"slices": ["like-test"], "rulebook": {"test_media": "select"}}
    folder = bench.search(bench.experiment(THREE, **keys), 1).folder
    # The 16 files of this val are too few: the study says so, and keeps it.
    assert "No like-test:" in capsys.readouterr().err
    assert (folder.path / "like-test.json").exists()
