"""A page on which forged media are seen and heard beside the real ones that they are made of."""

import io
import wave
from collections.abc import Collection, Iterator
from html import escape
from pathlib import Path

import numpy as np

from workbench import pages
from workbench.checks.findings import printable
from workbench.checks.sheet import for_people
from workbench.data.prepare import Prepared
from workbench.data.training_copies import forgeable, partners_of
from workbench.degradation.degradations import CHANGES, FORGERIES, REAL_OF
from workbench.degradation.degraded_views import read_copies
from workbench.degradation.sounds import sound_of
from workbench.errors import MediaError
from workbench.media.audio import RATE_HZ
from workbench.media.frames import Frames
from workbench.media.mel import Mel
from workbench.media.video_view import VideoView
from workbench.media.view import Sound
from workbench.opencv import cv2

_SHOWN, _HEARD_S = 6, 10
_STYLE = Path(__file__).with_name("sheet.css")
_VIEW = Mel(image_px=192)
_FILM = Frames(num_frames=6, image_px=256)


def write_forged_page(
    prepared: Prepared, data: Path, forgeries: Collection[str], page: Path
) -> bool:
    """Write a page of a few real training files with what is forged of each.

    Args:
        prepared: The data.
        data: The data folder.
        forgeries: Names of what is done to them.
        page: The page, which holds its pictures and sounds itself.

    Returns:
        Whether there is anything to show.

    Raises:
        ConfigError: one of them cannot be made on this machine.
    """
    for name in forgeries:
        FORGERIES[name].require(prepared.views.values())
    rows = prepared.rows("train")
    partners = partners_of(rows, prepared.views)
    of_sound = [name for name in forgeries if not FORGERIES[name].of_pictures]
    of_pictures = [name for name in forgeries if FORGERIES[name].of_pictures]
    has_video = any(isinstance(view, VideoView) for view in prepared.views.values())
    of_both = [name for name in of_sound if FORGERIES[name].of_stretch and has_video]
    seen, heard = (
        {
            content
            for name in some
            for content in rows["content"][forgeable(name, rows, prepared.views, partners)]
        }
        for some in (of_pictures, of_sound)
    )
    names, paths = (dict(zip(rows["content"], rows[key], strict=True)) for key in ("name", "path"))
    contents = [each for each in dict.fromkeys(rows["content"]) if each in seen | heard]
    some = contents[:: max(1, len(contents) // _SHOWN)][:_SHOWN]
    if not some:
        return False

    def sections() -> Iterator[str]:
        for content in some:
            title, file = printable(names[content]), data / paths[content]
            tables, note = [], ""
            shown = of_pictures if content in seen else []
            shown = shown + (of_both if content in heard else [])
            if shown:
                beside = [REAL_OF[name].name for name in shown if name in REAL_OF]
                copies = {"as it is": "", **{_title(n): n for n in (*beside, *shown)}}
                other = data / paths[partners.get(content, content)]
                tables.append([_film(*copy, file, content, other) for copy in copies.items()])
            if content in heard:
                other = partners[content]
                note = f"What is of another file is of {printable(names[other])}."
                try:
                    sounds = [sound_of(data / paths[each]) for each in (content, other)]
                    tables.append([_cell("as it is", sounds[0])])
                    tables[-1] += [
                        _forged(name, sounds[0], sounds[1], content) for name in of_sound
                    ]
                except MediaError as error:
                    note = f"Not decoded: {error}."
            body = "".join(f"<table><tr>{''.join(cells)}</tr></table>" for cells in tables)
            yield pages.section(title, body, note=note)

    pages.write_page(
        page,
        title="Forged media",
        about=f"Data {prepared.fingerprint} · real training files, and the fakes made of them · "
        f"frames at even times; the first {_HEARD_S} s of sound, with their mel spectrograms",
        body=sections(),
        style=_STYLE,
        has_media=True,
    )
    return True


def _title(name: str) -> str:
    return f"{name}: {CHANGES[name].what}"


def _film(title: str, copy: str, file: Path, content: str, other: Path) -> str:
    """Return a cell that shows the frames of a copy, one beneath the other."""
    wanted = {"film": (copy, _FILM)}
    made = read_copies(file, wanted, content=content, others={copy: other}).made["film"]
    if isinstance(made, MediaError):
        return f"<td><p>{escape(title)}</p><p>{escape(printable(str(made)))}</p></td>"
    bgr = cv2.cvtColor(np.concatenate(made.array[0]), cv2.COLOR_RGB2BGR)
    shown = pages.player("image/png", cv2.imencode(".png", bgr)[1].tobytes(), title)
    return f"<td><p>{escape(title)}</p><p>{shown}</p></td>"


def _forged(name: str, sound: Sound, other: Sound, content: str) -> str:
    title = _title(name)
    try:
        return _cell(title, FORGERIES[name].heard(sound, other, content))
    except MediaError as error:
        return f"<td><p>{escape(title)}</p><p>{escape(printable(str(error)))}</p></td>"


def _cell(title: str, sound: Sound) -> str:
    heard = sound[: _HEARD_S * RATE_HZ]
    try:
        [picture] = for_people(_VIEW, _VIEW.of_sound(heard).array)
        bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
        shown = pages.player("image/png", cv2.imencode(".png", bgr)[1].tobytes(), title)
    except MediaError:  # nothing is heard
        shown = ""
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(RATE_HZ)
        out.writeframes(np.rint(heard * 32_767).astype("<i2").tobytes())
    player = pages.player("audio/wav", file.getvalue(), title)
    return f"<td><p>{escape(title)}</p><p>{shown}</p>{player}</td>"
