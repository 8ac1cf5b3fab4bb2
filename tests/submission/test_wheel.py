"""The wheel in a bundle: the program that runs, as any installer takes it."""

import base64
import csv
import hashlib
import io
import subprocess
import sys
import sysconfig
import venv
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest

from workbench.errors import BundleError
from workbench.submission.bundle import Bundle
from workbench.submission.bundle_code import PACKAGE
from workbench.submission.wheel import write_wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_wheel(tmp_path_factory.mktemp("wheel"))


def test_it_holds_the_modules_that_run_and_what_they_read(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        for name in ("workbench/trial/train.py", "workbench/submission/train.py.txt"):
            assert archive.read(name) == (PACKAGE.parent / name).read_bytes()
    modules = {path.relative_to(PACKAGE.parent).as_posix() for path in PACKAGE.rglob("*.py")}
    assert modules <= names
    assert {f"workbench/{name}" for name in ("py.typed", "parts/leaderboard.csv")} <= names
    assert not [name for name in names if "__pycache__" in name or name.endswith(".pyc")]


def test_its_record_has_the_hash_of_every_other_file(wheel: Path) -> None:
    place = f"workbench-{version('workbench')}.dist-info"
    with zipfile.ZipFile(wheel) as archive:
        record = archive.read(f"{place}/RECORD").decode()
        rows = {name: (digest, size) for name, digest, size in csv.reader(io.StringIO(record))}
        assert rows.keys() == set(archive.namelist())
        assert rows.pop(f"{place}/RECORD") == ("", "")
        for name, (digest, size) in rows.items():
            data = archive.read(name)
            kind, _, encoded = digest.partition("=")
            wanted = base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))
            assert (kind, wanted) == ("sha256", hashlib.sha256(data).digest())
            assert int(size) == len(data)


def test_the_same_files_make_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    assert write_wheel(tmp_path).read_bytes() == wheel.read_bytes()


def test_a_program_that_was_never_installed_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workbench.submission.wheel.PACKAGE", Path("/nowhere/not_installed"))
    with pytest.raises(BundleError, match=r"never installed.*pip install -e"):
        write_wheel(tmp_path)


@pytest.mark.slow
def test_pip_installs_it_without_a_network_and_train_py_asks_for_it(
    bundle: Bundle, tmp_path: Path
) -> None:
    venv.create(tmp_path / "env", with_pip=False, symlinks=True)
    python = tmp_path / "env" / "bin" / "python"
    # The libraries that this one has; its own packages come before them.
    site = next((tmp_path / "env" / "lib").glob("python*/site-packages"))
    (site / "libraries.pth").write_text(sysconfig.get_path("purelib"))
    train = [str(python), str(bundle.path / "train.py"), "--help"]
    clean = {"PATH": "", "OMP_NUM_THREADS": "1"}

    def run(*words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            words, cwd=tmp_path, env=clean, capture_output=True, text=True, check=False
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done

    wanted = next(bundle.path.glob("*.whl"))
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-index"]
    run(*install, "--no-deps", "--disable-pip-version-check", str(wanted))
    said = run(str(python.with_name("workbench")), "--version").stdout
    assert said == f"workbench {version('workbench')}\n"
    where = "import workbench; print(workbench.__file__)"
    assert Path(run(str(python), "-c", where).stdout.strip()).is_relative_to(site)
    assert "Train a bundle's model again" in run(*train).stdout

    info = next(site.glob("workbench-*.dist-info/METADATA"))
    info.write_text(info.read_text().replace(f"Version: {version('workbench')}", "Version: 9.9.9"))
    refused = run(*train, code=1).stderr
    assert refused.startswith("error: workbench 9.9.9 is installed, and this bundle was made by")
    assert refused.count("\n") == 1
    assert not list(bundle.path.rglob("__pycache__"))
