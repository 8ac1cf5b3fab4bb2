import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from workbench.errors import MediaError
from workbench.media.image import read_picture
from workbench.media.square import square


def saved(path: Path, picture: Image.Image, **options: Any) -> Path:
    picture.save(path, **options)
    return path


def halves(left: int | tuple[int, ...], right: int | tuple[int, ...], mode: str) -> Image.Image:
    """Return an image of 4 x 2 pixels with a colour in each half."""
    image = Image.new(mode, (4, 2), left)
    image.paste(right, (2, 0, 4, 2))
    return image


def colours(path: Path) -> list[list[int]]:
    """Return the RGB of the top left and of the top right pixel."""
    picture = read_picture(path).picture
    assert picture.dtype == np.uint8
    assert picture.shape == (2, 4, 3)
    return [picture[0, 0].tolist(), picture[0, -1].tolist()]


def test_rgb_stays_as_it_is(tmp_path: Path) -> None:
    path = saved(tmp_path / "x.png", halves((1, 2, 3), (250, 128, 0), "RGB"))
    assert colours(path) == [[1, 2, 3], [250, 128, 0]]


def test_grey_becomes_equal_channels(tmp_path: Path) -> None:
    path = saved(tmp_path / "x.png", halves(7, 200, "L"))
    assert colours(path) == [[7] * 3, [200] * 3]


def test_one_bit_becomes_black_and_white(tmp_path: Path) -> None:
    assert colours(saved(tmp_path / "x.png", halves(0, 1, "1"))) == [[0] * 3, [255] * 3]


def test_palette_colours_are_looked_up(tmp_path: Path) -> None:
    image = halves(0, 1, "P")
    image.putpalette([10, 20, 30, 200, 100, 50])
    path = saved(tmp_path / "x.png", image)
    assert colours(path) == [[10, 20, 30], [200, 100, 50]]


def test_a_transparent_palette_colour_is_white(tmp_path: Path) -> None:
    image = halves(0, 1, "P")
    image.putpalette([10, 20, 30, 200, 100, 50])
    path = saved(tmp_path / "x.png", image, transparency=0)
    assert colours(path) == [[255, 255, 255], [200, 100, 50]]


def test_alpha_lies_over_white(tmp_path: Path) -> None:
    # 51 / 255 is a fifth: 100 / 5 + 255 * 4 / 5 = 224; 0 / 5 + 204 = 204.
    path = saved(tmp_path / "x.png", halves((100, 0, 255, 51), (9, 9, 9, 0), "RGBA"))
    assert colours(path) == [[224, 204, 255], [255, 255, 255]]


def test_grey_with_alpha_lies_over_white(tmp_path: Path) -> None:
    path = saved(tmp_path / "x.png", halves((100, 51), (30, 255), "LA"))
    assert colours(path) == [[224] * 3, [30] * 3]


def test_16_bit_grey_keeps_its_high_byte(tmp_path: Path) -> None:
    values = np.tile(np.array([0x1234, 0x1234, 0xFFFF, 0xFF00], np.uint16), (2, 1))
    path = tmp_path / "x.png"
    cv2.imwrite(str(path), values)
    assert colours(path) == [[0x12] * 3, [0xFF] * 3]


def test_16_bit_colour_keeps_its_high_bytes(tmp_path: Path) -> None:
    values = np.full((2, 4, 3), (0x10FF, 0x2080, 0x3000), np.uint16)  # blue, green, red
    path = tmp_path / "x.png"
    cv2.imwrite(str(path), values)
    assert colours(path) == [[0x30, 0x20, 0x10]] * 2


def test_floating_point_runs_from_0_to_1(tmp_path: Path) -> None:
    values = np.tile(np.array([0.2, 0.2, 1.0, 1.0], np.float32), (2, 1))
    path = saved(tmp_path / "x.tif", Image.fromarray(values))
    assert colours(path) == [[51] * 3, [255] * 3]


@pytest.mark.parametrize("suffix", ["tif", "jpg"])
def test_cmyk_is_ink_on_white(suffix: str, tmp_path: Path) -> None:
    # No ink is white; full yellow ink takes the blue away.
    path = saved(tmp_path / f"x.{suffix}", Image.new("CMYK", (4, 2), (0, 0, 255, 0)))
    (red, green, blue), _ = colours(path)
    assert red > 250
    assert green > 250
    assert blue < 5


