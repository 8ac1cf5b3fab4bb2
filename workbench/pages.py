"""Pages: single HTML files of one look that hold all they show and load nothing."""

import re
from base64 import b64encode
from collections.abc import Iterable
from html import escape
from pathlib import Path
from string import Template
from typing import Any, Literal

from workbench.files import write_text

LAYOUT = {
    "template": "none",
    "paper_bgcolor": "white",
    "plot_bgcolor": "white",
    "font": {"family": "system-ui, sans-serif", "size": 12, "color": "#1c2430"},
    "hoverlabel": {"align": "left"},
}
"""What the plots of all pages have in common."""

AXIS = {"gridcolor": "#eef0f3", "zeroline": False, "linecolor": "#c4c8cf"}
"""The same of their axes."""

LEGEND = {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0}
"""In a row above a plot."""

_BASE = Path(__file__).with_name("page.html")
_SCRIPT = Path(__file__).with_name("page.js")
_CONFIG = {
    "displaylogo": False,
    "responsive": True,
    # The first two would upload the data; the others say little here, and cover the legend.
    "modeBarButtonsToRemove": [
        *("sendChartToCloud", "sendDataToCloud"),
        *("select2d", "lasso2d", "zoomIn2d", "zoomOut2d", "autoScale2d"),
    ],
    "plotlyServerURL": "",
}


def write_page(
    path: Path,
    *,
    title: str,
    about: str,
    body: Iterable[str],
    style: Path | None = None,
    has_plots: bool = False,
    has_media: bool = False,
) -> None:
    """Write a page.

    Args:
        path: The page.
        title: Its name, plain text.
        about: The line below, plain text.
        body: Its parts, HTML, one below the other; two neighbours of class `half` stand side by
            side where there is room.
        style: CSS that only this kind of page needs.
        has_plots: Whether it gets what draws `plot`s and sorts a `table.sortable`; without, no
            script runs in it.
        has_media: Whether it may play videos and sounds that it holds.
    """
    allowed = "media-src data:; " if has_media else ""
    head = foot = ""
    if has_plots:
        from plotly.offline import get_plotlyjs

        # The plots' WebGL compiles code.
        allowed += "script-src 'unsafe-inline' 'unsafe-eval'; "
        head = f"<script>{get_plotlyjs()}</script>\n"
        foot = f"<script>\n{_SCRIPT.read_text(encoding='utf-8')}</script>\n"
    page = Template(_BASE.read_text(encoding="utf-8")).substitute(
        title=escape(title),
        about=escape(about),
        style=style.read_text(encoding="utf-8") if style else "",
        body="\n".join(body),
        allowed=allowed,
        head=head,
        foot=foot,
    )
    write_text(path, page)


def cards(shown: Iterable[tuple[str, str, str]]) -> str:
    """Return numbers side by side, each with a label above and one below; all plain text."""
    each = (
        f"<div class='card'><div class='label'>{escape(label)}</div>"
        f"<div class='value'>{escape(value)}</div><div class='label'>{escape(below)}</div></div>"
        for label, value, below in shown
    )
    return f"<div class='cards'>\n{chr(10).join(each)}\n</div>"


def callout(kind: Literal["good", "note", "warning"], heading: str, body: str) -> str:
    """Return `body`, HTML, with a plain heading, in the colour of its kind."""
    said = f"<span class='badge'>{escape(heading)}</span>{body}"
    return f"<div class='callout is-{kind}'>{said}</div>"


def section(title: str, body: str, *, note: str = "", is_half: bool = False) -> str:
    """Return `body`, HTML, below a plain title and note."""
    said = f"<p class='note'>{escape(note)}</p>" if note else ""
    kind = " class='half'" if is_half else ""
    return f"<section{kind}><h2>{escape(title)}</h2>{said}{body}</section>"


def player(mime: str, data: bytes, title: str) -> str:
    """Return a picture, a video or a sound that the page itself holds; `title` is plain text."""
    source = f"src='data:{mime};base64,{b64encode(data).decode()}' title='{escape(title)}'"
    if mime.startswith("image/"):
        return f"<img {source} alt=''>"
    tag = "video" if mime.startswith("video/") else "audio"
    return f"<{tag} {source} controls preload='metadata'></{tag}>"


def without_media(page: str) -> str:
    """Return a page with a note in place of each player; all that it says of them stays."""
    note = "<p class='note'>not handed on with this page: it is a file of the data</p>"
    data = r"src='data:[a-z]+/[a-z0-9]+;base64,[A-Za-z0-9+/=]*' title='[^']*'"
    return re.sub(rf"<img {data} alt=''>|<(video|audio) {data}[^>]*></\1>", note, page)


def plot(name: str, figure: Any, *, least_width_px: int = 0, has_buttons: bool = False) -> str:
    """Return a Plotly figure; `name` is its id in the page.

    Where the page is narrower than `least_width_px`, the plot scrolls sideways.
    """
    drawn = figure.to_html(
        full_html=False,
        include_plotlyjs=False,
        div_id=f"plot-{name}",
        default_height=f"{figure.layout.height}px",
        config=_CONFIG if has_buttons else _CONFIG | {"displayModeBar": False},
    )
    return f"<div class='wide'><div style='min-width:{least_width_px}px'>{drawn}</div></div>"
