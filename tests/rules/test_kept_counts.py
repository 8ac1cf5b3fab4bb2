"""What was counted of a model is kept, and is not counted again by the same versions."""

import json
from pathlib import Path

import pytest

from workbench.data.measured import _sum
from workbench.media.image import Image
from workbench.parts.heads import LINEAR, Head
from workbench.parts.two_labels import TwoLabelsHead
from workbench.parts.weights import RANDOM
from workbench.rules import judge as judging
from workbench.rules.judge import judge
from workbench.rules.rulebook import Rulebook, Verdict

VIEWS = {"image": Image(image_px=32)}


def judged(folder: Path | None, *, image_px: int = 32, head: Head = LINEAR) -> Verdict:
    return judge(
        Rulebook(),
        "test_resnet",
        VIEWS,
        image_px=image_px,
        weights=RANDOM,
        head=head,
        counted=folder,
    )


def counted_as(folder: Path, thop: int, *, by_hand: bool = False) -> None:
    """Write into what is kept that thop counts so many; `by_hand` leaves its checksum."""
    file = folder / "measured-counts.jsonl"
    (line,) = [json.loads(line) for line in file.read_text().splitlines()]
    line["value"]["counts"]["thop"] = thop
    if not by_hand:
        line["sum"] = _sum(line["key"], line["value"])
    file.write_text(json.dumps(line) + "\n")


def test_a_kept_count_is_taken_and_gives_the_same_verdict(tmp_path: Path) -> None:
    first = judged(tmp_path)
    assert judged(tmp_path) == first == judged(None)
    counted_as(tmp_path, 7)
    assert judged(tmp_path).params_thop == 7
    # Where nothing is asked to be taken, the model is built and counted.
    assert judged(None) == first


def test_a_changed_digit_of_a_count_decides_nothing(tmp_path: Path) -> None:
    first = judged(tmp_path)
    counted_as(tmp_path, 7, by_hand=True)
    assert judged(tmp_path) == first


def test_another_model_and_other_versions_are_counted_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = judged(tmp_path)
    counted_as(tmp_path, 7)
    other = judged(tmp_path, image_px=48)
    assert (other.params_thop, other.macs) == (first.params_thop, judged(None, image_px=48).macs)
    assert other.macs != first.macs
    two = judged(tmp_path, head=TwoLabelsHead())
    assert (two.params_thop, two.macs) == (
        first.params_thop,
        judged(None, head=TwoLabelsHead()).macs,
    )
    monkeypatch.setattr(judging, "counted_by", lambda: "a fork of thop 9.9")
    assert judged(tmp_path).params_thop == first.params_thop


def test_nothing_is_kept_in_a_folder_that_there_is_not(tmp_path: Path) -> None:
    assert judged(tmp_path / "gone") == judged(None)
    assert not (tmp_path / "gone").exists()
