"""Data sets made by hand: views as arrays, facts as a table, and faults planted one by one."""

from copy import deepcopy
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd

from workbench.data.labels import Template
from workbench.data.manifest import Manifest
from workbench.data.prepare import Prepared
from workbench.media.frames import Frames
from workbench.media.mel import Mel
from workbench.media.view import View

FRAMES = Frames(num_frames=3, image_px=48)
MEL = Mel(image_px=64)
Pixels = npt.NDArray[np.uint8]


def blobs(rng: np.random.Generator, height: int, width: int, *, cells: int) -> Pixels:
    """Return a (height, width) grey picture of soft random blobs with a little noise."""
    coarse = rng.uniform(30, 225, (cells, cells)).astype(np.float32)
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    noisy: npt.NDArray[np.float64] = smooth + rng.normal(0, 3, (height, width))
    return noisy.clip(0, 255).astype(np.uint8)


def sound(rng: np.random.Generator) -> Pixels:
    """Return (1, 1, 64, 64, 1): syllables over falling bands, as in speech."""
    loud = blobs(rng, 64, 64, cells=16).astype(np.float32)
    falling = np.linspace(1, 0.5, 64, dtype=np.float32)[:, None]
    return (loud * falling).astype(np.uint8)[None, None, :, :, None]


def pictures(rng: np.random.Generator) -> Pixels:
    """Return (1, 3, 48, 48, 3): frames of one scene in which a blob wanders."""
    scene = np.stack([blobs(rng, 48, 48, cells=8)] * 3, axis=-1)
    frames = np.stack([scene] * 3)
    row, column = rng.integers(4, 30, 2)
    for index, frame in enumerate(frames):
        frame[row : row + 8, column + 3 * index : column + 3 * index + 8] = 240
    return frames[None]


def coded_again(array: Pixels, rng: np.random.Generator) -> Pixels:
    """Return the array as a decoder of a second encoding would give it: a little noise."""
    noisy = array.astype(np.float32) + rng.normal(0, 4, array.shape)
    return noisy.clip(0, 255).astype(np.uint8)


@dataclass
class MadeFile:
    """One file of a made data set; a fault is a change of it."""

    split: str
    name: str
    target: int
    content: str
    arrays: dict[str, npt.NDArray[Any]]
    facts: dict[str, Any]
    size_bytes: int
    is_fake: bool = False
    """Also of a test file, whose target nobody knows."""

    status: str = "ok"

    @property
    def path(self) -> str:
        return f"{self.split}set/{self.name}"


@dataclass
class MadeData:
    """A data set without faults, until one is planted."""

    files: list[MadeFile]
    rng: np.random.Generator
    unnamed: list[tuple[str, str]] = field(default_factory=list)

    def of(self, split: str) -> list[MadeFile]:
        return [file for file in self.files if file.split == split]

    def add_copy(
        self, file: MadeFile, split: str, *, exact: bool, target: int | None = None
    ) -> MadeFile:
        """Plant a copy of `file` in `split`."""
        name = hex_name(self.rng)
        copy = MadeFile(
            split,
            name,
            -1 if split == "test" else file.target if target is None else target,
            file.content if exact else name,
            {
                view: array if exact else coded_again(array, self.rng)
                for view, array in file.arrays.items()
            },
            dict(file.facts),
            file.size_bytes if exact else file.size_bytes + 100,
            file.is_fake,
        )
        place = max(i for i, other in enumerate(self.files) if other.split == split)
        self.files.insert(int(self.rng.integers(0, 20)) + place - 19, copy)
        return copy

    def manifest(self) -> Manifest:
        table = pd.DataFrame(
            {
                "split": [f.split for f in self.files],
                "name": [f.name for f in self.files],
                "path": [f.path for f in self.files],
                "target": np.array([f.target for f in self.files], np.int8),
                "size_bytes": [f.size_bytes if f.status == "ok" else 0 for f in self.files],
                "status": [f.status for f in self.files],
                "content": [f.content if f.status == "ok" else "" for f in self.files],
            }
        )
        names = table.loc[table["split"] == "test", ["name"]]
        template = Template(names.assign(y_pred=""), "name", "y_pred", Path("template.csv"))
        unnamed = pd.DataFrame(self.unnamed, columns=["split", "path"])
        return Manifest(table, template, 0, unnamed)

    def facts(self) -> pd.DataFrame:
        rows = {f.content: f.facts for f in self.files if f.status == "ok"}
        return pd.DataFrame.from_dict(rows, orient="index")

    def prepared(self, folder: Path, views: dict[str, View]) -> Prepared:
        """Write the arrays of `views` into `folder`; row 0 is neutral, each content has one."""
        table, arrays = self.manifest().table, {}
        for view_name, view in views.items():
            stored: dict[str, npt.NDArray[Any]] = {}
            for file in self.files:
                if file.status == "ok" and view_name in file.arrays:
                    stored.setdefault(file.content, file.arrays[view_name])
            row = {content: index + 1 for index, content in enumerate(stored)}
            arrays[view_name] = folder / f"{view_name}.bin"
            whole = np.stack([view.neutral(), *stored.values()]).astype(view.dtype)
            arrays[view_name].write_bytes(whole.tobytes())
            table[f"row.{view_name}"] = [row.get(content, 0) for content in table["content"]]
            is_made = table[f"row.{view_name}"] > 0
            table[f"status.{view_name}"] = np.where(is_made, "ok", "broken")
            table[f"reason.{view_name}"] = ""
        return Prepared(table, views, arrays, "made")


def hex_name(rng: np.random.Generator) -> str:
    return f"{rng.bytes(8).hex()}.mp4"


def clean_data(*, train: int = 200, val: int = 100, test: int = 80, seed: int = 0) -> MadeData:
    """Return a data set in which nothing tells the class, and no file is like another."""
    return deepcopy(_clean_data(train, val, test, seed))


@cache
def _clean_data(train: int, val: int, test: int, seed: int) -> MadeData:
    rng = np.random.default_rng(seed)
    files = []
    for split, number in (("train", train), ("val", val), ("test", test)):
        targets = rng.permutation(np.arange(number) % 2)
        for target in targets:
            name = hex_name(rng)
            duration_s = float(rng.uniform(2, 6))
            bit_rate = float(rng.normal(300_000, 30_000))
            facts = {
                "container": "mov",
                "duration_s": duration_s,
                "bit_rate": bit_rate,
                "video_codec": "h264",
                "width": 320,
                "height": 240,
                "color_mode": "",
                "fps": 25.0,
                "num_frames": round(duration_s * 25),
                "video_bit_rate": bit_rate - 64_000,
                "audio_codec": "aac",
                "sample_rate_hz": 44_100,
                "channels": 2,
                "audio_bit_rate": 64_000.0,
                "loudness_db": float(rng.normal(-23, 3)),
                "jpeg_quantum": None,
            }
            arrays = {"mel": sound(rng), "frames": pictures(rng)}
            size_bytes = round(duration_s * bit_rate / 8)
            label = -1 if split == "test" else int(target)
            is_fake = bool(target)
            files.append(MadeFile(split, name, label, name, arrays, facts, size_bytes, is_fake))
    return MadeData(files, rng)
