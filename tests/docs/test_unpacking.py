"""The programs of docs/your-data.md that write the media of archives as files."""

import io
import json
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from workbench.data.inspection import inspect_data

PAGE = Path(__file__).parents[2] / "docs" / "your-data.md"


def png(level: int) -> bytes:
    whole = io.BytesIO()
    Image.fromarray(np.full((8, 8, 3), level, np.uint8)).save(whole, "PNG")
    return whole.getvalue()


def unpack(folder: Path, number: int, *arguments: str) -> Path:
    """Run one of the page's programs, and return the folder that it writes."""
    page = PAGE.read_text(encoding="utf-8")
    programs = re.findall(r"^```python\n(.*?)^```$", page, flags=re.MULTILINE | re.DOTALL)
    (folder / "unpack.py").write_text(programs[number], encoding="utf-8")
    words = [sys.executable, "unpack.py", *arguments]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "unpacked"


def test_shards_of_webdataset_become_files_and_a_table(tmp_path: Path) -> None:
    for shard in range(2):
        with tarfile.open(tmp_path / f"train-{shard}.tar", "w") as tar:
            for key in range(6):
                for ending, content in (("png", png(40 * key + shard)), ("cls", b"%d" % (key % 2))):
                    member = tarfile.TarInfo(f"{key:03d}.{ending}")
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
    made = unpack(tmp_path, 0, "train-0.tar", "train-1.tar")
    assert (made / "media" / "1-003.png").read_bytes() == png(121)
    assert "1-003.png,1" in (made / "labels.csv").read_text().splitlines()
    said = "\n".join(inspect_data(made).lines())
    assert "train: 12 files, 6 fake" in said


def test_samples_of_two_folders_of_a_shard_stay_two(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "train.tar", "w") as tar:
        for name, content in (
            ("real/7.png", png(1)),
            ("real/7.cls", b"0"),
            ("fake/7.png", png(2)),
            ("fake/7.cls", b"1"),
            ("fake/7.txt", b"a caption"),
        ):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    made = unpack(tmp_path, 0, "train.tar")
    rows = (made / "labels.csv").read_text().splitlines()
    assert rows == ["filename,target", "0-real-7.png,0", "0-fake-7.png,1"]
    assert (made / "media" / "0-fake-7.png").read_bytes() == png(2)


def test_a_sample_of_two_media_asks_which_is_meant(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "train.tar", "w") as tar:
        for name, content in (("7.png", png(1)), ("7.mask.png", png(2)), ("7.cls", b"1")):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    with pytest.raises(AssertionError, match=r"0-7.png and 0-7.mask.png: say which of a sample"):
        unpack(tmp_path, 0, "train.tar")


def test_a_folder_of_datasets_becomes_files_and_a_table(tmp_path: Path) -> None:
    kinds = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    for split, number in (("train", 8), ("validation", 4), ("test", 3)):
        folder = tmp_path / "saved" / split
        folder.mkdir(parents=True)
        names = {"label": {"names": ["real", "fake"], "_type": "ClassLabel"}}
        (folder / "dataset_info.json").write_text(json.dumps({"features": names}))
        images = [{"bytes": png(20 * i + number), "path": f"{i}.png"} for i in range(number)]
        labels = [-1 if split == "test" or i == 6 else i % 2 for i in range(number)]
        columns = [pa.array(images, kinds), pa.array(labels)]
        table = pa.table(columns, ["image", "label"])
        with pa.ipc.new_stream(folder / "data-00000-of-00001.arrow", table.schema) as stream:
            stream.write_table(table)
    made = unpack(tmp_path, 1, "saved", "image")
    assert (made / "media" / "0000004.png").read_bytes() == png(8)
    said = "\n".join(inspect_data(made).lines())
    assert "train: 7 files, 4 fake" in said
    assert "test: 3 files, no labels" in said
    assert "val: 4 files, 2 fake" in said
