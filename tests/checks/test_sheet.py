import base64
import re
import tracemalloc
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from PIL import Image as Pillow

from workbench.checks.sheet import (
    CLASS_COLOURS,
    for_people,
    left_out,
    save,
    spread_choice,
    write_sheets,
)
from workbench.checks.sheet_drawing import (
    MARGIN_PX,
    WIDTH_PX,
    as_image,
    drawable,
    fitted,
    font,
    grid_for,
)
from workbench.checks.sheet_values import draw_values, telling
from workbench.data.prepare import Prepared
from workbench.errors import DataError
from workbench.media.audio import RATE_HZ
from workbench.media.frames import Frames
from workbench.media.image import Image
from workbench.media.mel import Mel
from workbench.media.view import FileView, Made, View

Pixels = npt.NDArray[Any]

RED, GREEN, MAGENTA, YELLOW = (200, 0, 0), (0, 200, 0), (255, 0, 255), (250, 250, 0)
IMAGE = Image(image_px=64)


class Numbers(FileView):
    """A view of three values that some other program might bring."""

    kind: Literal["numbers"] = "numbers"
    modality = "vector"
    dtype = np.float32

    @property
    def shape(self) -> tuple[int, ...]:
        return (3,)

    @property
    def names(self) -> tuple[str, ...]:
        return ("one", "two", "three")

    def of_file(self, path: Path) -> Made:
        return Made(np.array([path.read_text().split()], np.float32))


def prepare_by_hand(
    folder: Path,
    views: Mapping[str, View],
    stored: Mapping[str, Pixels],
    targets: Sequence[int],
    *,
    split: str = "train",
    names: Sequence[str] = (),
    status: Mapping[int, str] | None = None,
) -> Prepared:
    """Return data of one split; `stored` holds (files, *stored_shape) of each view.

    `status` of a file, by its place, is that in every view.
    """
    number = len(targets)
    table = pd.DataFrame(
        {
            "split": split,
            "name": names or [f"file{index}.mp4" for index in range(number)],
            "target": np.array(targets, np.int8),
            "content": [f"content {index}" for index in range(number)],
        }
    )
    arrays = {}
    for name, view in views.items():
        arrays[name] = folder / f"{name}.u8"
        whole = np.concatenate([view.neutral()[None], stored[name].astype(view.dtype)])
        arrays[name].write_bytes(whole.tobytes())
        table[f"row.{name}"] = np.arange(1, number + 1)
        table[f"status.{name}"] = [(status or {}).get(index, "ok") for index in range(number)]
        table[f"reason.{name}"] = ""
    return Prepared(table, dict(views), arrays, "0123456789ab")


def plain(view: View, colours: Sequence[tuple[int, int, int]]) -> Pixels:
    """Return files of one colour each."""
    return np.stack([np.broadcast_to(np.array(c), view.stored_shape) for c in colours])


def pixels(path: Path) -> Pixels:
    with Pillow.open(path) as image:
        assert image.mode == "RGB"
        return np.asarray(image)


def places(picture: Pixels, colour: tuple[int, int, int] | str) -> Pixels:
    """Return (pixels, 2): row and column of every pixel of exactly this colour."""
    if isinstance(colour, str):
        red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
        colour = (red, green, blue)
    return np.argwhere((picture == colour).all(axis=-1))


def red_and_green(folder: Path, **changes: Any) -> Prepared:
    """Return twenty files in turn: real ones are red, fakes green."""
    stored = {"picture": plain(IMAGE, [RED, GREEN] * 10)}
    return prepare_by_hand(folder, {"picture": IMAGE}, stored, [0, 1] * 10, **changes)


