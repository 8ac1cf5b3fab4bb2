import re
from collections.abc import Iterator
from pathlib import Path
from tempfile import gettempdir

import numpy as np
import pandas as pd
import pytest

from tests.media.clips import chirp, moving, write_media
from tests.media.encoders import CUT_OFF, encode_by
from workbench.data import decoding
from workbench.data.decoding import Done, Task
from workbench.data.degraded import copies_for, prepare_copies
from workbench.data.labels import Template
from workbench.data.manifest import Manifest
from workbench.data.prepare import Prepared, prepare
from workbench.data.view_store import NEUTRAL_ROW
from workbench.errors import ConfigError, DataError
from workbench.files import hash_file
from workbench.media.frames import Frames
from workbench.media.mel import Mel

VIEWS = {"frames": Frames(num_frames=2, image_px=32), "mel": Mel()}


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Decode in this process; the names of the files that were read."""
    names: list[str] = []

    def decode_all(tasks: Iterator[Task], **_: object) -> Iterator[tuple[Task, Done]]:
        for task in tasks:
            names.append(task.path.name)
            yield task, decoding._decode(task)

    monkeypatch.setattr("workbench.data.filling.decode_all", decode_all)
    return names


def made(folder: Path) -> tuple[Manifest, Prepared]:
    """A training clip, two of `val`, a sound of `val` and a file of `val` that is no clip."""
    write_media(folder / "t.mp4", sound=chirp(0.5), pictures=moving(10))
    write_media(folder / "a.mp4", sound=chirp(0.6), pictures=moving(12))
    write_media(folder / "b.mp4", sound=chirp(0.7), pictures=moving(14))
    write_media(folder / "s.wav", sound=chirp(0.5), sound_codec="pcm_s16le")
    (folder / "odd.mp4").write_bytes(b"odd")
    names = ["t.mp4", "a.mp4", "b.mp4", "s.wav", "odd.mp4"]
    table = pd.DataFrame(
        {
            "split": ["train", *["val"] * 4],
            "name": names,
            "path": names,
            "target": np.array([0, 1, 0, 1, 0], np.int8),
            "status": "ok",
            "content": [hash_file(folder / name) for name in names],
        }
    )
    template = Template(pd.DataFrame({"n": [], "p": []}), "n", "p", folder / "p.csv")
    manifest = Manifest(table, template, 0)
    return manifest, prepare(manifest, folder, VIEWS, cache=folder / "cache", jobs=1)


def copies(prepared: Prepared, folder: Path, *names: str) -> dict[str, Prepared]:
    return prepare_copies(prepared, names, folder, {}, cache=folder / "cache", jobs=1)


@pytest.mark.usefixtures("read")
def test_a_full_folder_of_temporary_files_is_said_and_nothing_wrong_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, prepared = made(tmp_path)
    with monkeypatch.context() as patch:
        encode_by(CUT_OFF, tmp_path, patch)
        patch.setattr("workbench.media.ffmpeg.no_space", lambda folder: True)
        place = re.escape(gettempdir())
        with pytest.raises(DataError, match=rf"no space left for {place} \(No .*TMPDIR.*is kept\."):
            copies(prepared, tmp_path, "mp3", "h264")
    found = copies(prepared, tmp_path, "mp3", "h264")
    mp3 = found["degraded.mp3"].table.set_index("name")["status.mel"]
    h264 = found["degraded.h264"].table.set_index("name")["status.frames"]
    assert dict(mp3) == {"a.mp4": "ok", "b.mp4": "ok", "s.wav": "ok"}
    assert dict(h264) == {"a.mp4": "ok", "b.mp4": "ok", "s.wav": "no_video"}


def test_each_file_of_val_is_read_once_for_all_copies_and_never_again(
    tmp_path: Path, read: list[str]
) -> None:
    _, prepared = made(tmp_path)
    read.clear()
    found = copies(prepared, tmp_path, "blur", "picture-noise", "room")
    assert [*found] == ["degraded.blur", "degraded.picture-noise", "degraded.room"]
    assert sorted(read) == ["a.mp4", "b.mp4", "s.wav"]
    again = copies(prepared, tmp_path, "room", "blur")
    assert len(read) == 3
    pd.testing.assert_frame_equal(again["degraded.blur"].table, found["degraded.blur"].table)
    copies(prepared, tmp_path, "room", "quiet")
    assert len(read) == 6


def test_a_view_that_is_not_touched_has_the_rows_of_the_files_themselves(
    tmp_path: Path, read: list[str]
) -> None:
    _, prepared = made(tmp_path)
    blurred = copies(prepared, tmp_path, "blur")["degraded.blur"].rows("val").set_index("name")
    itself = prepared.rows("val").set_index("name")
    assert blurred["row.mel"].tolist() == itself["row.mel"].tolist()
    both = ["a.mp4", "b.mp4"]
    assert not set(blurred.loc[both, "row.frames"]) & set(itself["row.frames"])
    assert not set(blurred["content"]) & set(itself["content"])
    assert blurred["target"].tolist() == itself["target"].tolist()
    pixels = prepared.open_array("frames")
    for name in both:
        sharp, worse = (
            pixels[table.loc[[name], "row.frames"].to_numpy()] for table in (itself, blurred)
        )
        assert (
            np.diff(worse.astype(float), axis=-2).var()
            < np.diff(sharp.astype(float), axis=-2).var()
        )


def test_a_file_without_a_picture_has_an_outcome_in_a_copy_of_pictures(
    tmp_path: Path, read: list[str]
) -> None:
    _, prepared = made(tmp_path)
    table = copies(prepared, tmp_path, "h264")["degraded.h264"].table.set_index("name")
    assert table.loc["s.wav", "row.frames"] == NEUTRAL_ROW
    assert table.loc["s.wav", "status.frames"] == "no_video"
    assert table.loc["s.wav", "status.mel"] == "ok"


def test_copies_are_saved_and_loaded_with_the_data(tmp_path: Path, read: list[str]) -> None:
    _, prepared = made(tmp_path)
    beside = copies(prepared, tmp_path, "jpeg30", "telephone")
    whole = Prepared(
        prepared.table, prepared.views, prepared.arrays, prepared.fingerprint, prepared.stores,
        beside=beside,
    )  # fmt: skip
    whole.save(tmp_path / "study")
    loaded = Prepared.load(tmp_path / "study")
    assert [*loaded.beside] == ["degraded.jpeg30", "degraded.telephone"]
    for name, copy in beside.items():
        pd.testing.assert_frame_equal(loaded.beside[name].table, copy.table)
        assert dict(loaded.beside[name].arrays) == dict(copy.arrays)
    # A copy of all that lies side by side has arrays of its own.
    (tmp_path / "copy").mkdir()
    for part in ("study", "cache"):
        (tmp_path / part).rename(tmp_path / "copy" / part)
    moved = Prepared.load(tmp_path / "copy" / "study").beside["degraded.jpeg30"]
    assert moved.arrays["frames"].is_relative_to(tmp_path / "copy")


def test_names_ask_for_copies_that_some_view_would_notice() -> None:
    assert copies_for(["val", "degraded.blur", "degraded.mp3", "degraded.blur"], VIEWS) == (
        "blur",
        "mp3",
    )
    assert copies_for(["degraded.mp3"], {"frames": VIEWS["frames"]}) == ()
    assert copies_for(["degraded"], VIEWS) == ("jpeg30_mp3",)
    assert copies_for(["degraded"], {"frames": VIEWS["frames"]}) == ("jpeg30",)
    assert copies_for(["degraded", "degraded.blur_room"], VIEWS) == ("jpeg30_mp3", "blur_room")
    with pytest.raises(
        ConfigError, match=r"'degraded\.fog' asks for the degradation 'fog'.*jpeg30"
    ):
        copies_for(["degraded.fog"], VIEWS)
    with pytest.raises(ConfigError, match="two degradations of one medium"):
        copies_for(["degraded.blur_jpeg30"], VIEWS)


def test_a_copy_by_two_degradations_has_the_views_of_both(tmp_path: Path, read: list[str]) -> None:
    _, prepared = made(tmp_path)
    found = copies(prepared, tmp_path, "blur", "blur_room", "room")
    tables = {name.partition(".")[2]: copy.table for name, copy in found.items()}
    assert [*tables] == ["blur", "blur_room", "room"]
    assert len(read) == 5 + 3
    both = tables["blur_room"]
    assert both["row.frames"].tolist() == tables["blur"]["row.frames"].tolist()
    assert both["row.mel"].tolist() == tables["room"]["row.mel"].tolist()
    assert len({tuple(table["content"]) for table in tables.values()}) == 3