def test_lab_is_turned_into_srgb(tmp_path: Path) -> None:
    # L = 255 of 255 with neutral a and b (128) is white; a = 128 + 60 is reddish.
    path = saved(tmp_path / "x.tif", halves((255, 128, 128), (128, 188, 128), "LAB"))
    white, red = colours(path)
    assert min(white) >= 250
    assert red[0] > red[1] + 80


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_honoured(orientation: int, tmp_path: Path) -> None:
    # The corner pixels of the upright picture are worked out by hand from the EXIF standard: what
    # the stored row 0 and column 0 are in the upright picture.
    stored = np.zeros((8, 16, 3), np.uint8)
    stored[:4, :8] = 255  # the stored top left corner is white
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = read_picture(saved(tmp_path / "x.png", Image.fromarray(stored), exif=exif)).picture
    corner = {
        1: ("top", "left"),
        2: ("top", "right"),
        3: ("bottom", "right"),
        4: ("bottom", "left"),
        5: ("top", "left"),
        6: ("top", "right"),
        7: ("bottom", "right"),
        8: ("bottom", "left"),
    }[orientation]
    assert picture.shape[:2] == ((8, 16) if orientation <= 4 else (16, 8))
    row = 0 if corner[0] == "top" else -1
    column = 0 if corner[1] == "left" else -1
    assert picture[row, column].tolist() == [255, 255, 255]
    assert picture[-1 - row, -1 - column].tolist() == [0, 0, 0]


def test_the_first_picture_of_an_animation_is_read(tmp_path: Path) -> None:
    first, second = (Image.new("L", (4, 2), level) for level in (10, 200))
    path = saved(tmp_path / "x.gif", first, save_all=True, append_images=[second])
    assert colours(path) == [[10] * 3] * 2


def grey_tiff(path: Path, pixels: bytes, *, bits: int, meaning: int) -> Path:
    """Write a grey TIFF of 4 x 2 pixels, not compressed; 0 is white by the meaning 0."""
    long, short = 4, 3
    tags = [(256, long, 4), (257, long, 2), (258, short, bits), (259, short, 1)]
    tags += [(262, short, meaning), (273, long, 8), (277, short, 1), (278, long, 2)]
    tags += [(279, long, len(pixels))]
    fields = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    head = b"II*\0" + struct.pack("<I", 8 + len(pixels))
    path.write_bytes(head + pixels + struct.pack("<H", len(tags)) + fields + bytes(4))
    return path


@pytest.mark.parametrize(("meaning", "level"), [(1, 0x40), (0, 0xBF)])
def test_a_tiff_of_16_bits_may_count_from_white(tmp_path: Path, meaning: int, level: int) -> None:
    path = grey_tiff(tmp_path / "x.tif", b"\x12\x40" * 8, bits=16, meaning=meaning)
    assert colours(path) == [[level] * 3] * 2


def test_the_upper_8_of_12_bits_are_kept(tmp_path: Path) -> None:
    # Two pixels in three bytes, 0x401 and 0xF02.
    path = grey_tiff(tmp_path / "x.tif", b"\x40\x1f\x02" * 4, bits=12, meaning=1)
    assert colours(path) == [[0x40] * 3, [0xF0] * 3]


@pytest.mark.parametrize(
    ("bits", "kind", "code", "value"),
    [(32, 3, "f", 0.25), (16, 2, "h", 0x4000), (32, 2, "i", 0x4000)],
)
def test_a_compressed_tiff_may_have_the_highest_byte_first(
    tmp_path: Path, bits: int, kind: int, code: str, value: float
) -> None:
    pixels = struct.pack(f">8{code}", *[value] * 8)
    packed = zlib.compress(pixels)
    packed += bytes(len(packed) % 2)
    tags = [(256, 4), (257, 2), (258, bits), (259, 8), (262, 1), (273, 8), (277, 1), (278, 2)]
    tags += [(279, len(packed)), (339, kind)]
    fields = b"".join(struct.pack(">HHII", tag, 4, 1, value) for tag, value in tags)
    head = b"MM\0*" + struct.pack(">I", 8 + len(packed))
    path = tmp_path / "x.tif"
    path.write_bytes(head + packed + struct.pack(">H", len(tags)) + fields + bytes(4))
    assert colours(path) == [[0x40] * 3] * 2


