"""What a study's recipes compute in: decided once for each backbone, kept, and never slower."""

from pathlib import Path

import pytest

from workbench.errors import ConfigError, DamagedFileError
from workbench.parts.optimizers import AdamW
from workbench.space import precisions
from workbench.space.precisions import Precisions, settled_for
from workbench.space.space import SampledConfig


def draft(backbone: str) -> SampledConfig:
    return SampledConfig(views=("image",), backbone=backbone, optimizer=AdamW(lr=1e-3))


class Meter:
    """Stands for a CPU that is so many times as fast in bfloat16."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **gains: float) -> None:
        self.asked: list[str] = []

        def gain(backbone: str, **_: object) -> float:
            self.asked.append(backbone)
            if backbone not in gains:
                raise ConfigError("no such backbone")
            return gains[backbone]

        monkeypatch.setattr(precisions, "gain_of_bfloat16", gain)
        monkeypatch.setattr(precisions, "has_bfloat16", lambda device: True)


def test_each_backbone_is_measured_once_and_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    meter = Meter(monkeypatch, slower=0.63, faster=2.2, same=1.09)
    file = tmp_path / "precisions.json"
    chosen = Precisions(None, file=file)
    for _ in range(2):
        said = {b: chosen.in_bfloat16(draft(b), has_pictures=True) for b in ("slower", "faster")}
        assert said == {"slower": False, "faster": True}
    assert meter.asked == ["slower", "faster"]
    told = capsys.readouterr().err
    assert "faster is trained in bfloat16: a step in bfloat16 is 2.20 times as fast here" in told
    # Too little to be told from chance.
    assert not chosen.in_bfloat16(draft("same"), has_pictures=True)
    # The study goes on so on another machine, and measures only what it never drew.
    monkeypatch.setattr(precisions, "has_bfloat16", lambda device: False)
    again = Precisions(None, file=file)
    assert again.in_bfloat16(draft("faster"), has_pictures=True)
    assert not again.in_bfloat16(draft("other"), has_pictures=True)
    assert meter.asked == ["slower", "faster", "same"]


@pytest.mark.parametrize("settled", [True, False])
def test_a_study_that_an_older_version_began_goes_on_with_what_it_said(
    monkeypatch: pytest.MonkeyPatch, settled: bool
) -> None:
    meter = Meter(monkeypatch)
    assert Precisions(settled).in_bfloat16(draft("any"), has_pictures=True) is settled
    assert Precisions(settled).guess(draft("any")) is settled
    assert meter.asked == []


def test_nothing_is_measured_for_a_guess_or_without_pictures(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    meter = Meter(monkeypatch, faster=2.0)
    chosen = Precisions(None, file=tmp_path / "precisions.json")
    assert not chosen.guess(draft("faster"))
    assert not chosen.in_bfloat16(draft("faster"), has_pictures=False)
    assert meter.asked == []
    chosen.in_bfloat16(draft("faster"), has_pictures=True)
    assert chosen.guess(draft("faster"))


def test_a_backbone_that_cannot_be_built_is_a_bad_draw_and_no_decision(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    Meter(monkeypatch)
    chosen = Precisions(None, file=tmp_path / "precisions.json")
    assert not chosen.in_bfloat16(draft("unknown"), has_pictures=True)
    assert not (tmp_path / "precisions.json").exists()


@pytest.mark.parametrize(
    ("devices", "has", "expected"),
    [
        (["cpu", "cpu"], True, None),
        (["cpu"], False, False),
        (["cuda:0", "cuda:1"], True, True),
        (["cuda:0"], False, False),
    ],
)
def test_a_gpu_that_has_it_is_faster_so_and_a_cpu_is_asked(
    monkeypatch: pytest.MonkeyPatch, devices: list[str], has: bool, expected: bool | None
) -> None:
    monkeypatch.setattr(precisions, "has_bfloat16", lambda device: has)
    assert settled_for(devices) is expected


@pytest.mark.parametrize("text", ["", "[" * 100_000, "[]", '{"resnet18": "yes"}'])
def test_damaged_precisions_are_a_sentence(tmp_path: Path, text: str) -> None:
    (file := tmp_path / "precisions.json").write_text(text, encoding="utf-8")
    with pytest.raises(DamagedFileError, match=r"precisions\.json is damaged\. Put the file back"):
        Precisions(None, file=file)
