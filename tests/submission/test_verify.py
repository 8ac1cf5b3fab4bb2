import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from tests.submission.made_study import MadeStudy
from workbench.errors import BundleError
from workbench.files import hash_file
from workbench.submission.bundle import Bundle
from workbench.submission.verify import check_bundle, run_predict


def test_an_untouched_bundle_passes_wherever_it_lies(own_bundle: Path) -> None:
    assert check_bundle(own_bundle).trial == 7


@pytest.mark.parametrize(
    "name", ["predictions.csv", "model.safetensors", "code/workbench/media/views.py"]
)
def test_one_changed_byte_is_caught_and_named(own_bundle: Path, name: str) -> None:
    path = own_bundle / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(BundleError, match=f"{name} is not the exported file"):
        check_bundle(own_bundle)


def test_a_missing_file_is_named(own_bundle: Path) -> None:
    (own_bundle / "recipe.json").unlink()
    with pytest.raises(BundleError, match=r"recipe\.json is missing"):
        check_bundle(own_bundle)


@pytest.mark.parametrize("name", ["code/timm.py", "notes.txt", "code/workbench/__pycache__/x.py"])
def test_a_file_too_many_is_named(own_bundle: Path, name: str) -> None:
    (own_bundle / name).parent.mkdir(exist_ok=True)
    (own_bundle / name).write_text("")
    with pytest.raises(BundleError, match=f"{name} does not belong"):
        check_bundle(own_bundle)


def test_a_link_is_refused_even_to_the_same_bytes(own_bundle: Path, tmp_path: Path) -> None:
    shutil.move(own_bundle / "predict.py", tmp_path / "elsewhere.py")
    (own_bundle / "predict.py").symlink_to(tmp_path / "elsewhere.py")
    with pytest.raises(BundleError, match=r"predict\.py is a link"):
        check_bundle(own_bundle)


def test_a_folder_without_a_manifest_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="is no bundle"):
        check_bundle(tmp_path)


@pytest.mark.parametrize("text", ["{", "[]", '{"study": "made"}', "\x00"])
def test_an_unreadable_manifest_is_refused(own_bundle: Path, text: str) -> None:
    (own_bundle / "manifest.json").write_text(text)
    with pytest.raises(BundleError, match=r"manifest\.json"):
        check_bundle(own_bundle)


def test_the_bundles_own_code_runs_and_stale_bytecode_does_not(
    own_bundle: Path, bundle: Bundle, study: MadeStudy, tmp_path: Path
) -> None:
    # Code that differs from this checkout, with its new hash in the manifest: only the bundle's own
    # could name the column so.
    api = own_bundle / "code/workbench/submission/api.py"
    api.write_text(api.read_text().replace("contents.score_column), *rows", '"own"), *rows'))
    manifest = json.loads((own_bundle / "manifest.json").read_text())
    record = {"sha256": hash_file(api), "size_bytes": api.stat().st_size}
    manifest["files"]["code/workbench/submission/api.py"] = record
    (own_bundle / "manifest.json").write_text(json.dumps(manifest))
    stale = own_bundle / "code/workbench/__pycache__/errors.cpython-311.pyc"
    stale.parent.mkdir()
    stale.write_bytes(b"not bytecode")

    names = ["t2.mp4", "empty.mp4", "t0.mp4"]
    files = [study.data / "testset" / name for name in names]
    run_predict(own_bundle, files, tmp_path / "out.csv")
    scores = pd.read_csv(tmp_path / "out.csv")
    assert scores.columns.tolist() == ["video_name", "own"]
    assert scores["video_name"].tolist() == names
    stored = pd.read_csv(bundle.path / "predictions.csv").drop_duplicates("video_name")
    wanted = stored.set_index("video_name")["y_pred"][names]
    assert scores["own"].tolist() == pytest.approx(wanted.tolist(), abs=1e-5)
    check_bundle(own_bundle)


def test_a_changed_bundle_is_not_run(own_bundle: Path, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    (own_bundle / "predict.py").write_text(f"open({str(marker)!r}, 'w')")
    with pytest.raises(BundleError, match=r"predict\.py is not the exported file"):
        run_predict(own_bundle, [tmp_path / "clip.mp4"], tmp_path / "out.csv")
    assert not marker.exists()


def test_a_failed_run_is_an_error(
    own_bundle: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(BundleError, match="ended with exit code 1"):
        run_predict(own_bundle, [tmp_path / "clip.mp4"], tmp_path / "out.csv", "gpu")
    assert "'gpu' is no torch device" in capfd.readouterr().err
    assert not (tmp_path / "out.csv").exists()