def planar_tiff(path: Path, planes: bytes, tags: Mapping[int, tuple[int, ...]]) -> Path:
    """Write a TIFF of 4 x 2 pixels whose planes of equal size lie one after the other."""
    num = len(tags[258])
    size = len(planes) // num
    every = {256: (4,), 257: (2,), 277: (num,), 278: (2,), 284: (2,), **tags}
    every |= {273: tuple(8 + size * plane for plane in range(num)), 279: (size,) * num}
    lists, fields = b"", b""
    for tag, values in sorted(every.items()):
        at = values[0]
        if len(values) > 1:
            at = 8 + len(planes) + len(lists)
            lists += struct.pack(f"<{len(values)}I", *values)
        fields += struct.pack("<HHII", tag, 4, len(values), at)
    head = b"II*\0" + struct.pack("<I", 8 + len(planes) + len(lists))
    path.write_bytes(head + planes + lists + struct.pack("<H", len(every)) + fields + bytes(4))
    return path


def test_planes_of_16_bits_are_not_taken_for_planes_of_8(tmp_path: Path) -> None:
    planes = b"".join(struct.pack("<8H", *[level << 8] * 8) for level in (10, 20, 30))
    path = planar_tiff(tmp_path / "x.tif", planes, {258: (16, 16, 16), 259: (1,), 262: (2,)})
    with pytest.raises(MediaError, match="its planes are stored apart"):
        read_picture(path)


def test_planes_of_8_bits_are_read_and_those_of_grey_and_alpha_are_not(tmp_path: Path) -> None:
    planes = b"".join(bytes([level] * 8) for level in (10, 20, 30))
    path = planar_tiff(tmp_path / "x.tif", planes, {258: (8, 8, 8), 259: (1,), 262: (2,)})
    assert colours(path) == [[10, 20, 30]] * 2
    packed = b"".join(b"\xf9" + bytes([level]) for level in (10, 255))  # a run of 8, PackBits
    tags = {258: (8, 8), 259: (32773,), 262: (1,), 338: (2,)}
    with pytest.raises(MediaError, match="its planes are stored apart"):
        read_picture(planar_tiff(tmp_path / "x.tif", packed, tags))


@pytest.mark.parametrize("planes", [1, 2])
def test_one_plane_of_floats_is_no_plane_apart(tmp_path: Path, planes: int) -> None:
    tags = {258: (32,), 259: (1,), 262: (1,), 339: (3,), 284: (planes,)}
    path = planar_tiff(tmp_path / "x.tif", struct.pack("<8f", *[0.25] * 8), tags)
    assert colours(path) == [[0x40] * 3] * 2


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("mode", ["L", "P", "RGB", "RGBA", "CMYK", "I;16"])
def test_a_tiff_that_is_not_compressed_is_turned_like_others(
    mode: str, orientation: int, tmp_path: Path
) -> None:
    levels = np.arange(8 * 16, dtype=np.uint8).reshape(8, 16)
    stored = Image.fromarray(levels.astype(np.uint16) << 8 if mode == "I;16" else levels)
    kept = stored if mode == "I;16" else stored.convert(mode)
    tags = {0x0112: orientation}
    plain = saved(tmp_path / "plain.tif", kept, tiffinfo=tags)
    packed = saved(tmp_path / "packed.tif", kept, tiffinfo=tags, compression="tiff_lzw")
    picture = read_picture(plain).picture
    assert picture.shape[:2] == ((8, 16) if orientation <= 4 else (16, 8))
    assert np.array_equal(picture, read_picture(packed).picture)
    assert np.array_equal(np.sort(picture[..., 0], axis=None), levels.ravel())


@pytest.mark.parametrize("suffix", ["jpg", "webp", "bmp", "tif", "ppm", "jp2", "gif"])
def test_formats_that_people_send_are_read(suffix: str, tmp_path: Path) -> None:
    path = saved(tmp_path / f"x.{suffix}", Image.new("RGB", (4, 2), (90, 90, 90)))
    assert np.abs(read_picture(path).picture.astype(int) - 90).max() <= 3


