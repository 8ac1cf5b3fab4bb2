import re
import tomllib
from html.parser import HTMLParser
from pathlib import Path

import plotly.graph_objects as go
import pytest
from plotly.offline import get_plotlyjs

from workbench import pages

ROOT = Path(__file__).parents[1]
EVIL = "<script>alert(1)</script>$title ${body}"


def written(folder: Path, **changes: object) -> str:
    path = folder / "page.html"
    said = {"title": "A < B", "about": "what it is", "body": ["<p>one</p>", "<p>two</p>"]}
    pages.write_page(path, **(said | changes))  # type: ignore[arg-type]
    return path.read_text(encoding="utf-8")


def policy(page: str) -> str:
    (found,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    return str(found)


def test_a_page_without_plots_runs_no_script(tmp_path: Path) -> None:
    page = written(tmp_path)
    assert "<script" not in page
    assert policy(page).startswith("default-src 'none'; style-src")
    assert "<title>A &lt; B</title>" in page
    assert "<h1>A &lt; B</h1>" in page
    assert "<p>one</p>\n<p>two</p>" in page
    assert not re.search(r"src=|href=|url\(|@import", page)


def test_a_page_with_plots_holds_what_draws_them_before_them(tmp_path: Path) -> None:
    drawn = pages.plot("one", go.Figure(layout={"height": 300}), least_width_px=700)
    page = written(tmp_path, body=[drawn], has_plots=True)
    assert page.count(get_plotlyjs()) == 1
    assert page.index(get_plotlyjs()) < page.index('id="plot-one"') < page.index("table.sortable")
    assert "script-src 'unsafe-inline' 'unsafe-eval'" in policy(page)
    assert "min-width:700px" in drawn


def test_own_style_comes_after_the_common_one(tmp_path: Path) -> None:
    style = tmp_path / "own.css"
    style.write_text("main { max-width: 7px; }\n", encoding="utf-8")
    page = written(tmp_path, style=style)
    assert page.index("max-width: 1240px") < page.index("max-width: 7px") < page.index("</style>")


def test_words_stay_text() -> None:
    parts = [
        pages.cards([(EVIL, EVIL, EVIL)]),
        pages.callout("note", EVIL, ""),
        pages.section(EVIL, "", note=EVIL),
    ]
    assert sum(part.count("&lt;script&gt;") for part in parts) == 6
    assert not any("<script>" in part for part in parts)


def test_a_page_shows_dollar_signs_as_they_are(tmp_path: Path) -> None:
    assert "<p>$title ${body}</p>" in written(tmp_path, body=["<p>$title ${body}</p>"])


@pytest.mark.parametrize("kind", ["good", "note", "warning"])
def test_each_kind_of_callout_has_its_colour(tmp_path: Path, kind: str) -> None:
    said = pages.callout(kind, "head", "<p>body</p>")  # type: ignore[arg-type]
    assert f"is-{kind}'" in said
    assert (f".is-{kind} {{" in written(tmp_path)) == (kind != "note")  # a note is grey as it is


def test_the_package_ships_each_of_its_files() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    globs = project["tool"]["setuptools"]["package-data"]["workbench"]
    package = ROOT / "workbench"
    shipped = {file for glob in ["**/*.py", *globs] for file in package.glob(glob)}
    files = {file for file in package.rglob("*") if file.is_file() and file.suffix != ".pyc"}
    assert files - shipped == set()
    assert {package / "page.html", package / "page.js"} <= shipped


HOSTILE = (
    "</script><script>alert(1)</script>",
    "\"><img src=x onerror='alert(1)'>",
    "'-alert(1)-'",
    "<!--<script>",
    "javascript:alert(1)",
    "</style></title></textarea>",
    "&lt;b&gt;\u2028\x00",
)


class Found(HTMLParser):
    """What a browser would make of a page: its elements, and what each script says."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.scripts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1] == "script" and self.scripts:
            self.scripts[-1] += data


@pytest.mark.parametrize("hostile", HOSTILE)
def test_what_strangers_wrote_makes_no_element_and_ends_no_script(
    tmp_path: Path, hostile: str
) -> None:
    def page(text: str) -> Found:
        figure = go.Figure(layout={"height": 300, "title": {"text": text}})
        figure.add_scatter(x=[text], y=[1], name=text, hovertext=text, customdata=[text])
        parts = [
            pages.plot("one", figure),
            pages.cards([(text, text, text)]),
            pages.callout("note", text, ""),
            pages.section(text, "", note=text),
        ]
        return Found(written(tmp_path, title=text, about=text, body=parts, has_plots=True))

    plain, evil = page("plain"), page(hostile)
    assert evil.tags == plain.tags
    assert evil.attributes == plain.attributes
    assert len(evil.scripts) == len(plain.scripts)
    assert not any(hostile in script for script in evil.scripts if "<" in hostile)
