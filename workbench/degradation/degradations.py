"""All that is done to copies of media: degradations, and forgeries, which make fakes of real ones.

A model is measured on degraded copies of held-out media, and may learn from degraded and forged
ones of the training files. To add one: write its function, and name it in `DEGRADATIONS` or
`FORGERIES`.
"""

import hashlib
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from workbench.degradation.blends import with_self_blend
from workbench.degradation.cutouts import has_detector, require_faces, without_eyes, without_mouth
from workbench.degradation.forgeries import (
    mismatched,
    resynthesised,
    spliced,
    stretch,
    transplanted,
    with_stretch,
)
from workbench.degradation.frozen import frozen
from workbench.degradation.pictures import as_jpeg, half_size, noisy, with_blur
from workbench.degradation.recoding import Seen, require_encoder, write_as_sent, write_h264
from workbench.degradation.sounds import (
    AMR,
    as_amr,
    as_g711,
    as_g726,
    as_mp3,
    as_opus,
    clipped,
    in_room,
    quiet,
    through_telephone,
    trimmed,
    with_noise,
)
from workbench.degradation.voices import (
    formant_shifted,
    pitch_shifted,
    require_world,
    through_vocoder,
    through_world,
)
from workbench.media.face_detectors import Face
from workbench.media.sound_view import SoundView
from workbench.media.video_view import VideoView
from workbench.media.view import Array, FileView, Picture, Sound, View


@dataclass(frozen=True)
class Degradation:
    """One way in which media are changed; exactly one of its functions does it."""

    name: str
    what: str
    """For a person, in a few words."""

    version: int = 1
    """Raise it whenever the same media give another copy."""

    of_picture: Callable[[Picture, np.random.Generator], Picture] | None = None
    """Changes still images, and videos frame by frame."""

    of_sound: Callable[[Sound, np.random.Generator], Sound] | None = None
    of_two_sounds: Callable[[Sound, Sound, np.random.Generator], Sound] | None = None
    """Changes a sound by another one: that of another file."""

    of_video: Callable[[Path, Path, np.random.Generator, Seen], None] | None = None
    """Writes the pictures of a video into another file; see `recoding.write_h264`."""

    of_faces: Callable[[Picture, Sequence[Face], np.random.Generator], Picture] | None = None
    """As `of_picture`, knowing the faces in it; all frames of a video have the same draws."""

    of_times: Callable[[int, np.random.Generator], npt.NDArray[np.int64]] | None = None
    """Returns which frame of a video stands in the place of each, given their number."""

    of_stretch: Callable[[np.random.Generator], tuple[float, float]] | None = None
    """Returns where another file stands, in the sound and the pictures of this one: the stretch's
    start and end, as shares of the whole."""

    require: Callable[[Iterable[View]], None] = lambda views: None
    """Raises a ConfigError where it cannot be done on this machine to any of these views."""

    drawn_as: str = ""
    """The change whose draws for a whole file it has too."""

    is_default: bool = False
    """Whether it is among those that `degraded` alone stands for."""

    @property
    def of_pictures(self) -> bool:
        """Whether pictures are changed, and no sound."""
        return not (self.of_sound or self.of_two)

    @property
    def of_two(self) -> bool:
        """Whether another file goes into a copy."""
        return bool(self.of_two_sounds or self.of_stretch)

    def touches(self, view: View) -> bool:
        """Return whether the view of a copy is another one than that of the file itself."""
        if self.of_stretch and isinstance(view, VideoView):
            return True
        if not self.of_pictures:
            return isinstance(view, SoundView)
        is_still = isinstance(view, FileView) and view.modality == "picture"
        of_stills = bool(self.of_picture or self.of_faces)
        return isinstance(view, VideoView) or (of_stills and is_still)

    def content_of(self, content: str, other: str = "") -> str:
        """Return what names the copy of a content, as a hash names a content.

        Args:
            content: The hash of the file.
            other: That of the other file, if one goes into the copy.
        """
        about = [content, self.name, str(self.version)]
        about += [other] if self.of_two else []
        about += ["faces"] if self.of_faces and has_detector() else []
        return hashlib.sha256(" ".join(about).encode()).hexdigest()

    def heard(self, sound: Sound, other: Sound | None, content: str = "") -> Sound:
        """Return the sound of the copy of a file of this content.

        `other` is the sound of the other file, if one goes into it.
        """
        if self.of_stretch:
            assert other is not None
            return with_stretch(sound, other, self.of_stretch(self.drawn(content)))
        rng = self.random(sound)
        if self.of_two_sounds:
            assert other is not None
            return self.of_two_sounds(sound, other, rng)
        assert self.of_sound
        return self.of_sound(sound, rng)

    def random(self, values: Array) -> np.random.Generator:
        """Return the random numbers for a picture or sound: the same for the same, always."""
        return np.random.default_rng(
            [zlib.crc32(self.name.encode()), zlib.crc32(np.ascontiguousarray(values).data)]
        )

    def drawn(self, content: str) -> np.random.Generator:
        """Return the random numbers for a whole file of this content."""
        named = self.drawn_as or self.name
        return np.random.default_rng([zlib.crc32(named.encode()), zlib.crc32(content.encode())])


def _surely(change: Callable[[Array], Array]) -> Callable[[Array, np.random.Generator], Array]:
    """Return `change`, to which no chance belongs, as one that is handed random numbers."""
    return lambda values, rng: change(values)


