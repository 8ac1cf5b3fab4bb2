"""What numbers can depend on besides the recipe: the code, the versions, the platform."""

import hashlib
import importlib.metadata
import platform
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

PACKAGES = ("torch", "timm", "optuna", "mlflow", "librosa", "av", "opencv-python-headless", "numpy")

PACKAGE_FOLDER = Path(__file__).parents[1]


def environment_tags() -> dict[str, str]:
    """Return the versions of the libraries, Python and the platform, as tags of a run."""
    tags = {f"version.{name}": importlib.metadata.version(name) for name in PACKAGES}
    return {**tags, "python": platform.python_version(), "platform": platform.platform()}


def code_tags(package: Path = PACKAGE_FOLDER) -> dict[str, str]:
    """Return which code of this program runs, as tags of a run.

    Its version and a hash of its modules; where it runs from a checkout of its own, also the
    commit, and whether the modules differ from it. The folder that a person stands in, which may be
    another project's, says nothing about that.
    """
    tags = {"version.workbench": _version(), "code_hash": _hash(package)}
    # A package that is installed below somebody's checkout is not of that checkout. Git is not even
    # asked there: it runs what the configuration of a checkout names, which may be a stranger's.
    if not (package.parent / ".git").exists():
        return tags
    own = _git(package, "ls-files", "--error-unmatch", "__init__.py")
    if own and (commit := _git(package, "rev-parse", "HEAD")):
        tags["git_commit"] = commit
        changes = _git(package, "status", "--porcelain", "--", ".")
        tags["git_dirty"] = "true" if changes else "false"
    return tags


def describe_code(tags: Mapping[str, str]) -> str:
    """Return in a few words what `code_tags` says."""
    said = f"version {tags.get('version.workbench', 'unknown')}"
    if commit := tags.get("git_commit"):
        said += f", commit {commit[:12]}"
        said += " with uncommitted changes" if tags.get("git_dirty") == "true" else ""
    return f"{said} (code {tags.get('code_hash', 'unknown')})"


def _version() -> str:
    try:
        return importlib.metadata.version("workbench")
    except importlib.metadata.PackageNotFoundError:  # run from a folder that was never installed
        return "unknown"


def _hash(package: Path) -> str:
    whole = hashlib.sha256()
    for file in sorted(package.rglob("*.py")):
        whole.update(f"{file.relative_to(package).as_posix()}\n".encode())
        whole.update(hashlib.sha256(file.read_bytes()).digest())
    return whole.hexdigest()[:12]


def _git(folder: Path, *words: str) -> str:
    """Return what git says; nothing where it fails, or is not there."""
    if (git := shutil.which("git")) is None:
        return ""
    asked = subprocess.run(
        [git, "-C", str(folder), *words], capture_output=True, text=True, check=False
    )
    return asked.stdout.strip() if asked.returncode == 0 else ""
