"""A new virtual environment with what a bundle requires, and nothing of this program."""

import json
import os
import re
import subprocess
import sys
import venv
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from workbench.console import cut_text, visible
from workbench.errors import BundleError

REQUIREMENTS = "requirements.txt"
_GUARD = "workbench_no_network"
_SOURCE = Path(__file__).with_name("no_network.py.txt")
_PIN = r"([A-Za-z0-9][A-Za-z0-9._-]*)==([0-9][A-Za-z0-9.!]*)"
_UNREACHABLE = re.compile(
    r"NewConnectionError|NameResolutionError|ConnectTimeout|ConnectionError|ProxyError"
    r"|ReadTimeout|Temporary failure in name resolution|SSLError|Network is unreachable"
)
_PROBE = """\
import importlib.metadata, importlib.util, json, sys
spec = importlib.util.find_spec("workbench")
print(json.dumps({
    "python": sys.version.split()[0],
    "versions": {d.name: d.version for d in importlib.metadata.distributions()},
    "project": str(spec.origin) if spec else "",
}))
"""


@dataclass(frozen=True)
class CleanEnvironment:
    """A virtual environment in which the network is closed to Python code."""

    python: Path
    said: str
    """How it was made, in a sentence."""

    version: str
    """Of its Python."""

    versions: Mapping[str, str]
    """Of its packages, by their normalised names; local parts such as `+cpu` are left out."""

    project: str
    """Where this program can be imported from there; empty if it cannot, as it should be."""

    @property
    def asked(self) -> list[str]:
        """Each address that something in it asked the network for."""
        log = self.python.parents[1] / "network-asked.txt"
        return log.read_text(encoding="utf-8").splitlines() if log.exists() else []


def read_requirements(bundle: Path) -> dict[str, str]:
    """Return the versions that a bundle requires, by package.

    Raises:
        BundleError: a line is anything but `NAME==VERSION`, which could install anything.
    """
    path = bundle / REQUIREMENTS
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise BundleError(f"{path} cannot be read. Export the bundle again.") from error
    found = {}
    for number, line in enumerate(lines, 1):
        match = re.fullmatch(_PIN, line.strip())
        if not match:
            raise BundleError(
                f"{path} line {number} is no NAME==VERSION: "
                f"'{visible(cut_text(line.strip(), 60))}'. Export the bundle again."
            )
        found[match[1]] = match[2]
    return found


def make_environment(
    place: Path, bundle: Path, *, wheels: Path | None = None, is_linked: bool = False
) -> CleanEnvironment:
    """Return a new virtual environment in the folder `place`.

    Args:
        place: The folder to make.
        bundle: The bundle, which was found to be whole.
        wheels: A folder of wheels, which then are all that is installed; else the package index.
        is_linked: Take the packages of the present environment in their place: those that the
            bundle requires and what they need, and neither this program nor anything else.

    Raises:
        BundleError: it cannot be made; says what to do.
    """
    requirements = read_requirements(bundle)
    try:
        venv.EnvBuilder(symlinks=os.name != "nt", with_pip=False).create(place)
    except (OSError, subprocess.SubprocessError) as error:
        raise BundleError(f"No virtual environment can be made in {place}: {error}.") from error
    python = place / "bin" / "python"
    (site,) = place.glob("lib/python*/site-packages")
    if is_linked:
        num_packages = link_packages(requirements, site)
        said = (
            f"made of {num_packages} packages of the present environment, those that the bundle "
            "requires and what they need; this program is hidden"
        )
    else:
        _install(python, bundle / REQUIREMENTS, wheels)
        source = f"the wheels in {wheels}" if wheels else "the package index"
        said = f"new, installed by pip from {source}"
    (site / f"{_GUARD}.py").write_bytes(_SOURCE.read_bytes())
    (site / f"{_GUARD}.pth").write_text(f"import {_GUARD}\n", encoding="utf-8")
    return _looked_at(python, said)


