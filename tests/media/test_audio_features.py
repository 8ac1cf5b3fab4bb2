"""The features against plain calls of librosa, and by hand."""

import os
import subprocess
import sys
import warnings
from pathlib import Path

import librosa
import numpy as np
import numpy.typing as npt
import pytest

from workbench.errors import MediaError
from workbench.media import audio_features
from workbench.media.audio import RATE_HZ
from workbench.media.audio_features import Features, measures
from workbench.media.view import Sound

TIME_S = np.arange(2 * RATE_HZ) / RATE_HZ


def noise(samples: int) -> Sound:
    return np.random.default_rng(0).normal(0, 0.1, samples).astype(np.float32)


def music() -> Sound:
    """Return a gliding tone with an overtone, 30 cents above a tuned piano at first, and noise."""
    phase = 2 * np.pi * (440 * 2 ** (0.3 / 12) + 40 * TIME_S) * TIME_S
    voice = 0.3 * np.sin(phase) + 0.1 * np.sin(3 * phase)
    return (voice * (TIME_S % 0.5 < 0.4) + 0.01 * noise(len(TIME_S))).astype(np.float32)


def tone(frequency_hz: float) -> Sound:
    return (0.5 * np.sin(2 * np.pi * frequency_hz * TIME_S)).astype(np.float32)


def plain(sound: Sound) -> npt.NDArray[np.float64]:
    """Return (37, windows) as librosa's own functions make it of the sound."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of sound shorter than a window
        return np.concatenate(
            [
                librosa.feature.chroma_stft(y=sound, sr=RATE_HZ),
                librosa.feature.rms(y=sound),
                librosa.feature.spectral_centroid(y=sound, sr=RATE_HZ),
                librosa.feature.spectral_bandwidth(y=sound, sr=RATE_HZ),
                librosa.feature.spectral_rolloff(y=sound, sr=RATE_HZ),
                librosa.feature.zero_crossing_rate(sound),
                librosa.feature.mfcc(y=sound, sr=RATE_HZ, n_mfcc=20),
            ]
        ).astype(np.float64)


@pytest.mark.parametrize(
    "sound",
    [music(), noise(30_000), tone(700), noise(1), noise(2), noise(511), noise(2_047), noise(2_048)],
    ids=["music", "noise", "tone", "1", "2", "511", "2047", "2048"],
)
def test_measures_are_those_of_plain_calls(sound: Sound) -> None:
    np.testing.assert_allclose(measures(sound), plain(sound), rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("block", [1, 7, 86, 87])
def test_so_are_those_of_a_long_sound(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # 87 windows, in several blocks.
    monkeypatch.setattr(audio_features, "_BLOCK", block)
    np.testing.assert_allclose(measures(music()), plain(music()), rtol=2e-4, atol=2e-5)


def test_the_vector_holds_means_and_then_standard_deviations() -> None:
    view, expected = Features(), plain(music())
    made = view.of_sound(music())
    assert made.array.shape == view.stored_shape == (1, 74)
    assert made.array.dtype == view.dtype == np.float32
    vector = np.concatenate([expected.mean(axis=1), expected.std(axis=1)])
    np.testing.assert_allclose(made.array[0], vector, rtol=2e-4, atol=2e-5)


def test_every_value_has_a_name_of_its_own() -> None:
    names = Features().names
    assert len(set(names)) == len(names) == 74
    assert names[:2] == ("chroma_0_mean", "chroma_1_mean")
    assert names[12] == "rms_mean"
    assert names[16] == "zero_crossing_rate_mean"
    assert names[20] == "mfcc_3_mean"
    assert names[37 + 20] == "mfcc_3_std"
    assert names[-1] == "mfcc_19_std"


def named(sound: Sound) -> dict[str, float]:
    values = Features().of_sound(sound).array[0]
    return dict(zip(Features().names, values.tolist(), strict=True))


def test_a_tones_features_are_its_frequency_and_strength() -> None:
    found = named(tone(1_000))
    # The windows at both ends, half empty, count too: 2 of 87.
    assert found["spectral_centroid_mean"] == pytest.approx(1_000, rel=0.02)
    assert found["rms_mean"] == pytest.approx(0.5 / np.sqrt(2), rel=0.02)
    assert found["zero_crossing_rate_mean"] == pytest.approx(2 * 1_000 / RATE_HZ, rel=0.03)
    assert found["zero_crossing_rate_std"] < 0.01


def test_the_loudest_chroma_of_a_tone_is_its_note() -> None:
    # C is number 0, so A, which 880 Hz is, is number 9.
    found = named(tone(880))
    assert max(range(12), key=lambda number: found[f"chroma_{number}_mean"]) == 9


def test_the_same_sound_makes_the_same_vector() -> None:
    first = Features().of_sound(music()).array
    Features().of_sound(noise(5_000))
    assert np.array_equal(Features().of_sound(music().copy()).array, first)


@pytest.mark.parametrize("samples", [2, 3, 100, 2_047])
@pytest.mark.parametrize("loudest", [1, 1 / 32_768, 1e-7])
def test_values_are_finite_however_short_or_faint_the_sound(samples: int, loudest: float) -> None:
    sound = np.zeros(samples, np.float32)
    sound[samples // 2] = loudest
    assert np.isfinite(Features().of_sound(sound).array).all()


@pytest.mark.parametrize("level", [0, 0.25])
def test_a_sound_that_never_changes_is_silent(level: float) -> None:
    with pytest.raises(MediaError, match="never changes") as caught:
        Features().of_sound(np.full(RATE_HZ, level, np.float32))
    assert caught.value.status == "silent"


@pytest.mark.slow  # each of the three compiles, one after the other
def test_processes_that_compile_at_the_same_time_leave_what_later_ones_can_read(
    tmp_path: Path,
) -> None:
    """Without a lock every third of such caches kills whoever reads it (numba issue 10128)."""
    code = (
        "import numpy as np\n"
        "from workbench.media.audio_features import measures\n"
        "measures(np.ones(9999, 'f4'))"
    )
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-c", code]
    together = [subprocess.Popen(command, env=environment) for _ in range(3)]
    assert [process.wait() for process in together] == [0, 0, 0]
    assert subprocess.run(command, env=environment, check=False).returncode == 0
    assert list(tmp_path.rglob("guf-*.nbc"))
