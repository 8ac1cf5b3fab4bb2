"""What one decides from, as the page shows it."""

import re
import shutil
from pathlib import Path

import pytest
from plotly.offline import get_plotlyjs

from tests.report.sliced import COPIES, EVIL_GENERATOR, GENERATORS, make_sliced
from tests.report.test_report import Page
from tests.selection.studies import MadeStudy
from workbench import pages
from workbench.media.excerpts import Excerpt
from workbench.report import mistakes
from workbench.report.page import write_report
from workbench.selection.summary import summarise


def write(study: MadeStudy, path: Path | None = None) -> str:
    path = path or study.folder.report
    write_report(study.folder, study.rows, study.objective, path)
    return path.read_text(encoding="utf-8").replace(get_plotlyjs(), "")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> MadeStudy:
    return make_sliced(tmp_path_factory.mktemp("sliced"), num_trials=3, evil=True)


@pytest.fixture(scope="module")
def text(study: MadeStudy) -> str:
    return write(study)


@pytest.fixture(scope="module")
def page(text: str) -> Page:
    return Page(text)


def test_sections_come_in_the_order_in_which_one_decides(text: str) -> None:
    titles = re.findall(r"<h2>(.*?)</h2>", text)
    assert titles[:9] == [
        "Champion and rivals",
        "Slices",
        "Degraded copies",
        "Calibration",
        "Cost",
        "Most confident mistakes",
        "What would change the decision",
        "Best trials",
        "Optimisation history",
    ]
    assert text.index("<span class='badge'>Decision</span>") < text.index("<h2>")


def test_the_table_of_slices_has_a_row_a_trial(page: Page) -> None:
    head = next(cells for cells in page.cells if cells and cells[:2] == ["trial", "worst"])
    assert len(head) == 2 + 1 + len(GENERATORS) + len(COPIES)
    assert head[2] == "val"
    start = page.cells.index(head) + 1
    rows = page.cells[start : start + 3]
    assert {row[0].split()[0] for row in rows} == {"0", "1", "2"}
    for row in rows:
        values = [float(cell) for cell in row[2:]]
        assert float(row[1]) == min(values)


def test_the_objectives_slices_are_marked(text: str) -> None:
    assert len(re.findall(r"class='number slice of-objective' title='val'", text)) == 1
    assert len(re.findall("of-objective' title=", text)) == 1


def test_mistakes_can_be_looked_at_and_listened_to(page: Page) -> None:
    sources = [(tag, a["src"]) for tag, a in page.tags if "src" in a]
    assert len(sources) == mistakes.MOST_EXCERPTS
    kinds = {"video": "data:video/mp4;", "audio": "data:audio/mp4;", "img": "data:image/jpeg;"}
    for tag, source in sources:
        assert source is not None
        assert source.startswith(f"{kinds[tag]}base64,")
    (policy,) = (a["content"] or "" for _, a in page.tags if a.get("http-equiv"))
    assert "media-src data:" in policy


def test_a_strangers_slice_makes_no_element(text: str, page: Page) -> None:
    assert EVIL_GENERATOR not in text
    assert "\\u003cimg" not in text
    assert "onerror" not in {name for _, attributes in page.tags for name in attributes}


def test_the_same_study_gives_the_same_page(study: MadeStudy, text: str, tmp_path: Path) -> None:
    minute = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC")
    again = write(study, tmp_path / "again.html")
    assert minute.sub("", again) == minute.sub("", text) != text


def test_a_page_for_others_holds_no_media(text: str) -> None:
    bare = pages.without_media(text)
    assert "base64" not in bare
    players = [tag for tag, _ in Page(text).tags if tag in ("img", "video", "audio")]
    # An empty player looks like one that is broken.
    assert players and not re.search("<(img|video|audio)", bare)
    assert bare.count("not handed on with this page") == len(players)
    assert bare.count("<figcaption>") == text.count("<figcaption>") == len(players)


def test_names_stand_alone_where_the_media_are_gone(tmp_path: Path) -> None:
    study = make_sliced(tmp_path, num_trials=2)
    shutil.rmtree(tmp_path / "data")
    text = write(study)
    assert "src='data:" not in text
    assert text.count("the file is not there any more") == mistakes.MOST_EXCERPTS
    assert re.search(r"<figcaption><b>(fake|real), scored", text)


def test_a_page_keeps_to_its_size(study: MadeStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    large = Excerpt("video/mp4", bytes(mistakes.MOST_BYTES // 2))
    monkeypatch.setattr(mistakes, "_excerpts", lambda files: dict.fromkeys(files, large))
    text = mistakes.mistakes_section(
        study.folder, *summarise(study.folder, study.rows, study.objective)
    )
    assert text.count("<video src='data:") == 2
    assert text.count("would grow too large") == mistakes.MOST_EXCERPTS - 2


def test_what_frames_say_stands_below_a_mistake(
    study: MadeStudy, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "its frames alone" not in text  # the model hears, or its weights are no weights

    def frames_told(_: object, recipe: str, files: dict[str, Path]) -> dict[str, str]:
        assert recipe in {row.recipe for row in study.rows}
        return dict.fromkeys(list(files)[:1], "0.5 s 0.91")

    monkeypatch.setattr(mistakes, "frames_told", frames_told)
    section = mistakes.mistakes_section(
        study.folder, *summarise(study.folder, study.rows, study.objective)
    )
    assert section.count("<br>its frames alone: 0.5 s 0.91<br>") == 1