_AS_SENT = "at crf 17 to 40, 15 to 30 frames a second, a quarter to all of its size"

_ALL = (
    Degradation("jpeg50", "JPEG of quality 50", of_picture=_surely(partial(as_jpeg, quality=50))),
    Degradation(
        "jpeg30",
        "JPEG of quality 30",
        of_picture=_surely(partial(as_jpeg, quality=30)),
        is_default=True,
    ),
    Degradation("half-size", "scaled to half its size, and back", of_picture=_surely(half_size)),
    Degradation("blur", "a Gaussian blur", of_picture=_surely(with_blur)),
    Degradation("picture-noise", "noise in every pixel", of_picture=noisy),
    Degradation("h264", "H.264 at crf 32", of_video=partial(write_h264, crf=32)),
    Degradation("mp3", "MP3 of 48 kbit/s", of_sound=_surely(as_mp3), is_default=True),
    Degradation("telephone", "the telephone's band", of_sound=_surely(through_telephone)),
    Degradation("sound-noise", "white noise at 20 dB", of_sound=with_noise),
    Degradation("room", "the echo of a room", of_sound=in_room),
    Degradation("quiet", "30 dB less, in 16 bits", of_sound=_surely(quiet)),
    Degradation("clipped", "12 dB over full scale", of_sound=_surely(clipped)),
    Degradation("sent-h264", f"H.264 {_AS_SENT}", of_video=partial(write_as_sent, codec="libx264")),
    Degradation(
        "sent-h265",
        f"H.265 {_AS_SENT}",
        version=2,
        of_video=partial(write_as_sent, codec="libx265"),
        require=partial(
            require_encoder, encoder="libx265", what="H.265", of=VideoView, key="recoded"
        ),
    ),
    Degradation("opus", "Opus of 12 to 48 kbit/s", of_sound=as_opus),
    Degradation("trimmed", "without silence at its ends", of_sound=_surely(trimmed)),
    Degradation("g711", "a telephone's G.711, A-law or mu-law", of_sound=as_g711),
    Degradation("g726", "a telephone's G.726 of 16 to 40 kbit/s", of_sound=as_g726),
    Degradation(
        "amr",
        "a telephone's AMR-NB of 4.75 to 12.2 kbit/s",
        of_sound=as_amr,
        require=partial(require_encoder, encoder=AMR, what="AMR-NB", of=SoundView, key="phoned"),
    ),
    Degradation("eyes", "the eyes covered", of_faces=without_eyes, require=require_faces),
    Degradation("mouth", "the mouth covered", of_faces=without_mouth, require=require_faces),
)

DEGRADATIONS: Mapping[str, Degradation] = {each.name: each for each in _ALL}
"""By name."""

FORGERIES: Mapping[str, Degradation] = {
    each.name: each
    for each in (
        Degradation("resynthesis", "rebuilt from its mel spectrogram", of_sound=resynthesised),
        Degradation("splice", "a stretch of another sound", of_two_sounds=spliced),
        Degradation("mismatch", "another sound, or one moved in time", of_two_sounds=mismatched),
        Degradation("pitch", "1 to 4 semitones higher or lower", of_sound=pitch_shifted),
        Degradation("formants", "formants 8 to 25% higher or lower", of_sound=formant_shifted),
        Degradation("world", "made anew by WORLD", of_sound=through_world, require=require_world),
        Degradation("vocoder", "a low-pass, and few steps", of_sound=through_vocoder),
        Degradation("transplant", "a stretch of its own elsewhere", of_sound=transplanted),
        Degradation(
            "blend",
            "blended with itself",
            of_faces=partial(with_self_blend, is_fake=True),
        ),
        Degradation("insert", "a stretch of another clip", of_stretch=stretch),
        Degradation("freeze", "frames that stay, come again or are left out", of_times=frozen),
    )
}
"""By name: what makes a fake of a real file."""

REAL_OF: Mapping[str, Degradation] = {
    "blend": Degradation(
        "blend-real",
        "what the blend is laid over",
        of_faces=partial(with_self_blend, is_fake=False),
        drawn_as="blend",
    )
}
"""By the name of a forgery, the real picture that is learned beside each, in one batch."""

DAMAGES: Mapping[str, tuple[str, ...]] = {
    # As they were when studies began with them: which one a file gets hangs on their number.
    "degraded": (
        *("jpeg50", "jpeg30", "half-size", "blur", "picture-noise", "h264"),
        *("mp3", "telephone", "sound-noise", "room", "quiet", "clipped"),
    ),
    "recoded": ("sent-h264", "sent-h265", "opus", "mp3"),
    "phoned": ("g711", "g726", "amr"),
    "trimmed": ("trimmed",),
    "cutout": ("eyes", "mouth"),
}
"""By the name of a way of damage, the degradations of which a training file gets one of each
medium."""

CHANGES = {**DEGRADATIONS, **FORGERIES, **{each.name: each for each in REAL_OF.values()}}

AND = "_"
"""Between the changes of one copy, in the order in which they are made."""


def content_of(content: str, copy: str, other: str = "") -> str:
    """Return what names a copy of a content.

    Args:
        content: The hash of the file.
        copy: The names of its changes, joined by `AND`; "" is the file itself.
        other: The hash of the other file, if one goes into it.
    """
    for name in copy.split(AND) if copy else ():
        content = CHANGES[name].content_of(content, other)
    return content
