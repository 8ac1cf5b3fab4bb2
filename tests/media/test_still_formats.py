"""Still pictures in the boxes of an MP4 or of JPEG XL: read where a package is there that can."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow
from PIL import ImageFile

from tests.media.malformed_makers import box, mp4, u32
from workbench.errors import MediaError
from workbench.media import image as image_module
from workbench.media.frames import Frames
from workbench.media.image import Image, read_picture
from workbench.media.mel import Mel
from workbench.media.reading import read_media
from workbench.media.still import image_formats, still_format
from workbench.media.view import Made, View

VIEWS: dict[str, View] = {
    "image": Image(image_px=32),
    "frames": Frames(num_frames=2, image_px=32),
    "mel": Mel(num_mels=32, image_px=32),
}


def boxes(brand: bytes) -> bytes:
    """Return the head of a file of this major brand, and nothing that can be decoded."""
    return box(b"ftyp", brand + u32(0) + b"mif1heic") + box(b"mdat", bytes(64))


JXL_BOX = b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(64)
JXL_BARE = b"\xff\x0a" + bytes(64)


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Neither package is there."""
    image_formats()  # what Pillow has of itself is there before it is copied
    for module in ("pillow_heif", "pillow_jxl"):
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setattr(
        Pillow, "OPEN", {k: v for k, v in Pillow.OPEN.items() if k not in ("HEIF", "JXL")}
    )
    image_formats.cache_clear()
    yield
    image_formats.cache_clear()


@pytest.mark.usefixtures("without")
@pytest.mark.parametrize(
    ("data", "said"),
    [
        (boxes(b"heic"), "format HEIF, which pillow-heif reads"),
        (boxes(b"heix"), "format HEIF, which pillow-heif reads"),
        (boxes(b"mif1"), "format HEIF, which pillow-heif reads"),
        (JXL_BOX, "format JXL, which pillow-jxl-plugin reads"),
        (JXL_BARE, "format JXL, which pillow-jxl-plugin reads"),
    ],
)
@pytest.mark.parametrize("name", ["x.heic", "x.jpg", "x.mp4"])  # the content says what it is
def test_what_cannot_be_read_here_names_the_package_that_reads_it(
    name: str, data: bytes, said: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    made = read_media(path, VIEWS, loudness=True).made
    for view in ("image", "frames"):
        error = made[view]
        assert isinstance(error, MediaError)
        assert error.status == "unreadable"  # not stored: the package may be installed later
        assert said in str(error)
    assert isinstance(made["mel"], MediaError)
    assert (made["mel"].status, str(made["mel"])) == ("no_audio", "it is a still image")


def test_avif_that_this_pillow_does_not_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(boxes(b"avif"))
    without = tuple(form for form in image_formats() if form != "AVIF")
    monkeypatch.setattr(image_module, "image_formats", lambda: without)
    with pytest.raises(MediaError, match=r"format AVIF, which pillow 11\.3 or later reads"):
        read_picture(path)


def test_a_video_is_no_still_picture(tmp_path: Path) -> None:
    path = tmp_path / "x.heic"
    path.write_bytes(mp4())
    assert still_format(path) == ""
    assert [getattr(one, "status", "") for one in read_media(path, VIEWS).made.values()] == [
        "broken",
        "ok",
        "ok",
    ]
    path.unlink()
    assert still_format(path) == ""


class Stand(ImageFile.ImageFile):
    """What a package for HEIF adds to Pillow: here 4 x 2 pixels, the left half white."""

    format = "HEIF"

    def _open(self) -> None:
        self._size, self._mode = (4, 2), "RGB"
        self.tile = []

    def load(self) -> Any:
        picture = np.zeros((2, 4, 3), np.uint8)
        picture[:, :2] = 255
        self.im = Pillow.fromarray(picture).im
        return Pillow.Image.load(self)


@pytest.mark.usefixtures("without")
def test_an_installed_package_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = ModuleType("pillow_heif")

    def register_heif_opener() -> None:
        Pillow.register_open("HEIF", Stand, lambda head: head[4:8] == b"ftyp")

    monkeypatch.setattr(package, "register_heif_opener", register_heif_opener, raising=False)
    monkeypatch.setitem(sys.modules, "pillow_heif", package)
    path = tmp_path / "x.jpg"
    path.write_bytes(boxes(b"heic"))
    assert read_picture(path).picture[0, :, 0].tolist() == [255, 255, 0, 0]
    made = read_media(path, VIEWS).made
    assert isinstance(made["frames"], Made)
    assert made["frames"].array.shape == VIEWS["frames"].stored_shape
    assert made["frames"].array[0, 0, 0, 0].tolist() == [255] * 3


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    ("package", "suffix"), [("pillow_heif", "heic"), ("pillow_jxl", "jxl"), ("PIL", "avif")]
)
def test_such_pictures_are_upright(
    package: str, suffix: str, orientation: int, tmp_path: Path
) -> None:
    pytest.importorskip(package)
    image_formats()
    stored = np.zeros((48, 64, 3), np.uint8)
    stored[:24, :32] = 255  # the stored top left corner is white
    exif = Pillow.Exif()
    exif[0x0112] = orientation
    path, twin = tmp_path / "x.jpg", tmp_path / "x.png"
    with path.open("wb") as file:
        form = {"heic": "HEIF", "jxl": "JXL", "avif": "AVIF"}[suffix]
        Pillow.fromarray(stored).save(file, form, exif=exif.tobytes(), quality=95)
    Pillow.fromarray(stored).save(twin, exif=exif)
    upright = read_picture(path).picture.astype(int)
    expected = read_picture(twin).picture.astype(
        int
    )  # of which another test knows that it is upright
    assert upright.shape == expected.shape
    assert np.abs(upright - expected).mean() < 8
    made = read_media(path, VIEWS).made
    assert isinstance(made["frames"], Made)
    assert isinstance(made["image"], Made)
    assert np.array_equal(made["frames"].array[0, 0], made["image"].array[0, 0])