def test_shrinking_averages_and_growing_is_bilinear() -> None:
    picture = np.zeros((2, 4, 3), np.uint8)
    picture[0, 0] = picture[1, 3] = 200
    # To 2 x 2, only the width shrinks: pairs of columns are averaged.
    assert square(picture, 2)[..., 0].tolist() == [[100, 0], [0, 100]]
    # One column of 0 and 100, grown to 4: at 1/4 and 3/4 between pixel centres.
    grown = square(np.array([[[0] * 3, [100] * 3]] * 2, np.uint8), 4)
    assert grown[0, :, 0].tolist() == [0, 25, 75, 100]


def test_a_bomb_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    for side in (8_193, 12_000, 30_000):  # beyond this package's limit and both of Pillow's
        path.write_bytes(_png_header(side))
        with pytest.raises(MediaError, match="pixels") as caught:
            read_picture(path)
        assert caught.value.status == "too_large"


def test_an_image_of_the_largest_size_is_not_refused_for_its_size(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(_png_header(8_192))
    with pytest.raises(MediaError) as caught:  # there are no pixels behind the header
        read_picture(path)
    assert caught.value.status == "broken"


def test_a_truncated_image_is_broken(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    path = saved(tmp_path / "x.jpg", Image.fromarray(noise))
    path.write_bytes(path.read_bytes()[:2_000])
    with pytest.raises(MediaError, match="truncated") as caught:
        read_picture(path)
    assert caught.value.status == "broken"


def test_postscript_is_not_run(tmp_path: Path) -> None:
    path = saved(tmp_path / "x.eps", Image.new("RGB", (4, 2)))
    with pytest.raises(MediaError, match="not an image of an accepted format"):
        read_picture(path)


def _png_header(side: int) -> bytes:
    """Return a PNG that announces `side` x `side` pixels and holds none."""
    body = b"IHDR" + struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    header = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + body
    return header + struct.pack(">I", zlib.crc32(body)) + b"\0\0\0\0IDAT" + b"\x35\xaf\x06\x1e"


def test_whole_numbers_that_16_bits_do_not_hold_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.tif"
    for values in ([[0, 2**30]], [[-1, 5]]):
        Image.fromarray(np.array(values, np.int32)).save(path)
        with pytest.raises(MediaError, match="not within 0 and 65535"):
            read_picture(path)
    Image.fromarray(np.array([[0, 0xFFFF]], np.int32)).save(path)
    assert read_picture(path).picture[..., 0].tolist() == [[0, 255]]


def png_of_a_row(row: bytes, *, width: int, bits: int, kind: int, key: bytes) -> bytes:
    """Return a PNG of one row of pixels and one transparent colour."""
    parts = [
        (b"IHDR", struct.pack(">IIBBBBB", width, 1, bits, kind, 0, 0, 0)),
        (b"tRNS", key),
        (b"IDAT", zlib.compress(b"\0" + row)),
        (b"IEND", b""),
    ]
    chunks = (
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def test_the_transparent_colour_of_16_bits_is_white(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    grey = np.array([[0x1234, 0x5678]], np.uint16)
    Image.fromarray(grey).save(path, transparency=0x1234)
    assert read_picture(path).picture[..., 0].tolist() == [[255, 0x56]]
    # Pillow writes no RGB of 16 bits: two pixels by hand, the first transparent.
    row = struct.pack(">6H", 0x1111, 0x2222, 0x3333, 0x4444, 0x5555, 0x6666)
    key = struct.pack(">3H", 0x1111, 0x2222, 0x3333)
    path.write_bytes(png_of_a_row(row, width=2, bits=16, kind=2, key=key))
    assert read_picture(path).picture.tolist() == [[[255] * 3, [0x44, 0x55, 0x66]]]


@pytest.mark.parametrize(("bits", "row"), [(1, 0b01000000), (2, 0b00011011), (4, 0x25)])
def test_the_transparent_grey_of_few_bits_is_white(tmp_path: Path, bits: int, row: int) -> None:
    levels = [(row >> (8 - bits - at)) & (2**bits - 1) for at in range(0, 8, bits)][:4]
    for key in levels:
        path, width = tmp_path / "x.png", len(levels)
        transparent = struct.pack(">H", key)
        path.write_bytes(
            png_of_a_row(bytes([row]), width=width, bits=bits, kind=0, key=transparent)
        )
        shown = [255 if level == key else level * 255 // (2**bits - 1) for level in levels]
        assert read_picture(path).picture[0, :, 0].tolist() == shown
