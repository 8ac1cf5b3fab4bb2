"""One media file in, out come an array for each view and what the file says of itself."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from av.container import InputContainer

from workbench.errors import MediaError
from workbench.media.audio import SoundReader
from workbench.media.facts import Facts, container_facts, image_facts
from workbench.media.sound_view import SoundViews
from workbench.media.streams import Onlooker, StreamViews, read_streams
from workbench.media.view import Made, MadeOrNot, View, ViewReader, read_views


@dataclass(frozen=True)
class Reading:
    """What one file gave."""

    made: Mapping[str, Made | MediaError]
    """For each view by its name, the array or why there is none."""

    facts: Facts
    """What the file says of itself, as far as it could be opened."""


def read_media(
    path: Path,
    views: Mapping[str, View],
    *,
    loudness: bool = False,
    guarded: Callable[[Path, Mapping[str, View], Any, ViewReader], MadeOrNot] | None = None,
) -> Reading:
    """Decode a file once into every view; what fails in one view leaves the others.

    Args:
        path: The file.
        views: Views by name.
        loudness: Decode the sound for the facts even where no view needs it.
        guarded: Calls what reads the views, given last, in its own way.
    """
    found: list[Facts] = []

    def see(container: InputContainer, parts: Sequence[StreamViews]) -> None:
        facts = container_facts(container)
        for part in parts:
            if isinstance(part, SoundViews) and isinstance(part.reader, SoundReader):
                heard = part.reader
                facts = facts.heard(duration_s=heard.duration_s, loudness_db=heard.loudness_db)
        found.append(facts)

    onlooker = Onlooker((SoundViews,) if loudness else (), see)
    read: ViewReader = read_views if views else read_streams
    made = guarded(path, views, onlooker, read) if guarded else read(path, views, onlooker)
    return Reading(made, found[-1] if found else image_facts(path))
