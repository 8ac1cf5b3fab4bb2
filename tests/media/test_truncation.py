"""Pictures whose file lacks its last bytes."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from workbench.errors import MediaError
from workbench.media.frames import Frames
from workbench.media.image import CUT_OFF, Image, read_picture
from workbench.media.mel import Mel
from workbench.media.reading import read_media
from workbench.media.view import Made

SIDE = 96


def photo() -> Pillow.Image:
    """Return a picture in which every block differs: soft noise, and a colour for each quarter."""
    random = np.random.default_rng(0)
    small = random.integers(0, 80, (SIDE // 8, SIDE // 8, 3))
    picture = np.kron(small, np.ones((8, 8, 1), np.int64))
    picture[: SIDE // 2, : SIDE // 2, 0] += 150
    picture[: SIDE // 2, SIDE // 2 :, 1] += 150
    picture[SIDE // 2 :, : SIDE // 2, 2] += 150
    picture[SIDE // 2 :, SIDE // 2 :] += 150
    picture += random.integers(0, 20, picture.shape)
    return Pillow.fromarray(picture.astype(np.uint8))


def flat() -> Pillow.Image:
    """Return a picture of one colour, whose missing rows look most like the rest."""
    return Pillow.new("RGB", (SIDE, SIDE), (9, 200, 50))


def encoded(form: str, picture: Pillow.Image, **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, form, **options)
    return file.getvalue()


KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "jpeg": ("JPEG", {}),
    "grey jpeg": ("JPEG", {}),
    "fine jpeg": ("JPEG", {"quality": 95, "subsampling": 0}),
    "own tables": ("JPEG", {"optimize": True}),
    "progressive": ("JPEG", {"progressive": True}),
    "restarts": ("JPEG", {"restart_marker_blocks": 3}),
    "restarts, grey": ("JPEG", {"restart_marker_blocks": 3}),
    "webp": ("WEBP", {}),
    "png": ("PNG", {}),
    "gif": ("GIF", {}),
}


def file_of(kind: str, picture: Pillow.Image) -> bytes:
    form, options = KINDS[kind]
    return encoded(form, picture.convert("L") if "grey" in kind else picture, **options)


@pytest.mark.parametrize("make", [photo, flat])
@pytest.mark.parametrize(
    "kind", ["jpeg", "grey jpeg", "fine jpeg", "own tables", "progressive", "restarts"]
)
@pytest.mark.parametrize("lost", [1, 2])
def test_a_jpeg_without_its_end_marker_is_the_picture(
    lost: int, kind: str, make: Any, tmp_path: Path
) -> None:
    path = tmp_path / "x.jpg"
    path.write_bytes(file_of(kind, make()))
    whole = read_picture(path)
    assert whole.note == ""
    path.write_bytes(path.read_bytes()[:-lost])
    still = read_picture(path)
    assert np.array_equal(still.picture, whole.picture)
    # Pillow itself may miss nothing: of one colour, its decoder ends in time.
    assert still.note in ({CUT_OFF} if make is photo else {CUT_OFF, ""})


# A PNG's end, its check sum; a GIF's trailer.
@pytest.mark.parametrize(("kind", "lost"), [("png", 4), ("png", 12), ("png", 16), ("gif", 1)])
def test_other_formats_without_their_end_are_the_picture(
    kind: str, lost: int, tmp_path: Path
) -> None:
    path = tmp_path / "x"
    path.write_bytes(file_of(kind, photo()))
    whole = read_picture(path).picture
    path.write_bytes(path.read_bytes()[:-lost])
    assert np.array_equal(read_picture(path).picture, whole)


@pytest.mark.parametrize("make", [photo, flat])
@pytest.mark.parametrize("kind", KINDS)
def test_wherever_a_file_is_cut_it_is_the_picture_or_broken(
    kind: str, make: Any, tmp_path: Path
) -> None:
    path = tmp_path / "x"
    data = file_of(kind, make())
    path.write_bytes(data)
    whole = read_picture(path).picture.astype(int)
    cuts = {*range(1, 40), *(len(data) * part // 23 for part in range(1, 23))}
    broken = 0
    for lost in sorted(cuts):
        path.write_bytes(data[:-lost])
        try:
            still = read_picture(path)
        except MediaError as error:
            assert error.status == "broken"
            broken += 1
            continue
        apart = (np.abs(still.picture - whole) > 0).any(axis=2)
        # No row is lost: at most what the last block fills, 16 x 16 and what smoothing adds.
        assert not apart[:-18].any(), lost
        assert not apart[:, :-18].any(), lost
    assert broken > 15


def test_a_progressive_jpeg_without_its_last_scans_is_broken(tmp_path: Path) -> None:
    # It shows every row, and blurs them.
    path = tmp_path / "x.jpg"
    data = file_of("progressive", photo())
    scans = [at for at in range(len(data)) if data[at : at + 2] == b"\xff\xda"]
    assert len(scans) > 4
    for at in scans[1:]:
        path.write_bytes(data[:at])
        with pytest.raises(MediaError):
            read_picture(path)


def test_a_narrow_jpeg_whose_last_block_is_a_row_is_broken(tmp_path: Path) -> None:
    path = tmp_path / "x.jpg"
    data = encoded("JPEG", photo().crop((0, 0, 16, SIDE)))
    path.write_bytes(data[:-2])
    assert read_picture(path).note == CUT_OFF
    path.write_bytes(data[:-20])
    with pytest.raises(MediaError, match="truncated"):
        read_picture(path)


@pytest.mark.parametrize("orientation", [1, 6, 3])
def test_such_a_picture_is_upright(orientation: int, tmp_path: Path) -> None:
    exif = Pillow.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "x.jpg"
    data = encoded("JPEG", photo().crop((0, 0, SIDE, 64)), exif=exif)
    path.write_bytes(data)
    whole = read_picture(path).picture
    assert whole.shape[:2] == ((96, 64) if orientation == 6 else (64, 96))
    path.write_bytes(data[:-2])
    assert np.array_equal(read_picture(path).picture, whole)


def test_the_views_of_such_a_picture_are_ok_with_the_note(tmp_path: Path) -> None:
    path = tmp_path / "x.jpg"
    path.write_bytes(file_of("jpeg", photo())[:-2])
    views = {"image": Image(image_px=32), "frames": Frames(num_frames=2, image_px=32), "mel": Mel()}
    made = read_media(path, views).made
    for name in ("image", "frames"):
        one = made[name]
        assert isinstance(one, Made)
        assert (one.status, one.reason) == ("ok", CUT_OFF)
    # The first version took none.
    before = read_media(
        path, {"image": Image(version=1), "frames": Frames(num_frames=2, version=1)}
    ).made
    for one in before.values():
        assert isinstance(one, MediaError)
        assert one.status == "broken"
    assert isinstance(made["mel"], MediaError)
    assert made["mel"].status == "no_audio"
