"""Malformed media, through preparation as a data set goes through it."""

import csv
import multiprocessing
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from tests.media.clips import decode
from tests.media.malformed_makers import (
    Statuses,
    cut,
    fast_mp4,
    gif_bomb,
    image,
    mp4,
    noise,
    sine,
    wav,
    webm,
)
from tests.media.malformed_media import place_irregular, place_malformed_media
from tests.media.odd_files import late_flv, late_mpg, wide_wav
from workbench.data.facts import FactsStore
from workbench.data.manifest import Layout, read_manifest
from workbench.data.prepare import Prepared, prepare
from workbench.data.prepared_report import describe_prepared
from workbench.data.view_store import NEUTRAL_ROW
from workbench.errors import MediaError
from workbench.media.faces import Faces
from workbench.media.frame_diff import FrameDiff
from workbench.media.frames import Frames
from workbench.media.image import Image
from workbench.media.mel import Mel
from workbench.media.reading import read_media
from workbench.media.source import Status
from workbench.media.view import View

VIEWS: dict[str, View] = {
    "mel": Mel(num_mels=32, image_px=32),
    "frames": Frames(num_frames=3, image_px=32),
    "image": Image(image_px=32),
}
LIMIT_S = 20.0


@dataclass(frozen=True)
class Visit:
    """What came of preparing all of it."""

    media: Path
    prepared: Prepared
    expected: dict[str, Statuses]
    said: str
    """What was printed, by whichever process."""
    children: tuple[set[int], set[int]]
    """Processes under this one, before and after."""
    media_before: dict[str, tuple[int, int]]


@pytest.fixture(scope="module")
def visit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visit]:
    """Malformed media, prepared once by two processes from a folder that cannot be written to."""
    data = tmp_path_factory.mktemp("malformed")
    media = data / "trainset"
    media.mkdir()
    expected = place_malformed_media(media)
    expected |= {name: (status,) * 3 for name, status in place_irregular(media).items()}
    write_data(data, list(expected))
    media.chmod(0o555)
    before, media_before = children(), stamps(media)
    with terminal(data / "said"):
        prepared = prepared_from(data, cache=data / "cache", limit_s=LIMIT_S)
    said = (data / "said").read_text()
    yield Visit(media, prepared, expected, said, (before, children()), media_before)
    media.chmod(0o755)


def write_data(data: Path, names: list[str]) -> None:
    """Write what makes `data` a data folder whose training files are `names`."""
    for folder in ("trainset", "valset"):
        (data / folder).mkdir(exist_ok=True)
    for index in range(2):
        (data / "valset" / f"{index}.wav").write_bytes(wav(sine()[: 1_000 + index]))
    for split, rows in (("train", names), ("val", ["0.wav", "1.wav"])):
        with (data / f"{split}_label.txt").open("w", newline="", encoding="utf-8") as file:
            labels = csv.writer(file)
            labels.writerow(["video_name", "target"])
            labels.writerows([name, index % 2] for index, name in enumerate(rows))
    (data / "prediction.csv").write_text("video_name,y_pred\n0.wav,\n")


def prepared_from(data: Path, *, cache: Path, limit_s: float) -> Prepared:
    manifest = read_manifest(data, Layout(), cache=cache)
    return prepare(manifest, data, VIEWS, cache=cache, jobs=2, limit_s=limit_s)


def statuses(prepared: Prepared, split: str = "train") -> dict[str, Statuses]:
    table = prepared.table[prepared.table["split"] == split]
    columns = [table[f"status.{view}"] for view in VIEWS]
    return dict(zip(table["name"], zip(*columns, strict=True), strict=True))


def children() -> set[int]:
    """The processes whose parent is this one, but for multiprocessing's own helper."""
    resource_tracker.ensure_running()
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            after_name = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(after_name[1]) == os.getpid():
            found.add(int(stat.parent.name))
    return found


