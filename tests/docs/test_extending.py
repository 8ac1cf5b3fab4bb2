"""The changes that docs/extending.md shows: each applies, and what it adds works."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from pydantic import TypeAdapter

from tests.study.tiny import THREE, write_data, write_experiment
from workbench.parts.backbones import feature_width
from workbench.parts.losses import AnyLoss, Loss
from workbench.parts.plugins import Plugin

ROOT = Path(__file__).parents[2]

USED = """
from pathlib import Path
import numpy as np
import torch
import workbench
from workbench.data.prepare import Prepared
from workbench.media.views import NoisePrint
from workbench.parts.losses import Brier
from workbench.rules.rulebook import Rulebook
from workbench.rules.subject import Counts, Subject
from workbench.scoring.slices import slices_of
from workbench.searching.logging_runner import LoggingRunner
from workbench.searching.options import RunOptions
from workbench.searching.start import run_search
from workbench.workspace import Workspace

if __name__ == "__main__":
    assert Path(workbench.__file__).parent.parent == Path("changed").resolve()
    logits = torch.tensor([[0.0, 0.0], [0.0, 0.0]])
    assert Brier()(logits, torch.tensor([1.0, 0.5])).item() == 0.125
    made = NoisePrint(image_px=16).of_file(Path("data/trainset/train0.png"))
    assert made.array.shape == (1, 1, 16, 16, 3)
    assert 100 < made.array.mean() < 156
    rule = Rulebook(max_gmacs=1.0).rules[-1]
    for macs, ok in ((900_000_000, True), (1_100_000_000, False)):
        subject = Subject(counts=Counts(thop=1, true=1, macs=macs), starts=())
        assert rule.check(subject).ok is ok
    options = RunOptions(num_trials=1, data=Path("data"), jobs=1, device="cpu")
    outcome = run_search(
        Path("experiments/tiny.yaml"), Workspace(Path.cwd()), options, make_runner=LoggingRunner
    )
    assert outcome.num_new == 1
    assert "trial 0 of tiny" in Path("experiments/started.log").read_text()
    small, large = (
        slices_of(Prepared.load(outcome.folder.path))[f"size.{name}"] for name in ("small", "large")
    )
    assert len(small.rows) + len(large.rows) == 16
    assert len(large.rows) and small.rows["size_bytes"].max() < large.rows["size_bytes"].min()
"""


def test_the_file_of_own_parts_brings_what_the_page_says() -> None:
    page = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
    (source,) = re.findall(r"^```python\n(.*?)^```$", page, flags=re.MULTILINE | re.DOTALL)
    assert Plugin(file="my_parts.py", source=source).brings == "brier, small_net"
    loss: Loss = TypeAdapter(AnyLoss).validate_python({"kind": "brier", "power": 1})
    # One sure and right, one even: 0 and 1/2.
    assert loss(torch.tensor([[0.0, 99.0], [0.0, 0.0]]), torch.tensor([1.0, 0.0])).item() == 0.25
    assert feature_width("small_net", in_chans=1, image_px=64) == 64


@pytest.mark.slow
def test_every_change_applies_and_what_it_adds_works(tmp_path: Path) -> None:
    changed = tmp_path / "changed"
    shutil.copytree(ROOT / "workbench", changed / "workbench")
    page = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
    changes = re.findall(r"^```diff\n(.*?)^```$", page, flags=re.MULTILINE | re.DOTALL)
    assert len(changes) == 5
    for change in changes:
        subprocess.run(
            ["git", "apply", "--recount"], cwd=changed, input=change, text=True, check=True
        )
    write_data(tmp_path / "data")
    write_experiment(tmp_path, THREE)
    (tmp_path / "used.py").write_text(USED, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(changed), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "used.py"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
