"""What happens to a sound on its way: each function takes a sound and returns one of its length.

Sounds are mono at `audio.RATE_HZ`, float32 in [-1, 1]; what would be louder is clipped.
"""

from contextlib import closing
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soxr

from workbench.media.audio import RATE_HZ, SoundReader
from workbench.media.ffmpeg import Encoder, load_moviepy
from workbench.media.streams import feed, opened
from workbench.media.temporary import temporary_folder
from workbench.media.view import Sound

TELEPHONE_HZ = (300, 3400)
"""The band that a telephone carries (ITU-T G.712)."""

_TELEPHONE_RATE_HZ = 8_000
_NOISE_DB = 20.0
"""Power of the sound over that of the noise."""

_DECAY_S = 0.5
"""In which the echo of a room falls by 60 dB: that of a living room."""

_ECHO_SHARE = 0.5
"""Power of a room's echo, as a share of what is heard directly."""

_QUIET_DB, _LOUD_DB = -30.0, 12.0
_MP3_BIT_RATE = "48k"
_OPUS_RATE_HZ = 24_000
_OPUS_KBIT = (12, 16, 24, 32, 48)
AMR = "libopencore_amrnb"
"""FFmpeg's encoder of AMR-NB."""

_AMR_MODES = (4.75, 5.15, 5.9, 6.7, 7.4, 7.95, 10.2, 12.2)
_AMR_LATE = RATE_HZ // 200
"""Samples by which the 5 ms that its encoder looks ahead move a sound."""

_SILENCE_DB, _BLOCK = 40, RATE_HZ // 50


def as_mp3(sound: Sound) -> Sound:
    """Return a sound as an MP3 of 48 kbit/s has it.

    Raises:
        MediaError: silent: it is so faint that nothing of it is kept; crashed: FFmpeg did not
            write it to its end.
        OSError: the disk is full.
    """
    return _coded(sound, "sound.mp3", "libmp3lame", _MP3_BIT_RATE)


def as_opus(sound: Sound, rng: np.random.Generator) -> Sound:
    """Return a sound as an Opus file of 12, 16, 24, 32 or 48 kbit/s has it.

    Raises:
        MediaError: silent: it is so faint that nothing of it is kept; crashed: FFmpeg did not
            write it to its end.
        OSError: the disk is full.
    """
    bit_rate = f"{rng.choice(_OPUS_KBIT)}k"
    return _coded(sound, "sound.opus", "libopus", bit_rate, rate_hz=_OPUS_RATE_HZ)


def as_g711(sound: Sound, rng: np.random.Generator) -> Sound:
    """Return a sound as a telephone line has it: its band in 8 bits of A-law or mu-law (G.711)."""
    return _called(sound, "sound.wav", f"pcm_{rng.choice(['alaw', 'mulaw'])}", "64k")


def as_g726(sound: Sound, rng: np.random.Generator) -> Sound:
    """Return a sound as a cordless telephone has it: ADPCM of 16 to 40 kbit/s (G.726)."""
    return _called(sound, "sound.wav", "g726", f"{rng.choice((16, 24, 32, 40))}k")


def as_amr(sound: Sound, rng: np.random.Generator) -> Sound:
    """Return a sound as a mobile telephone has it: AMR-NB of 4.75 to 12.2 kbit/s (3GPP 26.071)."""
    return _called(sound, "sound.amr", AMR, f"{rng.choice(_AMR_MODES)}k", late=_AMR_LATE)


def _called(sound: Sound, name: str, codec: str, bit_rate: str, *, late: int = 0) -> Sound:
    passed = np.pad(through_telephone(sound), (0, late))
    coded = _coded(passed, name, codec, bit_rate, rate_hz=_TELEPHONE_RATE_HZ)
    # FFmpeg makes two channels of one at 3 dB less, and as such it is read.
    return _clipped(coded[late:] * np.sqrt(2))


