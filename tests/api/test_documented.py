"""The page and the notebook about Python, run as they stand; and a script as people write it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands import ENVIRONMENT
from tests.study.tiny import write_data, write_experiment

WAIT_S = 900.0
"""A safety net: on an idle core, none of these takes a minute."""

DOCS = Path(__file__).parents[2] / "docs"


def python(root: Path, file: str, *, given: str | None = None) -> str:
    """Run a script, or what is `given` on the standard input, to its end; return what it prints."""
    done = subprocess.run(
        [sys.executable, file],
        input=given,
        cwd=root,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_page_is_a_script_that_runs_without_a_guard(tmp_path: Path) -> None:
    text = (DOCS / "python.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)
    count = "with open('runs', 'a') as file:\n    file.write('run ')\n"
    (tmp_path / "script.py").write_text("\n".join([count, *blocks]), encoding="utf-8")
    write_data(tmp_path / "data")
    write_experiment(tmp_path, name="mine")
    said = python(tmp_path, "script.py")
    # Its workers did not run it again.
    assert (tmp_path / "runs").read_text() == "run "
    assert "Champion: trial 0" in said
    assert "2 complete, 0 pruned, 0 failed." in said
    assert "The rulebook of mine allows one network" in said
    assert (tmp_path / "history.html").exists()
    assert (tmp_path / "bundle" / "predictions.csv").exists()


@pytest.mark.slow
def test_a_search_runs_from_standard_input_within_an_event_loop(tmp_path: Path) -> None:
    write_data(tmp_path / "data")
    write_experiment(tmp_path)
    script = """\
import asyncio
import workbench as wb

async def main():
    return wb.search("experiments/tiny.yaml", data="data", trials=1, jobs=1, device="cpu")

study = asyncio.run(main())
print(study.num_new, study.trials["state"].tolist(), study.champion.number)
"""
    assert python(tmp_path, "-", given=script) == "1 ['complete'] 0\n"


@pytest.mark.slow
def test_the_notebook_runs_from_the_search_to_predictions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ipykernel", reason="the extra `test` brings Jupyter's kernel")
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # where it makes its folder
    book = nbformat.read(DOCS / "notebook.ipynb", as_version=4)
    nbclient.NotebookClient(
        book, timeout=WAIT_S, resources={"metadata": {"path": tmp_path}}
    ).execute()
    shown = [output for cell in book.cells for output in cell.get("outputs", ())]
    lines = "".join(output.text for output in shown if output.get("name") == "stdout")
    assert re.search(r"^trial [01] +complete +auc ", lines, flags=re.MULTILINE)
    html = [output.data["text/html"] for output in shown if "text/html" in output.get("data", ())]
    for expected in ("is promoted: it has", "Champion: trial 0", "8 predictions", "<iframe"):
        assert any(expected in one for one in html), expected
    assert any("application/vnd.plotly.v1+json" in output.get("data", ()) for output in shown)
    assert sum(output.get("data", {}).get("text/html") == "" for output in shown)  # the view, gone
    [project] = tmp_path.glob("workbench-*")
    assert (project / "bundle" / "predictions.csv").exists()