def environment_of(home: Path) -> dict[str, str]:
    """Return the variables of programs in a clean environment: none of Python, another home."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return kept | {"HOME": str(home), "XDG_CACHE_HOME": str(home), "HF_HUB_OFFLINE": "1"}


def link_packages(names: Iterable[str], site: Path) -> int:
    """Link installed packages, and all that they need, into the folder `site`; return how many.

    Raises:
        BundleError: one is not installed, or was installed without a list of its files.
    """
    waiting, seen = deque(names), set[str]()
    while waiting:
        name = waiting.popleft()
        if canonicalize_name(name) in seen:
            continue
        seen.add(canonicalize_name(name))
        try:
            found = distribution(name)
        except (PackageNotFoundError, ValueError) as error:
            raise BundleError(
                f"{name}, which the bundle requires, is not installed here. Install it, or give a "
                "folder of wheels by --wheels."
            ) from error
        _link(found, site)
        for text in found.requires or []:
            needed = Requirement(text)
            if needed.marker is None or needed.marker.evaluate({"extra": ""}):
                waiting.append(needed.name)
    return len(seen)


def _link(found: Distribution, site: Path) -> None:
    if found.files is None:
        raise BundleError(
            f"{found.name} was installed here without a list of its files, so it cannot be taken "
            "alone. Give a folder of wheels by --wheels."
        )
    for top in sorted({file.parts[0] for file in found.files}):
        # Scripts lie elsewhere; a .pth file could add other folders.
        if top in ("..", "__pycache__") or top.startswith("/") or top.endswith(".pth"):
            continue
        target = Path(str(found.locate_file(top)))
        if target.exists() and not (site / top).exists():
            (site / top).symlink_to(target.absolute())


def _install(python: Path, requirements: Path, wheels: Path | None) -> None:
    """Install by the pip of the present environment, which can do so for another one."""
    if find_spec("pip") is None:
        raise BundleError(
            "There is no pip here, which makes the clean environment. Run `python -m ensurepip`, "
            "or take the present packages by --installed."
        )
    if wheels and not wheels.is_dir():
        raise BundleError(f"--wheels {wheels} is no folder. Name one that holds the wheels.")
    command: list[str | Path] = [
        sys.executable,
        "-I",
        "-m",
        "pip",
        "--python",
        python,
        "install",
        "--quiet",
    ]
    command += ["--no-input", "--disable-pip-version-check", "--retries", "1", "-r", requirements]
    if wheels:
        command += ["--no-index", "--only-binary=:all:", "--find-links", wheels.absolute()]
    done = subprocess.run(
        command, capture_output=True, text=True, errors="replace", check=False, cwd=python.parent
    )
    if not done.returncode:
        return
    if not wheels and _UNREACHABLE.search(done.stderr):
        raise BundleError(
            "The package index cannot be reached. Give a folder of wheels by --wheels, made where "
            f"there is a network by `pip download -r {requirements} -d DIR`, or take the packages "
            "of the present environment, this program hidden, by --installed."
        )
    errors = [line[6:].strip() for line in done.stderr.splitlines() if line.startswith("ERROR:")]
    why = visible(cut_text((errors or done.stderr.split("\n")[-2:-1] or ["?"])[-1], 300))
    raise BundleError(
        f"pip cannot install {requirements.name} ({why.rstrip('.')}). "
        + (
            f"Put the wheels for this Python and platform into {wheels}."
            if wheels
            else "Give a folder of wheels by --wheels, or the present packages by --installed."
        )
    )


def _looked_at(python: Path, said: str) -> CleanEnvironment:
    """Return what is in an environment, as its own Python tells."""
    done = subprocess.run(
        [python, "-I", "-B", "-c", _PROBE],
        capture_output=True,
        text=True,
        check=False,
        env=environment_of(python.parent),
        cwd=python.parent,
    )
    if done.returncode:
        why = visible(cut_text((done.stderr.strip().splitlines() or ["?"])[-1], 300))
        raise BundleError(f"The Python of the clean environment does not start ({why}).")
    told = json.loads(done.stdout)
    versions = {
        str(canonicalize_name(name)): str(number).partition("+")[0]
        for name, number in told["versions"].items()
    }
    return CleanEnvironment(python, said, told["python"], versions, told["project"])
