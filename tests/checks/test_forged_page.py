import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.media.clips import chirp, moving, write_media
from workbench.checks.forged_page import write_forged_page
from workbench.data.prepare import Prepared
from workbench.degradation.degradations import FORGERIES, REAL_OF
from workbench.errors import ConfigError
from workbench.media.frames import Frames
from workbench.media.mel import Mel

NAMES = [name for name, each in FORGERIES.items() if not each.of_pictures and name != "world"]
SEEN = [name for name, each in FORGERIES.items() if each.of_pictures]


@pytest.fixture
def prepared(tmp_path: Path) -> Prepared:
    """Two real sounds, one of them too short to be forged, and a fake one."""
    names = ["one.wav", "<b>.wav", "fake.wav"]
    for name, seconds in zip(names, (0.6, 0.04, 0.6), strict=True):
        write_media(tmp_path / name, sound=chirp(seconds), sound_codec="pcm_s16le")
    rows = {"split": "train", "name": names, "path": names, "content": names, "row.mel": [1, 2, 3]}
    table = pd.DataFrame({**rows, "target": np.array([0, 0, 1], np.int8)})
    return Prepared(table, {"mel": Mel()}, {}, "made")


def test_each_real_file_is_heard_with_what_is_made_of_it(
    prepared: Prepared, tmp_path: Path
) -> None:
    page = tmp_path / "forged.html"
    assert write_forged_page(prepared, tmp_path, NAMES, page)
    text = page.read_text()
    assert text.count("<section") == 2 and "fake.wav" not in text
    assert "&lt;b&gt;.wav" in text and "<b>.wav" not in text
    # One long enough: itself and all; the other can be heard as it is, and as another's, whole or
    # over most of it.
    assert len(NAMES) + 2 <= text.count("<audio") <= len(NAMES) + 4
    assert "too short to be forged" in text
    for name in NAMES:
        assert text.count(f"<p>{name}: {FORGERIES[name].what}</p>") == 2


def test_each_real_video_is_seen_with_what_is_made_of_its_frames(tmp_path: Path) -> None:
    write_media(tmp_path / "clip.mp4", pictures=moving(30))
    rows = {"split": "train", "name": ["clip.mp4"], "path": "clip.mp4", "content": "c"}
    table = pd.DataFrame({**rows, "row.frames": [1], "target": np.array([0], np.int8)})
    prepared = Prepared(table, {"frames": Frames(num_frames=2, image_px=32)}, {}, "made")
    assert write_forged_page(prepared, tmp_path, [*SEEN, *NAMES], tmp_path / "forged.html")
    text = (tmp_path / "forged.html").read_text()
    pictures = re.findall("data:image/png;base64,[^']*", text)
    assert len(pictures) == 1 + len(SEEN) + len(REAL_OF)
    assert len(set(pictures)) > len(SEEN)  # what a blend is laid over may be the video itself
    assert "<audio" not in text


def test_what_is_forged_in_both_is_seen_and_heard(tmp_path: Path) -> None:
    for name in ("one.mp4", "two.mp4"):
        write_media(tmp_path / name, pictures=moving(30), sound=chirp(1.2))
    names = ["one.mp4", "two.mp4"]
    rows: dict[str, Any] = {"split": "train", "name": names, "path": names}
    rows |= {"content": ["c", "d"], "row.frames": [1, 2], "row.mel": [1, 2]}
    table = pd.DataFrame({**rows, "target": np.array([0, 0], np.int8)})
    views = {"frames": Frames(num_frames=2, image_px=32), "mel": Mel()}
    prepared = Prepared(table, views, {}, "made")
    assert write_forged_page(prepared, tmp_path, ["insert"], tmp_path / "forged.html")
    text = (tmp_path / "forged.html").read_text()
    # Of each file: itself and the forgery, as a film and as a sound with its spectrogram.
    assert text.count("<audio") == 4
    assert len(re.findall("data:image/png;base64,", text)) == 8
    assert "not decoded" not in text.lower()


def test_a_forgery_that_cannot_be_made_here_is_refused(
    prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyworld", None)
    with pytest.raises(ConfigError, match=r"leave copies\.world out"):
        write_forged_page(prepared, tmp_path, ["world"], tmp_path / "forged.html")


def test_without_forgeries_there_is_no_page(prepared: Prepared, tmp_path: Path) -> None:
    assert not write_forged_page(prepared, tmp_path, [], tmp_path / "forged.html")
    alone = Prepared(prepared.table[prepared.table["target"] == 1], prepared.views, {}, "made")
    assert not write_forged_page(alone, tmp_path, NAMES, tmp_path / "forged.html")
    assert not (tmp_path / "forged.html").exists()
