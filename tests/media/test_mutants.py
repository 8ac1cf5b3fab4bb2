"""A thousand sounds and a thousand pictures with scratches: each ends with a status, in time.

Here in one process and of many formats; `tests/data/test_malformed_media.py` sends 200 files of
fewer through the processes that decode.
"""

from functools import partial
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from tests.media.limited import limited
from tests.media.malformed_makers import image, noise, picture, sine, sound, wav
from workbench.errors import MediaError
from workbench.media.frames import Frames
from workbench.media.image import Image
from workbench.media.logspec import Logspec
from workbench.media.mel import Mel
from workbench.media.reading import read_media
from workbench.media.source import Status
from workbench.media.view import View

pytestmark = pytest.mark.slow

SOUND_VIEWS: dict[str, View] = {
    "mel": Mel(num_mels=32, image_px=32),
    "aligned": Logspec(image_px=32, align=True),
}
PICTURE_VIEWS: dict[str, View] = {
    "image": Image(image_px=32),
    "frames": Frames(num_frames=2, image_px=32),
}
SHORT = {"sound_s": 0.3, "rate_hz": 48_000}
SOUNDS = {
    "pcm.wav": partial(wav, sine(9_000)),
    "float.wav": partial(wav, sine(9_000).astype(np.float32) / 32_768, bits=32, form=3),
    "adpcm.wav": partial(sound, ".wav", "adpcm_ms", **SHORT),
    "wide.wav": partial(sound, ".wav", "pcm_s64le", **SHORT),
    "mp3": partial(sound, ".mp3", "libmp3lame", **SHORT),
    "m4a": partial(sound, ".m4a", "aac", **SHORT),
    "alac.mov": partial(sound, ".mov", "alac", **SHORT),
    "aac": partial(sound, ".aac", "aac", **SHORT),
    "flac": partial(sound, ".flac", "flac", **SHORT),
    "opus": partial(sound, ".opus", "libopus", **SHORT),
    "vorbis.ogg": partial(sound, ".ogg", "vorbis", **SHORT),
    "aiff": partial(sound, ".aiff", "pcm_s24be", **SHORT),
    "caf": partial(sound, ".caf", "pcm_s16be", **SHORT),
    "au": partial(sound, ".au", "pcm_f32be", **SHORT),
    "ac3": partial(sound, ".ac3", "ac3", **SHORT),
    "mka": partial(sound, ".mka", "libopus", **SHORT),
    "ts": partial(sound, ".ts", "mp2", **SHORT),
    "flv": partial(sound, ".flv", "libmp3lame", sound_s=0.3, rate_hz=44_100),
    "wma": partial(sound, ".wma", "mp2", **SHORT),
}
PICTURES = {
    "jpg": partial(image, "JPEG", of=noise()),
    "progressive.jpg": partial(image, "JPEG", of=noise(), progressive=True),
    "restarts.jpg": partial(image, "JPEG", of=picture(), restart_marker_blocks=2),
    "png": partial(image, "PNG", of=noise()),
    "palette.png": partial(image, "PNG", of=picture("P")),
    "webp": partial(image, "WEBP", of=noise()),
    "lossless.webp": partial(image, "WEBP", of=picture("RGBA"), lossless=True),
    "gif": partial(image, "GIF", of=picture()),
    "bmp": partial(image, "BMP", of=picture()),
    "tif": partial(image, "TIFF", of=picture()),
    "lzw.tif": partial(image, "TIFF", of=picture(), compression="tiff_lzw"),
    "float.tif": partial(image, "TIFF", of=picture("F")),
    "ppm": partial(image, "PPM", of=picture()),
    "jp2": partial(image, "JPEG2000", of=picture()),
    "avif": partial(image, "AVIF", of=picture()),
}


def mutant(data: bytes, random: np.random.Generator) -> bytes:
    """Return a file that is cut, has bits turned over, a stretch gone, doubled or blanked."""
    how, start = random.integers(6), int(random.integers(len(data)))
    end = min(len(data), start + int(random.integers(1, 400)))
    if how == 0:
        return data[:start]
    if how == 1:
        return data[:start] + data[end:]
    if how == 2:
        return data[:end] + data[start:]
    if how == 3:
        return data[:start] + random.bytes(1) * (end - start) + data[end:]
    if how == 4:  # its head, where the lengths stand
        start = int(random.integers(min(len(data), 120)))
        return data[:start] + random.bytes(int(random.integers(1, 5))) + data[start + 4 :]
    scratched = bytearray(data)
    for bit in random.integers(0, 8 * len(data), random.integers(1, 30)):
        scratched[bit // 8] ^= 1 << bit % 8
    return bytes(scratched)


def outcome(made: object, view: View) -> str:
    """Return a view's status; what there is of it has its form."""
    if isinstance(made, MediaError):
        assert made.status in get_args(Status)
        assert str(made) == " ".join(str(made).split())
        return str(made.status)
    array = getattr(made, "array", None)
    assert isinstance(array, np.ndarray)
    assert array.shape == view.stored_shape
    assert array.dtype == view.dtype
    return "ok"


@pytest.mark.parametrize(
    ("good", "views"),
    [(SOUNDS, SOUND_VIEWS), (PICTURES, PICTURE_VIEWS)],
    ids=["sounds", "pictures"],
)
def test_a_thousand_scratched_files_end_with_a_status_each(
    good: dict[str, "partial[bytes]"], views: dict[str, View], tmp_path: Path
) -> None:
    random = np.random.default_rng(11)
    files = {name: make() for name, make in good.items()}
    seen: list[str] = []
    for number in range(1_000):
        kind = list(files)[number % len(files)]
        # The ending misleads FFmpeg on some.
        path = tmp_path / f"x.{kind.rpartition('.')[2] if random.random() < 0.7 else 'mp4'}"
        path.write_bytes(mutant(files[kind], random) or b"\0")
        with limited(f"mutant {number} of {kind}"):
            made = read_media(path, views, loudness=True).made
        seen += [outcome(made[name], view) for name, view in views.items()]
        path.unlink()
    # Neither all whole nor all lost.
    assert 0.3 < seen.count("ok") / len(seen) < 0.95
    assert set(seen) <= {"ok", *get_args(Status)} - {"timed_out", "crashed", "missing"}
