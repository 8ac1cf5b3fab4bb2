"""JPEG 2000 of more than 8 bits: its upper 8 bits are read, and white is white."""

import subprocess
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from workbench.errors import MediaError
from workbench.media.ffmpeg import load_moviepy
from workbench.media.image import read_picture
from workbench.opencv import cv2

LOSSLESS = [cv2.IMWRITE_JPEG2000_COMPRESSION_X1000, 1000]


def saved(path: Path, values: npt.NDArray[np.generic]) -> Path:
    assert cv2.imwrite(str(path), values, LOSSLESS)
    return path


def encoded(path: Path, form: str) -> Path:
    """Return a white picture that FFmpeg wrote, a file or a bare stream by its suffix."""
    command = [load_moviepy(), "-v", "error", "-f", "lavfi", "-i"]
    command += ["color=white:s=64x48", "-frames:v", "1", "-c:v", "libopenjpeg"]
    command += ["-pix_fmt", form, "-format", path.suffix[1:], str(path)]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("this FFmpeg has no libopenjpeg")
    return path


@pytest.mark.parametrize("channels", [(), (3,)])
def test_white_of_16_bits_is_white(tmp_path: Path, channels: tuple[int, ...]) -> None:
    white = saved(tmp_path / "x.jp2", np.full((40, 40, *channels), 65535, np.uint16))
    assert read_picture(white).picture.min() == 255


@pytest.mark.parametrize("bits", [8, 16])
def test_the_upper_8_bits_are_kept(tmp_path: Path, bits: int) -> None:
    stored = np.random.default_rng(0).integers(0, 1 << bits, (40, 50, 3)).astype(f"uint{bits}")
    file = saved(tmp_path / "x.jp2", stored)
    np.testing.assert_array_equal(read_picture(file).picture, (stored >> bits - 8)[..., ::-1])
    if bits == 8:  # as ever
        np.testing.assert_array_equal(read_picture(file).picture, Image.open(file))


def test_alpha_of_16_bits_lies_over_white(tmp_path: Path) -> None:
    # 51 / 255 is a fifth: 100 / 5 + 255 * 4 / 5 = 224; blue, green, red.
    stored = np.full((40, 40, 4), (255, 0, 100, 51), np.uint16) << 8 | 0xFF
    picture = read_picture(saved(tmp_path / "x.jp2", stored)).picture
    assert (picture == (224, 204, 255)).all()


@pytest.mark.parametrize("suffix", [".jp2", ".j2k"])
@pytest.mark.parametrize("form", ["gbrp9", "gbrp10", "gbrp12", "rgb48"])
def test_other_depths_are_white_too(tmp_path: Path, form: str, suffix: str) -> None:
    assert read_picture(encoded(tmp_path / f"x{suffix}", form)).picture.min() >= 253


def test_blue_of_12_bits_does_not_begin_again_at_0(tmp_path: Path) -> None:
    assert read_picture(encoded(tmp_path / "x.jp2", "xyz12")).picture[..., 2].min() >= 253


@pytest.mark.parametrize("form", ["ya16", "yuv444p12", "yuv420p10"])
def test_what_nothing_reads_rightly_is_refused(tmp_path: Path, form: str) -> None:
    with pytest.raises(MediaError, match="of more than 8 bits cannot be read") as caught:
        read_picture(encoded(tmp_path / "x.jp2", form))
    assert caught.value.status == "broken"


@pytest.mark.parametrize("answer", [None, np.zeros((40, 40, 3), np.uint8), cv2.error("no")])
def test_another_answer_of_opencv_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: object
) -> None:
    file = saved(tmp_path / "x.jp2", np.full((40, 40, 3), 65535, np.uint16))

    def imdecode(*_: object) -> object:
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr("workbench.media.jpeg2000.cv2.imdecode", imdecode)
    with pytest.raises(MediaError, match="store 8 bits"):
        read_picture(file)


def test_a_file_that_is_cut_off_is_broken(tmp_path: Path) -> None:
    stored = np.random.default_rng(0).integers(0, 1 << 16, (64, 64, 3)).astype(np.uint16)
    file = saved(tmp_path / "x.jp2", stored)
    whole = file.read_bytes()
    for kept in (20, 100, 130, len(whole) // 2):
        file.write_bytes(whole[:kept])
        with pytest.raises(MediaError) as caught:
            read_picture(file)
        assert caught.value.status == "broken"