def test_each_view_has_a_picture_and_the_page_holds_them_all(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    views = {"A-1": IMAGE, "b_2": Numbers()}
    stored = {"A-1": plain(IMAGE, [RED, GREEN] * 3), "b_2": rng.normal(size=(6, 1, 3))}
    prepared = prepare_by_hand(tmp_path, views, stored, [0, 1] * 3)
    files = write_sheets(prepared, tmp_path / "sheets")
    assert [file.name for file in files] == ["A-1.png", "b_2.png", "index.html"]
    assert sorted(path.name for path in (tmp_path / "sheets").iterdir()) == sorted(
        file.name for file in files
    )
    page = files[-1].read_text(encoding="utf-8")
    data = re.findall(r"src='data:image/png;base64,([^']*)'", page)
    assert [base64.b64decode(each) for each in data] == [f.read_bytes() for f in files[:-1]]
    assert "default-src 'none'" in page
    assert len(re.findall(r"src=|href=(?!'#)|url\(", page)) == len(data)


def test_the_page_shows_other_sheets_that_were_made_before(tmp_path: Path) -> None:
    drawn = as_image(np.full((20, 30, 3), MAGENTA, np.uint8))
    other = save(
        "more of it", tmp_path / "m.png", [drawn], head=["a < b"], hint=["read so"], shown={}
    )
    files = write_sheets(red_and_green(tmp_path), tmp_path / "sheets", more=[other])
    assert [file.name for file in files] == ["picture.png", "m.png", "index.html"]
    assert len(places(pixels(other.file), MAGENTA)) == 20 * 30
    page = files[-1].read_text(encoding="utf-8")
    assert base64.b64encode(other.file.read_bytes()).decode() in page
    assert "<a href='#more-of-it'>more of it</a>" in page
    assert "<section id='more-of-it'><img alt='more of it: a &lt; b'" in page


def test_the_same_data_make_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    views = {"picture": IMAGE, "numbers": Numbers()}
    stored = {
        "picture": rng.integers(0, 256, (40, *IMAGE.stored_shape)),
        "numbers": rng.normal(size=(40, 1, 3)),
    }
    prepared = prepare_by_hand(tmp_path, views, stored, [0, 1] * 20)
    first, again, other = (
        [file.read_bytes() for file in write_sheets(prepared, tmp_path / name, seed=seed)]
        for name, seed in (("first", 0), ("again", 0), ("other", 1))
    )
    assert first == again
    assert first[0] != other[0]


def test_real_stands_above_fake_each_in_its_frame(tmp_path: Path) -> None:
    sheet = pixels(write_sheets(red_and_green(tmp_path), tmp_path)[0])
    real, fake = places(sheet, RED), places(sheet, GREEN)
    # 64 pixels grow to 128.
    assert len(real) == len(fake) == 8 * 128**2
    assert real[:, 0].max() < fake[:, 0].min()
    for inside, colour in ((real, CLASS_COLOURS["real"]), (fake, CLASS_COLOURS["fake"])):
        top, left = inside.min(axis=0)
        frame = {tuple(place) for place in places(sheet, colour)}
        assert {(top - 3, left - 3), (top - 1, left - 1), (top + 128, left + 128)} <= frame


def test_the_frames_of_a_file_run_from_left_to_right(tmp_path: Path) -> None:
    view = Frames(num_frames=3, image_px=128)
    stored = np.zeros((2, *view.stored_shape))
    for frame, colour in enumerate((RED, YELLOW, GREEN)):
        stored[0, 0, frame] = colour
    prepared = prepare_by_hand(tmp_path, {"f": view}, {"f": stored}, [0, 1])
    sheet = pixels(write_sheets(prepared, tmp_path)[0])
    spans = [(p[:, 1].min(), p[:, 1].max()) for p in (places(sheet, c) for c in (RED, YELLOW))]
    last = places(sheet, GREEN)
    assert spans[0][1] < spans[1][0] < spans[1][1] < last[:, 1].min()
    assert last[:, 0].min() == places(sheet, RED)[:, 0].min()


@pytest.mark.parametrize(("frequency_hz", "share_from_top"), [(100, 0.95), (10_000, 0.05)])
def test_a_low_tone_lies_at_the_bottom_of_a_spectrogram(
    tmp_path: Path, frequency_hz: float, share_from_top: float
) -> None:
    view = Mel(image_px=128)
    time_s = np.arange(RATE_HZ) / RATE_HZ
    tone = np.sin(2 * np.pi * frequency_hz * time_s).astype(np.float32)
    stored = np.stack([view.of_sound(tone).array] * 2)
    (picture,) = for_people(view, stored[0])
    loudest = int(picture.sum(axis=-1).mean(axis=1).argmax())
    assert loudest / 128 == pytest.approx(share_from_top, abs=0.05)

    prepared = prepare_by_hand(tmp_path, {"mel": view}, {"mel": stored}, [0, 1])
    sheet = pixels(write_sheets(prepared, tmp_path)[0])
    top, left = places(sheet, CLASS_COLOURS["real"])[-1] - (
        130,
        130,
    )  # the frame's lower right corner
    np.testing.assert_array_equal(sheet[top : top + 128, left : left + 128], picture)


def test_louder_is_lighter_and_pictures_stay_as_they_are() -> None:
    view = Mel(image_px=16)
    levels = np.arange(256, dtype=np.uint8).reshape(view.stored_shape)
    (picture,) = for_people(view, levels)
    upright = picture[::-1].reshape(256, 3)
    lightness = upright @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(lightness) > -0.5).all()
    assert lightness[0] < 5
    assert lightness[-1] > 240

    frames = Frames(num_frames=2, image_px=16)
    array = np.random.default_rng(0).integers(0, 256, frames.stored_shape, np.uint8)
    np.testing.assert_array_equal(np.stack(for_people(frames, array)), array[0])


