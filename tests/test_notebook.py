"""What a notebook shows, with a stand-in for IPython: no notebook runs here."""

import sys
from types import ModuleType, SimpleNamespace

import pytest

from workbench import console, notebook
from workbench.searching import live
from workbench.searching.live import SearchView, Standing


class Outputs:
    """The outputs of a cell, each with all that was shown in it, one after the other."""

    def __init__(self) -> None:
        self.shown: list[list[str]] = []

    def display(self, data: dict[str, str], *, raw: bool, display_id: bool) -> "Output":
        assert raw and display_id
        self.shown.append([data["text/plain"]])
        return Output(self.shown[-1])


class Output:
    def __init__(self, shown: list[str]) -> None:
        self._shown = shown

    def update(self, data: dict[str, str], *, raw: bool) -> None:
        assert raw
        self._shown.append(data["text/plain"])


def put_in_place(patch: pytest.MonkeyPatch, shell: object) -> Outputs:
    outputs = Outputs()
    for name, members in (
        ("IPython", {"get_ipython": lambda: shell}),
        ("IPython.display", {"display": outputs.display}),
    ):
        module = ModuleType(name)
        module.__dict__.update(members)
        patch.setitem(sys.modules, name, module)
    return outputs


@pytest.fixture
def outputs(monkeypatch: pytest.MonkeyPatch) -> Outputs:
    return put_in_place(monkeypatch, SimpleNamespace(kernel=None))


def test_neither_a_script_nor_ipython_at_a_terminal_is_a_notebook(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not notebook.in_notebook()
    put_in_place(monkeypatch, SimpleNamespace())
    assert not notebook.in_notebook()
    console.say("to the terminal")
    assert capsys.readouterr() == ("", "to the terminal\n")


def test_what_is_said_is_no_error_in_a_notebook(
    outputs: Outputs, capsys: pytest.CaptureFixture[str]
) -> None:
    assert notebook.in_notebook()
    console.say("done\x1b[1m")
    assert capsys.readouterr() == ("done\\u001b[1m\n", "")


def test_a_progress_bar_is_one_output_that_changes_and_goes(
    outputs: Outputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notebook, "SHOWN_EVERY_S", 0.0)
    assert list(console.track("ab", "decode", unit="file", total=2)) == ["a", "b"]
    assert outputs.shown == [["decode: 0 of 2 files", "decode: 1 of 2 files", ""]]


def test_a_search_is_one_output_that_changes_and_goes(
    outputs: Outputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = [1, 2]

    def situation() -> Standing:
        return Standing(
            name="tiny",
            num_trials=4,
            complete=tried.pop(0),
            pruned=0,
            failed=0,
            paused=0,
            best="",
            in_flight=[],
            here=0,
            seconds=1.0,
            importances=[],
        )

    with SearchView(situation) as view:
        view.update()
        view.update()  # a moment later: hundreds of trials may say something in a second
        monkeypatch.setattr(live, "SHOWN_EVERY_S", 0.0)
        view.update()
    [[first, second, last]] = outputs.shown
    assert first.startswith("tiny: 1 of 4 trials (1 complete)")
    assert second.startswith("tiny: 2 of 4 trials (2 complete)")
    assert last == ""


def test_plain_text_keeps_its_letters_as_html() -> None:
    assert "&lt;b&gt; &amp;" in notebook.preformatted("<b> &")
