"""What a file says of itself: cheap facts that may give its class away."""

import warnings
from pathlib import Path

from av.container import InputContainer
from av.stream import Disposition
from PIL import Image as Pillow

from workbench.media.source import check_file, is_passing, unread
from workbench.media.still import image_formats
from workbench.values import Frozen


class Facts(Frozen):
    """Facts of one media file; None or empty where it does not say."""

    container: str = ""
    """Name of the format, e.g. `mov`, `wav` or `JPEG`."""

    duration_s: float | None = None
    bit_rate: float | None = None
    """Bits a second of the whole file."""

    video_codec: str = ""
    width: int | None = None
    """In pixels, as stored: a turned video is not turned here."""

    height: int | None = None
    color_mode: str = ""
    """Of a still picture, by Pillow's names: `RGB`, `RGBA`, `L`, `P`, `CMYK`, ..."""

    fps: float | None = None
    num_frames: int | None = None
    video_bit_rate: float | None = None
    audio_codec: str = ""
    sample_rate_hz: int | None = None
    channels: int | None = None
    audio_bit_rate: float | None = None
    loudness_db: float | None = None
    """Root mean square of the sound in decibels below full scale."""

    jpeg_quantum: float | None = None
    """Mean step of a JPEG's brightness table: small in good quality."""

    def heard(self, *, duration_s: float | None, loudness_db: float | None) -> "Facts":
        """Return these facts with what was found while the sound was decoded.

        Args:
            duration_s: Its length where the container's was a guess; None: it was none.
            loudness_db: Its loudness.
        """
        found: dict[str, float | None] = {"loudness_db": loudness_db}
        if duration_s:
            found["duration_s"] = duration_s
            if self.bit_rate and self.duration_s:
                found["bit_rate"] = self.bit_rate * self.duration_s / duration_s
        return self.model_copy(update=found)


def container_facts(container: InputContainer) -> Facts:
    """Return what the headers of an opened sound or video file say; nothing is decoded."""
    duration_s = container.duration / 1e6 if container.duration and container.duration > 0 else None
    video = next(
        (
            stream
            for stream in container.streams.video
            if stream.codec_context and not stream.disposition & Disposition.attached_pic
        ),
        None,
    )
    audio = next((stream for stream in container.streams.audio if stream.codec_context), None)
    return Facts(
        container=container.format.name.partition(",")[0],
        duration_s=duration_s,
        bit_rate=container.size * 8 / duration_s if duration_s and container.size else None,
        video_codec=video.codec_context.name if video else "",
        width=video.codec_context.width if video else None,
        height=video.codec_context.height if video else None,
        fps=float(video.average_rate) if video and video.average_rate else None,
        num_frames=video.frames or None if video else None,
        video_bit_rate=video.codec_context.bit_rate or None if video else None,
        audio_codec=audio.codec_context.name if audio else "",
        sample_rate_hz=audio.codec_context.sample_rate if audio else None,
        channels=audio.codec_context.channels if audio else None,
        audio_bit_rate=audio.codec_context.bit_rate or None if audio else None,
    )


def image_facts(path: Path) -> Facts:
    """Return what the header of a still image says; nothing if it has none that can be read.

    Raises:
        MediaError: unreadable.
    """
    try:
        check_file(path)  # a pipe would be waited for
        with warnings.catch_warnings():
            # Of damaged tags and of many pixels; the view says what is wrong.
            warnings.simplefilter("ignore")
            with Pillow.open(path, formats=image_formats()) as image:
                tables = getattr(image, "quantization", None) or {}
                brightness = tables.get(0)
                return Facts(
                    container=image.format or "",
                    width=image.width,
                    height=image.height,
                    color_mode=image.mode,
                    jpeg_quantum=sum(brightness) / len(brightness) if brightness else None,
                )
    except Exception as error:
        if is_passing(error):
            raise unread(error) from error
        return Facts()
