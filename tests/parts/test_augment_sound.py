"""SpecAugment's masks, gain and time shift, worked out by hand."""

import pytest
import torch
from torch import Generator, Tensor

from workbench.parts import augment_sound as sound


def seeded(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def spectrograms(batch: int = 4, bands: int = 20, columns: int = 30) -> Tensor:
    return torch.rand(batch, 1, 1, bands, columns, generator=seeded(7))


def largest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        sound, "between", lambda low, high, count, _: torch.full((count,), float(high))
    )


def test_eight_decibels_are_a_tenth_of_the_range_from_black_to_white(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    largest(monkeypatch)
    x = torch.tensor([0.0, 0.5, 0.95]).expand(1, 1, 1, 1, 3)
    out = sound.change_gain(x, seeded(), gain_db=8)
    assert out.flatten().tolist() == pytest.approx([0.1, 0.6, 1.0])


def test_gains_go_both_ways() -> None:
    by = sound.change_gain(torch.full((500, 1, 1, 2, 2), 0.5), seeded(), gain_db=16)[:, 0, 0, 0, 0]
    assert by.min() == pytest.approx(0.3, abs=0.01)
    assert by.max() == pytest.approx(0.7, abs=0.01)


def test_a_time_shift_moves_columns_to_the_right_and_around(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    largest(monkeypatch)
    x = spectrograms()
    assert torch.equal(sound.shift_time(x, seeded(), share=0.2), x.roll(6, dims=-1))


def test_time_shifts_go_both_ways_by_whole_columns() -> None:
    x = torch.arange(30.0).expand(300, 1, 1, 2, 30)
    first = sound.shift_time(x, seeded(), share=0.1)[:, 0, 0, 0, 0]
    assert set(first.tolist()) == {27.0, 28.0, 29.0, 0.0, 1.0, 2.0, 3.0}


def test_noise_has_the_share_of_each_sounds_power_that_was_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    levels = torch.tensor([0.2, 0.02, 0.0])[:, None]
    x = levels * torch.sin(torch.arange(20_000) / 7)
    monkeypatch.setattr(sound, "between", lambda low, high, count, _: torch.full((count,), low))
    noise = sound.change_waveforms(x, sound.Waveforms(noise=1, noise_snr_db=20), seeded()) - x
    # 20 dB are a hundredth of the power. White: neighbours know nothing of each other.
    shares = noise[:2].square().mean(1) / x[:2].square().mean(1)
    assert shares.tolist() == pytest.approx([0.01, 0.01], rel=0.03)
    assert (noise[2] == 0).all()
    assert abs(float(torch.corrcoef(torch.stack([noise[0, 1:], noise[0, :-1]]))[0, 1])) < 0.03
    # Each has a stretch of its own, in the measure of its level.
    assert not torch.allclose(noise[0], 10 * noise[1], atol=1e-3)


def test_noise_is_drawn_from_its_loudest_to_40_decibels_for_the_share_that_gets_it() -> None:
    x = torch.full((2000, 400), 0.1)
    noise = sound.change_waveforms(x, sound.Waveforms(noise=0.25, noise_snr_db=0), seeded(1)) - x
    noisy = noise[noise.abs().amax(1) > 0]
    assert len(noisy) / len(x) == pytest.approx(0.25, abs=0.03)
    snr_db = -10 * (noisy.square().mean(1) / 0.01).log10()
    assert -1 < snr_db.min() < 1 and 39 < snr_db.max() < 41
    assert snr_db.mean() == pytest.approx(20, abs=1.5)


def masked(x: Tensor, **how: float) -> Tensor:
    settings = {"time_share": 0, "num_time": 1, "frequency_share": 0, "num_frequency": 1} | how
    return sound.mask(x, seeded(), **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(("axis", "name"), [(-1, "time"), (-2, "frequency")])
def test_a_mask_covers_a_span_of_one_axis_with_the_mean(axis: int, name: str) -> None:
    x = spectrograms(batch=600, bands=20, columns=20)
    out = masked(x, **{f"{name}_share": 0.25})
    along = -3 - axis  # -1 and -2 trade places
    covered = (out != x).all(along)[:, 0, 0]
    assert torch.equal(covered, (out != x).any(along)[:, 0, 0])
    lengths = covered.sum(1)
    assert set(lengths.tolist()) == {0, 1, 2, 3, 4, 5}  # a quarter of 20 at most, and nothing
    counts = lengths.bincount()
    assert counts.min() > 60  # each of them alike: 100 are expected
    starts_and_ends = covered.int().diff(dim=1).abs().sum(1)
    assert starts_and_ends.max() <= 2  # in one piece
    assert covered[:, 0].any()  # at the rims, too
    assert covered[:, -1].any()
    mean = x.mean((1, 2, 3, 4), keepdim=True).expand_as(x)
    torch.testing.assert_close(out[out != x], mean[out != x])


def test_masks_of_a_number_leave_as_many_gaps() -> None:
    x = spectrograms(batch=200, bands=20, columns=100)
    out = masked(x, time_share=0.04, num_time=3)
    pieces = ((out != x).all(-2)[:, 0, 0].int().diff(dim=1) == 1).sum(1)
    assert int(pieces.max()) == 3


def test_time_and_frequency_masks_go_together() -> None:
    x = spectrograms(batch=50)
    out = masked(x, time_share=0.3, frequency_share=0.3)
    changed = (out != x)[:, 0, 0]
    assert changed.all(1).any()
    assert changed.all(2).any()
    assert not changed.all()
