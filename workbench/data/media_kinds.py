"""Which files are media, by how their names end: sounds, pictures, videos."""

from collections import Counter
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Literal

MediaKind = Literal["sound", "picture", "video"]

_ENDINGS: dict[MediaKind, str] = {
    "sound": "wav flac mp3 ogg oga opus m4a aac wma aif aiff amr au",
    "picture": "jpg jpeg jpe jfif png webp bmp gif tif tiff ppm pgm jp2 avif heic heif jxl",
    "video": "mp4 m4v mov avi mkv webm mpg mpeg mts m2ts 3gp flv wmv ogv",
}
_KIND_OF = {f".{end}": kind for kind, ends in _ENDINGS.items() for end in ends.split()}


def kind_by_ending(name: str) -> MediaKind | None:
    """Return what a file is by how its name ends; None if that is no medium's, or it is hidden."""
    path = PurePosixPath(name)
    return None if path.name.startswith(".") else _KIND_OF.get(path.suffix.lower())


def count_kinds(names: Iterable[str]) -> dict[MediaKind, int]:
    """Return how many of the files are of each kind, the most frequent one first."""
    counts = Counter(kind for kind in map(kind_by_ending, names) if kind)
    return dict(counts.most_common())
