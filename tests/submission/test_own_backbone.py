"""A backbone of the user's own goes into the bundle, scores there, and is trained again."""

import json
from pathlib import Path

import pandas as pd
import pytest

import workbench as wb
from tests.own_parts import BACKBONE
from tests.submission.made_study import make_study
from workbench.parts.plugins import Plugin
from workbench.submission.bundle import export
from workbench.submission.retrain import How, retrain

SOURCE = BACKBONE.replace("my_tiny", "my_net")
PLACE = "code/workbench/plugins/my_net.py"


@pytest.mark.slow
def test_a_bundle_holds_a_backbone_of_its_users_own(tmp_path: Path) -> None:
    plugin = Plugin(file="my_net.py", source=SOURCE)
    study = make_study(tmp_path / "study", backbone="my_net", plugins=(plugin,))
    bundle = export(study.folder, tmp_path / "bundle", allow_missing=True)
    assert (bundle.path / PLACE).read_text(encoding="utf-8") == SOURCE
    manifest = json.loads((bundle.path / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["files"][PLACE]["sha256"] == plugin.sha256
    assert f"| my_net, of its user's own | {PLACE} |" in (bundle.path / "README.md").read_text()

    # In a process that never saw the file itself.
    files = [study.data / "testset" / f"t{index}.mp4" for index in range(3)]
    scores = wb.predict(bundle.path, files)["y_pred"].tolist()
    exported = pd.read_csv(bundle.path / "predictions.csv").drop_duplicates("video_name")
    expected = exported.set_index("video_name")["y_pred"]
    assert scores == pytest.approx([expected[file.name] for file in files], abs=1e-5)
    assert len(set(scores)) == 3

    again = retrain(bundle.path, study.data, tmp_path / "again", How(store=tmp_path))
    assert again.ok, again.checks