def stamps(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time of the last change of everything in `folder`."""
    found = {path.name: path.lstat() for path in folder.iterdir()}
    return {name: (stat.st_size, stat.st_mtime_ns) for name, stat in found.items()}


@contextmanager
def terminal(path: Path) -> Iterator[None]:
    """Let `path` stand for the terminal of this process and of those that it starts."""
    kept = os.dup(1), os.dup(2)
    with path.open("wb") as file:
        for number in (1, 2):
            os.dup2(file.fileno(), number)
        try:
            yield
        finally:
            for number, before in zip((1, 2), kept, strict=True):
                os.dup2(before, number)
                os.close(before)


def test_every_file_ends_as_it_must(visit: Visit) -> None:
    assert len(visit.expected) >= 200
    ended = statuses(visit.prepared)
    assert ended.keys() == visit.expected.keys()
    wrong = {
        name: f"{ended[name]}, not {expected}"
        for name, expected in visit.expected.items()
        if ended[name] != expected
    }
    assert wrong == {}


def test_there_is_malformed_media_of_every_kind(visit: Visit) -> None:
    seen = {status for expected in visit.expected.values() for status in expected}
    # The others come of slow or deadly decoders, of bad disks and of missing faces: see the tests
    # below and of `prepare`.
    others = {"timed_out", "crashed", "unreadable", "no_face"}
    assert seen == {"ok", *get_args(Status)} - others
    contents = visit.prepared.table.query("content != ''")["content"]
    assert contents.nunique() >= 200  # copies would be decoded once


def test_malformed_media_leaves_nothing_behind(visit: Visit) -> None:
    assert visit.said == ""
    assert visit.children[0] == visit.children[1]
    assert not multiprocessing.active_children()
    assert stamps(visit.media) == visit.media_before


def test_a_reason_is_one_line_that_copies_can_share(visit: Visit) -> None:
    for view in VIEWS:
        rows = zip(
            visit.prepared.table["name"],
            visit.prepared.table[f"status.{view}"],
            visit.prepared.table[f"reason.{view}"],
            strict=True,
        )
        for name, status, reason in rows:
            assert (reason == "") == (status == "ok"), name
            assert reason == " ".join(reason.split())
            assert len(reason) < 120
            assert name not in reason
            assert str(visit.media) not in reason
    assert all(
        "\n" not in line.replace("new\nline", "") for line in describe_prepared(visit.prepared)
    )


def test_only_what_is_ok_has_a_row(visit: Visit) -> None:
    for view in VIEWS:
        table = visit.prepared.table.set_index("name")
        is_ok = table[f"status.{view}"] == "ok"
        assert (is_ok == (table[f"row.{view}"] != NEUTRAL_ROW)).all()
        # No row is left as it was before it was written, all zeros. Half a second of sound in ten
        # minutes falls between two columns of the picture.
        array = visit.prepared.open_array(view)
        black = {
            name for name, row in table.loc[is_ok, f"row.{view}"].items() if not array[row].any()
        }
        assert black <= {"a billion seconds.flac"}


def test_every_file_that_was_read_has_facts(visit: Visit) -> None:
    table = visit.prepared.table
    known = FactsStore(visit.media.parent / "cache").read()
    assert known.keys() == set(table.query("content != ''")["content"])
    content = table.set_index("name")["content"]
    assert known[content["h264.mkv"]]["video_codec"] == "h264"
    assert known[content["text.mp4"]]["container"] == ""
    # A picture that is refused for its size still says it.
    assert known[content["bomb.png"]]["width"] == 10_000


def test_the_face_view_fails_where_the_frames_do(visit: Visit) -> None:
    pytest.importorskip("yuface")
    views: dict[str, View] = {"frames": VIEWS["frames"], "faces": Faces(num_frames=1, image_px=32)}
    for name in sorted(visit.expected)[::3]:
        made = read_media(visit.media / name, views).made
        # There is no face in any.
        expected = "no_face" if made["frames"].status == "ok" else made["frames"].status
        assert made["faces"].status == expected, name


def test_one_pass_gives_what_a_pass_for_each_view_gives(visit: Visit) -> None:
    views: dict[str, View] = {
        **VIEWS,
        "many": Frames(num_frames=7, image_px=16),
        "nearest": Frames(num_frames=4, image_px=16, sampling="nearest"),
        "diff": FrameDiff(num_frames=2, image_px=16),
    }
    names = {
        "bare stream.h264",
        "changes its rate.ts",
        "changes its size.ts",
        "edit list.mp4",
        "film.gif",
        "fragments.mp4",
        "h264.mkv",
        "in front cut in half.mp4",
        "mpeg2.mpg",
        "neither length nor count.webm",
        "no start.ts",
        "one frame.mp4",
        "one keyframe.mp4",
        "scratched.mp4",
        "still.webp",
        "turned.mp4",
        "uneven times.mp4",
        "uneven times.webm",
        "vast.png",
        *sorted(visit.expected)[::12],
    }
    for name in sorted(names - {"largest.png"}):
        together = read_media(visit.media / name, views, loudness=True).made
        for view in views:
            both = told(together[view]), told(alone(views[view], visit.media / name))
            assert both[0] == both[1], (name, view)


def alone(view: View, path: Path) -> Any:
    try:
        return decode(view, path)
    except MediaError as error:
        return error


def told(made: Any) -> tuple[str, bytes]:
    """Return an array's bytes, or how it failed."""
    if isinstance(made, MediaError):
        return f"{made.status}: {made}", b""
    return "ok", getattr(made, "array", made).tobytes()


def test_what_is_no_file_is_refused_by_the_decoder_itself(visit: Visit, tmp_path: Path) -> None:
    # The manifest keeps such out; a file may become one afterwards.
    for name, status in place_irregular(tmp_path).items():
        made = read_media(tmp_path / name, VIEWS, loudness=True).made
        assert {view.status for view in made.values()} == {status}, name
        assert all(name not in str(view) for view in made.values())


def test_a_file_that_may_not_be_read_is_broken(tmp_path: Path) -> None:
    path = tmp_path / "x.mp4"
    path.write_bytes(mp4())
    path.chmod(0)
    made = read_media(path, VIEWS).made
    # Root may read everything.
    expected = ["ok", "ok", "broken"] if os.access(path, os.R_OK) else ["broken"] * 3
    assert [made[view].status for view in VIEWS] == expected


def test_a_film_of_a_few_bytes_and_many_pixels_costs_no_other_file(tmp_path: Path) -> None:
    (tmp_path / "trainset").mkdir()
    # 13 kB that take 13 s: 500 frames of 8192 x 8192, the largest that may be.
    (tmp_path / "trainset" / "bomb.gif").write_bytes(gif_bomb(8_192, 500))
    (tmp_path / "trainset" / "good.mp4").write_bytes(mp4())
    write_data(tmp_path, ["bomb.gif", "good.mp4"])
    before = children()
    views: dict[str, View] = {"frames": Frames(num_frames=64, image_px=16), "mel": VIEWS["mel"]}
    manifest = read_manifest(tmp_path, Layout(), cache=tmp_path)
    prepared = prepare(manifest, tmp_path, views, cache=tmp_path, jobs=2, limit_s=3)
    table = prepared.table[prepared.table["split"] == "train"]
    for view in views:
        assert list(table[f"status.{view}"]) == ["timed_out", "ok"]
    assert children() == before


def test_files_that_nobody_foresaw_cost_no_other_file(tmp_path: Path) -> None:
    odd = {"late.mpg": late_mpg(), "late.flv": late_flv(), "wide.wav": wide_wav()}
    (tmp_path / "trainset").mkdir()
    for name, content in {**odd, "good.mp4": mp4()}.items():
        (tmp_path / "trainset" / name).write_bytes(content)
    write_data(tmp_path, [*odd, "good.mp4"])
    ended = statuses(prepared_from(tmp_path, cache=tmp_path / "cache", limit_s=LIMIT_S))
    assert ended["good.mp4"] == ("ok", "ok", "broken")
    for name in odd:
        assert set(ended[name]) <= {"ok", "broken", "no_audio", "no_video"}


def mutants(seed: int) -> dict[str, bytes]:
    """Return 200 files, cut or with some bits turned over."""
    random = np.random.default_rng(seed)
    good = {
        "index last.mp4": mp4(),
        "index first.mp4": fast_mp4(),
        "x.webm": webm(),
        "x.wav": wav(sine(600)),
        "x.jpg": image("JPEG", of=noise()),
        "x.png": image("PNG", of=noise()),
    }
    made = {}
    for index in range(200):
        name = list(good)[index % len(good)]
        data = bytearray(good[name])
        if random.random() < 0.4:
            data = bytearray(cut(bytes(data), random.random()))
        else:
            for bit in random.integers(0, 8 * len(data), random.integers(1, 30)):
                data[bit // 8] ^= 1 << bit % 8
        made[f"{index} {name}"] = bytes(data)
    return made


def test_cut_and_scratched_files_end_with_a_status_and_the_same_one_again(tmp_path: Path) -> None:
    made = mutants(0)
    (tmp_path / "trainset").mkdir()
    for name, data in made.items():
        (tmp_path / "trainset" / name).write_bytes(data)
    write_data(tmp_path, list(made))
    before = children()
    with terminal(tmp_path / "said"):
        first, second = (
            prepared_from(tmp_path, cache=tmp_path / cache, limit_s=LIMIT_S) for cache in "ab"
        )
    assert (tmp_path / "said").read_text() == ""
    assert children() == before

    ended = statuses(first)
    seen = {status for of_file in ended.values() for status in of_file}
    assert {"ok", "broken"} <= seen <= {"ok", *get_args(Status)} - {"timed_out", "crashed"}
    for ending in ("first.mp4", "last.mp4", "webm", "jpg"):  # neither all whole nor all lost
        of_kind = [of_file[1] for name, of_file in ended.items() if name.endswith(ending)]
        assert 0 < of_kind.count("ok") < len(of_kind)

    assert statuses(second) == ended
    for view in VIEWS:
        assert list(first.table[f"reason.{view}"]) == list(second.table[f"reason.{view}"])
        assert rows(first, view) == rows(second, view)
    assert FactsStore(tmp_path / "a").read() == FactsStore(tmp_path / "b").read()


def rows(prepared: Prepared, view: str) -> list[bytes]:
    """Return the values of each file; files are decoded in no certain order."""
    array = prepared.open_array(view)
    return [array[row].tobytes() for row in prepared.table[f"row.{view}"]]