def _coded(sound: Sound, name: str, codec: str, bit_rate: str, *, rate_hz: int = RATE_HZ) -> Sound:
    # Half a second to load: only where it is needed.
    load_moviepy()
    from moviepy.audio.io.ffmpeg_audiowriter import FFMPEG_AudioWriter

    wave = soxr.resample(sound, RATE_HZ, rate_hz, quality="HQ") if rate_hz != RATE_HZ else sound
    samples = np.rint(wave.clip(-1, 1) * 32_767).astype("<i2")
    with temporary_folder() as folder:
        file = folder / name
        writer = FFMPEG_AudioWriter(str(file), rate_hz, nchannels=1, codec=codec, bitrate=bit_rate)
        with closing(Encoder(writer, file)) as encoder:
            encoder.write(samples)
            encoder.finish()
        return _of_length(sound_of(file), len(sound))


def trimmed(sound: Sound) -> Sound:
    """Return a sound without the silence at its ends: it begins again where it ended.

    Silence is what lies 40 dB below the loudest fiftieth of a second.
    """
    blocks = np.array_split(sound, max(1, len(sound) // _BLOCK))
    powers = np.array([_power(block) for block in blocks])
    (heard,) = np.nonzero(powers > powers.max() * 10 ** (-_SILENCE_DB / 10))
    if not len(heard):
        return sound.copy()
    ends = np.cumsum([0, *map(len, blocks)])
    return np.resize(sound[ends[heard[0]] : ends[heard[-1] + 1]], len(sound))


def sound_of(path: Path) -> Sound:
    """Return the sound of a file.

    Raises:
        MediaError: it has none, or it cannot be decoded.
    """
    with opened(path, for_sound=True) as container:
        reader = SoundReader(container)
        feed(container, [reader])
        return reader.sound()


def through_telephone(sound: Sound) -> Sound:
    """Return what a telephone lets through of a sound: 300 to 3400 Hz, 8000 samples a second."""
    from scipy import signal  # a second to load: only where it is needed

    narrow = soxr.resample(sound, RATE_HZ, _TELEPHONE_RATE_HZ, quality="HQ")
    band = signal.butter(4, TELEPHONE_HZ, "bandpass", fs=_TELEPHONE_RATE_HZ, output="sos")
    passed = signal.sosfilt(band, narrow).astype(np.float32)
    wide = soxr.resample(passed, _TELEPHONE_RATE_HZ, RATE_HZ, quality="HQ")
    return _of_length(wide, len(sound))


def with_noise(sound: Sound, rng: np.random.Generator) -> Sound:
    """Return a sound with white noise 20 dB below its mean power."""
    level = np.sqrt(_power(sound) / 10 ** (_NOISE_DB / 10))
    return _clipped(sound + level * rng.standard_normal(len(sound), dtype=np.float32))


def in_room(sound: Sound, rng: np.random.Generator) -> Sound:
    """Return a sound as loud as before, heard in a room: with noise that decays as its echo.

    The response is 1 and then Gaussian noise under an exponential (Polack's model of late
    reverberation, 1988).
    """
    from scipy import signal  # a second to load: only where it is needed

    time_s = np.arange(round(_DECAY_S * RATE_HZ)) / RATE_HZ
    echo = rng.standard_normal(len(time_s)) * 10 ** (-3 * time_s / _DECAY_S)
    echo *= np.sqrt(_ECHO_SHARE / np.sum(echo**2))
    echo[0] = 1.0
    heard = signal.fftconvolve(sound, echo)[: len(sound)]
    return _clipped(heard * np.sqrt(_power(sound) / max(_power(heard), 1e-12)))


def quiet(sound: Sound) -> Sound:
    """Return a sound at 30 dB less, in steps of 16 bits."""
    steps = np.rint(sound * (32_767 * 10 ** (_QUIET_DB / 20)))
    return (steps / 32_767).astype(np.float32)


def clipped(sound: Sound) -> Sound:
    """Return a sound whose peaks would be 12 dB over full scale, cut off there."""
    peak = float(np.abs(sound).max(initial=0)) or 1.0
    return _clipped(sound * (10 ** (_LOUD_DB / 20) / peak))


def _power(sound: npt.NDArray[np.floating]) -> float:
    return float(np.mean(np.square(sound, dtype=np.float64)))


def _clipped(sound: npt.NDArray[np.floating]) -> Sound:
    return sound.clip(-1, 1).astype(np.float32)


def _of_length(sound: Sound, length: int) -> Sound:
    return np.pad(sound[:length], (0, max(0, length - len(sound))))
