"""How players show a frame: turned and mirrored, over a background, in an ordinary range."""

import io
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.codec.codec import UnknownCodecError
from PIL import Image as Pillow
from PIL import ImageOps

from tests.media.clips import Pictures, decode, moving, write_media
from tests.media.malformed_makers import patched, u32
from workbench.media.frames import Frames
from workbench.media.image import read_picture

ONE = Frames(num_frames=1, image_px=48)

# From left and top: the pixel (x, y) is shown at (a x + c y, b x + d y), moved into view.
MATRICES = {
    1: (1, 0, 0, 1),
    2: (-1, 0, 0, 1),  # left and right are exchanged
    3: (-1, 0, 0, -1),
    4: (1, 0, 0, -1),  # top and bottom are exchanged
    5: (0, 1, 1, 0),  # mirrored at the diagonal
    6: (0, 1, -1, 0),  # a quarter clockwise
    7: (0, -1, -1, 0),
    8: (0, -1, 1, 0),
}
"""Of the display matrix a, b, c, d, by EXIF's number of the same orientation."""


def with_matrix(path: Path, a: float, b: float, c: float, d: float) -> Path:
    """Write a copy of an MP4 that is to be shown by this display matrix."""
    words = [round(65_536 * value) % 2**32 for value in (a, b, 0, c, d, 0, 0, 0)]
    copy = path.with_name("turned.mp4")
    copy.write_bytes(patched(path.read_bytes(), b"tkhd", 40, u32(*words, 1 << 30)))
    return copy


@pytest.fixture
def square_clip(tmp_path: Path) -> Path:
    """A clip of one frame of 48 x 48 whose eight orientations all differ."""
    return write_media(tmp_path / "x.mp4", pictures=moving(1, width=48, height=48))


@pytest.mark.parametrize("orientation", MATRICES)
def test_a_video_has_the_eight_orientations_of_a_still(orientation: int, square_clip: Path) -> None:
    still = Pillow.fromarray(decode(ONE, square_clip)[0, 0])
    still.getexif()[0x0112] = orientation
    expected = np.asarray(ImageOps.exif_transpose(still))
    path = with_matrix(square_clip, *MATRICES[orientation])
    assert np.array_equal(decode(ONE, path)[0, 0], expected)
    nearest = Frames(num_frames=1, image_px=48, sampling="nearest")
    assert np.array_equal(decode(nearest, path)[0, 0], expected)


def test_the_sides_of_a_turned_video_are_exchanged(tmp_path: Path) -> None:
    clip = write_media(tmp_path / "x.mp4", pictures=moving(2, width=64, height=32))
    assert Pillow.fromarray(whole_frame(with_matrix(clip, *MATRICES[5]))).size == (32, 64)
    assert Pillow.fromarray(whole_frame(with_matrix(clip, *MATRICES[4]))).size == (64, 32)


@pytest.mark.parametrize(
    ("matrix", "orientation"),
    [
        ((0, 0, 0, 0), 1),
        ((0.99, 0.1, -0.1, 0.99), 1),
        ((2, 0, 0, -2), 4),
        ((0.01, 1, -1, 0.01), 6),
    ],
    ids=["zeros", "a little turned", "scaled", "nearly a quarter"],
)
def test_any_other_matrix_is_the_nearest_of_the_eight(
    matrix: tuple[float, float, float, float], orientation: int, square_clip: Path
) -> None:
    shown = decode(ONE, with_matrix(square_clip, *matrix))
    expected = decode(ONE, with_matrix(square_clip, *MATRICES[orientation]))
    assert np.array_equal(shown, expected)


def test_the_first_version_of_a_view_still_sees_what_it_saw(square_clip: Path) -> None:
    first = Frames(num_frames=1, image_px=48, version=1)
    upright = decode(ONE, square_clip)[0, 0]
    assert np.array_equal(decode(first, square_clip)[0, 0], upright)
    quarter = decode(first, with_matrix(square_clip, *MATRICES[8]))[0, 0]
    assert np.array_equal(quarter, np.rot90(upright))
    mirrored = decode(first, with_matrix(square_clip, *MATRICES[2]))[0, 0]
    assert np.array_equal(mirrored, np.rot90(upright, 2))


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_film_of_jpegs_is_turned_as_their_exif_data_says(
    orientation: int, tmp_path: Path
) -> None:
    still, file = Pillow.fromarray(moving(1, width=48, height=48)[0]), io.BytesIO()
    exif = Pillow.Exif()
    exif[0x0112] = orientation
    still.save(file, "JPEG", quality=95, exif=exif)
    path = tmp_path / "x.avi"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = 48, 48, "yuvj420p"
        packet = av.Packet(file.getvalue())
        packet.stream, packet.pts, packet.dts, packet.time_base = stream, 0, 0, Fraction(1, 25)
        container.mux(packet)
    expected = np.asarray(ImageOps.exif_transpose(Pillow.open(file))).astype(int)
    # The two decoders of JPEG spread its colours a little otherwise.
    assert np.abs(decode(ONE, path)[0, 0] - expected).mean() < 4