def test_files_that_are_not_ok_are_counted_and_never_shown(tmp_path: Path) -> None:
    colours = [RED, GREEN, MAGENTA, MAGENTA, RED, MAGENTA, RED, GREEN, GREEN, GREEN]
    status = {2: "silent", 3: "silent", 5: "broken"}
    targets = [0, 1, 0, 1, 0, 1, 0, 1, 1, 1]
    stored = {"p": plain(IMAGE, colours)}
    prepared = prepare_by_hand(tmp_path, {"p": IMAGE}, stored, targets, status=status)
    table = prepared.table
    said = left_out({"real": table[table["target"] == 0], "fake": table[table["target"] == 1]}, "p")
    assert said == [
        "Left out: 3 of 10 files",
        "2 silent (1 real, 1 fake)",
        "1 broken (0 real, 1 fake)",
    ]
    sheet, page = write_sheets(prepared, tmp_path)
    assert not len(places(pixels(sheet), MAGENTA))
    assert len(places(pixels(sheet), RED)) == 3 * 128**2
    assert len(places(pixels(sheet), GREEN)) == 4 * 128**2
    text = page.read_text(encoding="utf-8")
    assert ", ".join(said) in text
    assert "file0.mp4" in text
    assert "file2.mp4" not in text


@pytest.mark.parametrize("targets", [[0, 0, 0], [1, 1, 1], [0, 1, 1]])
def test_few_files_or_a_class_without_any_are_no_trouble(
    tmp_path: Path, targets: Sequence[int]
) -> None:
    views = {"p": IMAGE, "n": Numbers()}
    stored = {"p": plain(IMAGE, [(RED, GREEN)[t] for t in targets]), "n": np.ones((3, 1, 3))}
    prepared = prepare_by_hand(tmp_path, views, stored, targets)
    sheet = pixels(write_sheets(prepared, tmp_path)[0])
    assert len(places(sheet, RED)) == targets.count(0) * 128**2
    assert len(places(sheet, GREEN)) == targets.count(1) * 128**2


def test_no_usable_file_at_all_leaves_the_counts(tmp_path: Path) -> None:
    views = {"p": IMAGE, "n": Numbers()}
    stored = {"p": plain(IMAGE, [RED, GREEN]), "n": np.ones((2, 1, 3))}
    status = {0: "broken", 1: "broken"}
    prepared = prepare_by_hand(tmp_path, views, stored, [0, 1], status=status)
    page = write_sheets(prepared, tmp_path)[-1].read_text(encoding="utf-8")
    assert page.count("Left out: 2 of 2 files, 2 broken (1 real, 1 fake)") == 2


