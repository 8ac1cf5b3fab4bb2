"""Forged sounds: what they keep of the real one, and that nothing cheap tells them apart."""

from collections.abc import Callable
from importlib.util import find_spec

import numpy as np
import pandas as pd
import pytest
import soxr

from workbench.checks.cues import codes
from workbench.checks.evidence import separation
from workbench.checks.shortcuts import cross_validated_rates
from workbench.degradation.degradations import FORGERIES
from workbench.degradation.forgeries import mismatched, resynthesised, spliced
from workbench.demo.sound import DEMO_RATE_HZ, draw_room, draw_voice, record, speak
from workbench.errors import MediaError
from workbench.media.audio import RATE_HZ
from workbench.media.view import Sound

HAS_WORLD = find_spec("pyworld") is not None
NUM, CUE_AUC = 48, 0.65
NAMES = [
    pytest.param(
        name, marks=pytest.mark.skipif(name == "world" and not HAS_WORLD, reason="needs pyworld")
    )
    for name, each in FORGERIES.items()
    if not each.of_pictures
]
CUES: dict[str, Callable[[Sound], float]] = {
    "loudness": lambda sound: float(np.sqrt(np.mean(sound.astype(float) ** 2))),
    "peak": lambda sound: float(np.abs(sound).max()),
    "crest": lambda sound: float(np.abs(sound).max() / np.sqrt(np.mean(sound.astype(float) ** 2))),
    "length": len,
    "mean": lambda sound: float(np.mean(sound, dtype=float)),
    "silence": lambda sound: float(np.mean(sound == 0)),
    "clipping": lambda sound: float(np.mean(np.abs(sound) > 0.99)),
    "edges": lambda sound: float(np.abs(np.r_[sound[:99], sound[-99:]]).mean()),
    "floor": lambda sound: min(float(np.abs(part).mean()) for part in np.array_split(sound, 40)),
}
"""What can be known of a sound without listening to it."""


def voice(seed: int) -> Sound:
    """Return a sentence of the demo's, of a voice and a level of its own."""
    rng = np.random.default_rng(seed)
    said = speak(draw_voice(rng), rng, num_frames=int(rng.integers(12, 24)), fps=25)
    heard = record(said.wave, draw_room(rng), rng)
    return np.asarray(soxr.resample(heard, DEMO_RATE_HZ, RATE_HZ), np.float32)


@pytest.fixture(scope="module")
def voices() -> list[Sound]:
    return [voice(seed) for seed in range(NUM)]


def forged(name: str, sounds: list[Sound]) -> list[Sound]:
    others = [*sounds[1:], sounds[0]]
    return [FORGERIES[name].heard(one, other) for one, other in zip(sounds, others, strict=True)]


@pytest.mark.parametrize("name", NAMES)
def test_no_cue_tells_what_was_forged(voices: list[Sound], name: str) -> None:
    fakes = forged(name, voices)
    targets = np.repeat([0, 1], NUM)
    found = {}
    for cue, of in CUES.items():
        steps = codes(pd.Series([of(sound) for sound in [*voices, *fakes]]))
        told = separation(targets, cross_validated_rates(steps, targets))
        found[cue] = told.auc if told else 0.5
    assert max(found.values()) <= CUE_AUC, found


@pytest.mark.parametrize("name", NAMES)
def test_a_forgery_is_as_long_differs_and_is_the_same_the_next_time(
    voices: list[Sound], name: str
) -> None:
    some = voices[:3]
    for sound, fake, again in zip(some, forged(name, some), forged(name, some), strict=True):
        assert fake.shape == sound.shape and fake.dtype == np.float32
        assert np.abs(fake).max() <= 1
        assert np.abs(fake - sound).max() > 0.1 * np.abs(sound).max()
        np.testing.assert_array_equal(fake, again)


def test_a_resynthesis_keeps_the_spectrum_and_loses_the_phase() -> None:
    tone = (0.3 * np.sin(2 * np.pi * 1000 * np.arange(RATE_HZ) / RATE_HZ)).astype(np.float32)
    fake = resynthesised(tone, np.random.default_rng(0))
    spectrum = np.abs(np.fft.rfft(fake))
    assert abs(int(spectrum.argmax()) - 1000) < 60  # within a band
    assert np.sqrt(np.mean(fake**2)) == pytest.approx(np.sqrt(np.mean(tone**2)), rel=1e-3)


def test_a_splice_has_one_stretch_of_the_other_sound_and_all_else_of_its_own() -> None:
    rng = np.random.default_rng(3)
    own, other = (rng.uniform(-0.5, 0.5, RATE_HZ).astype(np.float32) for _ in range(2))
    fake = spliced(own, other, rng)
    parts = [np.array_split(sound, 50) for sound in (own, fake)]
    alike = [float(np.corrcoef(*each)[0, 1]) for each in zip(*parts, strict=True)]
    is_own = np.array(alike) > 0.99  # but for the bend that brings the peak back
    inside = np.flatnonzero(~is_own)
    assert 0.15 < len(inside) / 50 < 0.75
    assert inside[-1] - inside[0] + 1 == len(inside)
    assert np.abs(np.array(alike)[inside[1:-1]]).max() < 0.3


def test_a_mismatch_is_the_other_sound_again_and_again_or_its_own_moved() -> None:
    own, other = np.linspace(0.1, 0.9, 20_000, dtype=np.float32), np.full(6000, -0.5, np.float32)
    kinds = set()
    for seed in range(8):
        fake = mismatched(own, other, np.random.default_rng(seed))
        assert len(fake) == len(own)
        if (fake == -0.5).all():
            kinds.add("other")
        else:
            kinds.add("moved")
            cut = int(fake.argmin())  # it fades out and in where its end meets its beginning
            assert 0.24 < cut / len(own) < 0.76
            assert fake[0] == pytest.approx(own[len(own) - cut], abs=1e-3)
    assert kinds == {"other", "moved"}


@pytest.mark.parametrize("name", NAMES)
def test_what_cannot_be_forged_is_refused_and_never_handed_on_as_a_fake(name: str) -> None:
    short, other = np.full(100, 0.5, np.float32), np.zeros(300, np.float32)
    with pytest.raises(MediaError):
        FORGERIES[name].heard(short, other)