def whole_frame(path: Path) -> Pictures:
    """Return the first frame of a video in its own size."""

    class Whole(Frames):
        def keep(self, frame: Any) -> Any:
            return frame.picture

        def of_frames(self, kept: Any) -> Any:
            pictures.append(kept[0])
            return super().of_frames(kept)

    pictures: list[Pictures] = []
    decode(Whole(num_frames=1), path)
    return pictures[0]


# Transparent pixels.


def see_through() -> Pictures:
    """Return (48, 48, 4): four stripes of one colour, clear, a third, two thirds and opaque."""
    picture = np.empty((48, 48, 4), np.uint8)
    picture[..., :3] = (200, 40, 90)
    for stripe, alpha in enumerate((0, 85, 170, 255)):
        picture[:, 12 * stripe : 12 * stripe + 12, 3] = alpha
    return picture


def write_clear(path: Path, codec: str, pix_fmt: str, **options: str) -> Path:
    """Write three frames of `see_through`."""
    with av.open(str(path), "w") as container:
        try:
            stream = container.add_stream(codec, rate=25, options=options)
        except UnknownCodecError:
            pytest.skip(f"FFmpeg here has no {codec}")
        stream.width = stream.height = 48
        stream.pix_fmt = pix_fmt
        for _ in range(3):
            frame = av.VideoFrame.from_ndarray(see_through(), "rgba")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt"),
    [
        ("x.mov", "png", "rgba"),
        ("x.mov", "qtrle", "argb"),
        ("x.mkv", "ffv1", "bgra"),
        ("x.avi", "png", "rgba"),
    ],
)
def test_a_transparent_video_lies_over_the_background_of_a_transparent_still(
    name: str, codec: str, pix_fmt: str, tmp_path: Path
) -> None:
    still = tmp_path / "x.png"
    Pillow.fromarray(see_through()).save(still)
    expected = read_picture(still).picture
    assert expected[0, 0].tolist() == [255, 255, 255]
    assert expected[0, 47].tolist() == [200, 40, 90]
    shown = decode(ONE, write_clear(tmp_path / name, codec, pix_fmt))[0, 0]
    assert np.array_equal(shown, expected)


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt", "options"),
    [
        ("x.webm", "libvpx-vp9", "yuva420p", {}),
        ("x.mkv", "libvpx", "yuva420p", {"auto-alt-ref": "0"}),
        ("x.mov", "prores_ks", "yuva444p10le", {}),
    ],
)
@pytest.mark.parametrize("sampling", ["exact", "nearest"])
def test_so_does_one_whose_alpha_channel_is_a_stream_beside_the_pictures(
    name: str, codec: str, pix_fmt: str, options: dict[str, str], sampling: Any, tmp_path: Path
) -> None:
    path = write_clear(tmp_path / name, codec, pix_fmt, **options)
    shown = decode(Frames(num_frames=2, image_px=48, sampling=sampling), path)[0]
    # Away from the stripes' edges, which these codecs blur.
    stripes = shown[:, :, 6::12].astype(int).mean(axis=(0, 1))
    # Of the colour a share of 0, 1/3, 2/3 and 1, the rest white.
    expected = [[255 + share * (c - 255) / 3 for c in (200, 40, 90)] for share in range(4)]
    assert np.abs(stripes - expected).max() < 12
    old = decode(Frames(num_frames=2, image_px=48, version=1), path)[0]
    assert np.abs(old.astype(int).mean(axis=(0, 1, 2)) - (200, 40, 90)).max() < 12


def test_the_fourth_byte_of_an_uncompressed_avi_is_no_alpha_channel(tmp_path: Path) -> None:
    path = write_clear(tmp_path / "x.avi", "rawvideo", "bgra")
    assert (decode(ONE, path)[0, 0] == (200, 40, 90)).all()


# High dynamic range.


@pytest.mark.parametrize(
    ("transfer", "signal", "expected"),
    [
        ("smpte2084", 0.5807, 231),  # see test_tonemap: reference white
        ("smpte2084", 0.3794, 108),  # a grey of 18%
        ("arib-std-b67", 0.75, 231),
        ("bt709", 0.75, 191),  # an ordinary range stays as it is
    ],
)
def test_a_video_of_high_dynamic_range_is_toned_down(
    transfer: str, signal: float, expected: int, tmp_path: Path
) -> None:
    path = tmp_path / "x.mp4"
    grey = np.full((48, 64, 3), round(65_535 * signal), np.uint16)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p10le"
        stream.options = {
            "x264-params": f"colorprim=bt2020:transfer={transfer}:colormatrix=bt2020nc"
        }
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(grey, "rgb48le")))
        container.mux(stream.encode(None))
    frame = decode(Frames(num_frames=1, image_px=16), path)[0, 0]
    assert np.abs(frame.astype(int) - expected).max() <= 3
    old = decode(Frames(num_frames=1, image_px=16, version=1), path)[0, 0]
    assert np.abs(old.astype(int) - round(255 * signal)).max() <= 3
