"""A page on which forged sounds are seen and heard beside the real ones that they are made of."""

import io
import wave
from collections.abc import Collection, Iterator
from html import escape
from pathlib import Path

import cv2
import numpy as np

from workbench import pages
from workbench.checks.findings import printable
from workbench.checks.sheet import for_people
from workbench.data.prepare import Prepared
from workbench.data.training_copies import partners_of
from workbench.degradation.degradations import FORGERIES
from workbench.degradation.sounds import sound_of
from workbench.errors import MediaError
from workbench.media.audio import RATE_HZ
from workbench.media.mel import Mel
from workbench.media.view import Sound

_SHOWN, _HEARD_S = 6, 10
_STYLE = Path(__file__).with_name("sheet.css")
_VIEW = Mel(image_px=192)


def write_forged_page(
    prepared: Prepared, data: Path, forgeries: Collection[str], page: Path
) -> bool:
    """Write a page of a few real training files with what is forged of each.

    Args:
        prepared: The data.
        data: The data folder.
        forgeries: Names of what is done to sounds.
        page: The page, which holds its pictures and sounds itself.

    Returns:
        Whether there is anything to show.

    Raises:
        ConfigError: one of them cannot be made on this machine.
    """
    for name in forgeries:
        FORGERIES[name].require()
    rows = prepared.rows("train")
    partners = partners_of(rows, prepared.views)
    names, paths = (dict(zip(rows["content"], rows[key], strict=True)) for key in ("name", "path"))
    some = [*partners][:: max(1, len(partners) // _SHOWN)][:_SHOWN]
    if not some or not forgeries:
        return False

    def sections() -> Iterator[str]:
        for content in some:
            title, other = printable(names[content]), partners[content]
            try:
                sounds = [sound_of(data / paths[each]) for each in (content, other)]
            except MediaError as error:
                yield pages.section(title, "", note=f"Not decoded: {error}.")
                continue
            cells = [_cell("as it is", sounds[0])]
            cells += [_forged(name, *sounds) for name in forgeries]
            yield pages.section(
                title,
                f"<table><tr>{''.join(cells)}</tr></table>",
                note=f"What is of another file is of {printable(names[other])}.",
            )

    pages.write_page(
        page,
        title="Forged sounds",
        about=f"Data {prepared.fingerprint} · real training files, and the fakes made of them · "
        f"the first {_HEARD_S} s, with their mel spectrograms",
        body=sections(),
        style=_STYLE,
        has_media=True,
    )
    return True


def _forged(name: str, sound: Sound, other: Sound) -> str:
    title = f"{name}: {FORGERIES[name].what}"
    try:
        return _cell(title, FORGERIES[name].heard(sound, other))
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
