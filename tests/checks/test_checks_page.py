import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.checks.made import FRAMES, MEL, MadeData, clean_data
from workbench.checks.checkup import run_checks
from workbench.checks.page import write_checks_page

HOSTILE = "<img src=x onerror=alert(1)>$name&amp;.mp4"


class Tags(HTMLParser):
    """Collects what a browser would see."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.in_script = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.in_script = tag in ("script", "style")

    def handle_endtag(self, tag: str) -> None:
        self.in_script = False

    def handle_data(self, data: str) -> None:
        if not self.in_script:
            self.text += data


def page_of(data: MadeData, folder: Path, *, short: bool = True) -> Tags:
    prepared = data.prepared(folder, {"mel": MEL, "frames": FRAMES})
    found = run_checks(data.manifest(), prepared, data.facts(), short=short)
    write_checks_page(found, folder / "page.html", title=HOSTILE, prepared=prepared)
    page = Tags()
    page.feed((folder / "page.html").read_text(encoding="utf-8"))
    return page


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Tags:
    data = clean_data(train=60, val=40, test=30)
    for file in data.of("train")[:3]:
        data.add_copy(file, "val", exact=False)
    data.of("train")[0].name = HOSTILE
    data.unnamed.append(("test", f"testset/{HOSTILE}"))
    return page_of(data, tmp_path_factory.mktemp("planted"), short=False)


def test_findings_come_with_their_remedies_and_files(planted: Tags) -> None:
    text = planted.text
    assert "3 groups of files look and sound the same in different splits" in text
    assert text.index("Keep each in one split only") < text.index("Shortcut probe")
    assert "The first" not in text
    assert "Files (all 3)" in text


def test_copies_are_shown_by_picture_and_sound(planted: Tags) -> None:
    images = [attributes for tag, attributes in planted.tags if tag == "img"]
    assert [image["alt"] for image in images] == ["frames", "mel"] * 6
    assert all(str(i["src"]).startswith("data:image/jpeg;base64,/9j/") for i in images)


def test_names_of_strangers_stay_text(planted: Tags) -> None:
    assert HOSTILE in planted.text
    assert not [attributes for _, attributes in planted.tags if "onerror" in attributes]


def test_the_page_loads_nothing(planted: Tags) -> None:
    policy = [a["content"] for tag, a in planted.tags if tag == "meta" and "http-equiv" in a]
    assert str(policy[0]).startswith("default-src 'none'")
    for tag, attributes in planted.tags:
        assert tag not in ("link", "iframe")
        assert not str(attributes.get("src", "data:")).startswith("http")
        assert "href" not in attributes


def test_the_numbers_are_there(planted: Tags) -> None:
    for title in ("Splits", "File size", "Duration", "How easy val is", "Shift between splits"):
        assert title in planted.text
    assert re.search(r"train – val\s*0\.\d{3}", planted.text)


def test_a_clean_data_set_is_told_so(tmp_path: Path) -> None:
    page = page_of(clean_data(train=60, val=40, test=30), tmp_path)
    assert "nothing found" in page.text
    assert "Not looked at" in page.text  # it was a short checkup
    assert not [tag for tag, _ in page.tags if tag == "img"]