def test_a_split_without_labels_is_one_block(tmp_path: Path) -> None:
    views = {"p": IMAGE, "n": Numbers()}
    stored = {"p": plain(IMAGE, [RED] * 20), "n": np.random.default_rng(0).normal(size=(20, 1, 3))}
    prepared = prepare_by_hand(tmp_path, views, stored, [-1] * 20, split="test")
    files = write_sheets(prepared, tmp_path, split="test", per_class=4)
    for file in files[:2]:
        sheet = pixels(file)
        assert len(places(sheet, CLASS_COLOURS["unlabelled"]))
        assert not len(places(sheet, CLASS_COLOURS["real"])) + len(
            places(sheet, CLASS_COLOURS["fake"])
        )
    assert len(places(pixels(files[0]), RED)) == 8 * 128**2


def test_a_split_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no files of split 'val'\. Choose one of: train"):
        write_sheets(red_and_green(tmp_path), tmp_path, split="val")


def test_names_of_strangers_are_drawn_without_a_warning(tmp_path: Path) -> None:
    names = ["漢字.mp4", "<img src=x>.mp4", "a\x1b[31m\n\u202eb.mp4", "$x_1$.mp4", "é" * 250]
    stored = {"p": plain(IMAGE, [RED] * 5)}
    prepared = prepare_by_hand(tmp_path, {"p": IMAGE}, stored, [0, 1, 0, 1, 0], names=names)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        page = write_sheets(prepared, tmp_path)[-1].read_text(encoding="utf-8")
    assert "<img src=x" not in page
    assert "&lt;img src=x&gt;.mp4" in page
    assert "漢字.mp4" in page
    assert "a\ufffd[31m\ufffd\ufffdb.mp4" in page


def test_a_letter_without_a_glyph_becomes_a_mark() -> None:
    assert drawable("é漢\n\u202eя→.mp4") == "é\ufffd\ufffd\ufffdя→.mp4"


@pytest.mark.parametrize("width_px", [40, 80, 133, 400])
def test_a_long_name_loses_its_middle(width_px: int) -> None:
    name = "0123456789abcdefghijklmnopqrstuvwxyz.mp4"
    shown = fitted(name, width_px, 13)
    assert font(13).getlength(shown) <= width_px
    if width_px == 400:
        assert shown == name
    else:
        head, tail = shown.split("…")
        assert name.startswith(head)
        assert name.endswith(tail)
        assert 0 <= len(head) - len(tail) <= 1
        longer = f"{name[: len(tail) + 1]}…{name[len(name) - len(head) :]}"
        assert font(13).getlength(longer) > width_px


@pytest.mark.parametrize("seed", range(5))
def test_samples_are_spread_over_the_order_of_the_files(seed: int) -> None:
    chosen = spread_choice(np.ones(1000, np.bool_), 10, seed=seed)
    assert list(chosen) == sorted(set(chosen))
    assert len(chosen) == 10
    # Evenly they would be 100 apart.
    assert np.diff(chosen).max() < 200
    assert np.diff(chosen).min() > 40


def test_a_file_that_cannot_be_shown_changes_no_other_choice() -> None:
    usable = np.ones(300, np.bool_)
    before = spread_choice(usable, 8, seed=0)
    usable[before[3]] = False
    after = spread_choice(usable, 8, seed=0)
    assert len(after) == 8
    assert set(before) - set(after) == {before[3]}
    assert list(spread_choice(usable, 8, seed=1)) != list(after)
    assert list(spread_choice(np.array([True, False, True]), 8, seed=0)) == [0, 2]


def test_copies_of_a_file_are_shown_once(tmp_path: Path) -> None:
    prepared = red_and_green(tmp_path)
    real = prepared.table["target"] == 0
    prepared.table.loc[real, "content"] = "one and the same"
    sheet = pixels(write_sheets(prepared, tmp_path)[0])
    assert len(places(sheet, RED)) == 128**2
    assert len(places(sheet, GREEN)) == 8 * 128**2


