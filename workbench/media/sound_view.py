"""Views of the sound of a file."""

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from av.container import InputContainer

from workbench.errors import MediaError
from workbench.media.audio import SoundReader
from workbench.media.source import attempt, failure, then
from workbench.media.streams import StreamView, StreamViews
from workbench.media.view import Made, MadeOrNot, Sound


class SoundViews(StreamViews):
    """The views of a file's sound."""

    def __init__(self, views: Mapping[str, "SoundView"]) -> None:
        super().__init__(views)
        # To place a sound on the picture's clock, the picture's start must be known.
        self.needs_pictures = any(view.align for view in views.values())
        self.reader: SoundReader | MediaError | None = None

    def begin(self, container: InputContainer) -> SoundReader | None:
        """See `StreamViews.begin`."""
        self.reader = attempt(SoundReader, container)
        return self.reader if isinstance(self.reader, SoundReader) else None

    def made(self, path: Path) -> MadeOrNot:
        """See `StreamViews.made`; without a view, too, the sound is heard."""
        if self.reader is None:
            raise RuntimeError("the sound of a file that was not read")
        ways = {_way(view) for view in self.views.values()} or {(False, False)}
        heard = {
            way: then(self.reader, SoundReader.sound, align=way[0], believing=way[1])
            for way in sorted(ways)
        }
        return {name: then(heard[_way(view)], view.of_sound) for name, view in self.views.items()}

    def of_still(self, path: Path) -> MadeOrNot:
        """See `StreamViews.of_still`."""
        return dict.fromkeys(self.views, failure("no_audio", "it is a still image"))


class SoundView(StreamView):
    """A view of the sound.

    Version 1 of every such view believes the container's length of the sound.
    """

    is_sound: ClassVar[bool] = True
    streams: ClassVar[type[StreamViews]] = SoundViews
    version: int

    align: bool = False
    """Whether the sound is placed in time as it is heard beside the file's picture, for use with a
    view of frames: silence before a late start and in gaps, and nothing of what is heard before the
    first frame. Otherwise it begins at 0 and has no gaps, as the competition's public baseline has
    it."""

    def identity(self) -> dict[str, Any]:
        """As `View.identity`, without `align` where it is off.

        It came later than the names of views that are stored: those go on to mean what they meant.
        """
        named = super().identity()
        if not self.align:
            del named["align"]
        return named

    @abstractmethod
    def of_sound(self, sound: Sound) -> Made:
        """Return the view of one sound.

        Raises:
            MediaError: there is no such view of it; its status is a `source.Status`.
        """


def _way(view: SoundView) -> tuple[bool, bool]:
    """Return whether a view's sound is aligned, and has the container's length in any case."""
    return view.align, view.version == 1