@pytest.mark.parametrize("num_samples", [1, 3, 8, 9, 50])
@pytest.mark.parametrize("num_pictures", [1, 2, 4, 7, 40, 300])
@pytest.mark.parametrize("size", [(16, 16), (100, 100), (160, 160), (128, 512), (1024, 1024)])
def test_a_sheet_fits_a_screen(num_samples: int, num_pictures: int, size: tuple[int, int]) -> None:
    height, width = size
    grid = grid_for(num_samples, num_pictures, height=height, width=width)
    assert grid.columns * (grid.strip_px[0] + 14) - 14 <= WIDTH_PX
    assert WIDTH_PX + 2 * MARGIN_PX <= 1800
    assert grid.across * (grid.lines - 1) < num_pictures <= grid.across * grid.lines
    assert grid.columns <= num_samples
    assert grid.width_px >= min(width, 90)
    assert grid.width_px < width or grid.width_px % width == 0
    assert grid.height_px == pytest.approx(grid.width_px * height / width, abs=1)


def test_the_values_that_tell_most_come_first_with_their_auc() -> None:
    rng = np.random.default_rng(0)
    real, fake = rng.normal(size=(2, 50, 3))
    fake[:, 1] -= 20  # every fake below every real
    real[:25, 2], fake[:25, 2] = 0.0, 5.0
    real[25:, 2], fake[25:, 2] = 2.0, 2.0
    first, second, third = telling(["noise", "below", "half"], {"real": real, "fake": fake})
    assert first.title(3) == "below   AUC 0.000"
    # Of the four quarters of pairs fakes win two (5 against 0 or 2), one more (2 against 0) and
    # half of the last, which are ties.
    assert second.title(3) == "half   AUC 0.875"
    assert third.name == "noise"
    assert third.title(3).endswith(", within chance")


def test_of_many_values_the_best_twelve_are_drawn() -> None:
    rng = np.random.default_rng(0)
    real, fake = rng.normal(size=(2, 30, 40))
    fake[:, 33] += 4
    chosen = telling([f"v{index}" for index in range(40)], {"real": real, "fake": fake})
    assert len(chosen) == 12
    assert chosen[0].name == "v33"
    assert [value.distance for value in chosen] == sorted(
        (v.distance for v in chosen), reverse=True
    )
    picture = draw_values(chosen, CLASS_COLOURS, 40)
    assert picture.shape[1] <= WIDTH_PX
    left, right = np.split(picture[: picture.shape[0] // 3, : picture.shape[1] // 4], 2, axis=1)
    # The best panel is the first: its reals lie to the left of its fakes.
    reals, fakes = (
        [len(places(half, CLASS_COLOURS[kind])) for half in (left, right)]
        for kind in ("real", "fake")
    )
    assert reals[0] > reals[1]
    assert fakes[0] < fakes[1]


@pytest.mark.parametrize("level", [0.0, 1.0, -1e9])
def test_a_value_that_never_changes_can_be_drawn(level: float) -> None:
    by_class = {"real": np.full((5, 1), level), "fake": np.full((4, 1), level)}
    (value,) = telling(["same"], by_class)
    assert value.title(1) == "same   AUC 0.500, within chance"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        draw_values([value], CLASS_COLOURS, 1)


def test_only_the_rows_that_are_shown_are_read(tmp_path: Path) -> None:
    view, number = Frames(), 20_000
    row_bytes = int(np.prod(view.stored_shape))
    array = tmp_path / "frames.u8"
    with array.open("wb") as file:
        file.truncate((number + 1) * row_bytes)  # 12 GB, all of them a hole
    table = pd.DataFrame(
        {
            "split": "train",
            "name": [f"{index}.mp4" for index in range(number)],
            "target": np.arange(number) % 2,
            "content": [str(index) for index in range(number)],
            "row.frames": np.arange(1, number + 1),
            "status.frames": "ok",
        }
    )
    prepared = Prepared(table, {"frames": view}, {"frames": array}, "0" * 12)
    tracemalloc.start()
    try:
        write_sheets(prepared, tmp_path / "sheets")
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # The sixteen files shown are 10 MB, and each is copied once or twice on its way.
    assert peak_bytes < 60e6
