"""Wheels that pip installs offline in a moment: each brings the packages that are installed here.

Pip, its index, and what it makes of an environment are real; only the code of the packages comes by
a line in a `.pth` file.
"""

import zipfile
from collections.abc import Mapping
from pathlib import Path

from workbench.submission.verify_environment import link_packages


def write_stub_wheels(versions: Mapping[str, str], folder: Path) -> Path:
    """Write a wheel of each package in its version into `folder`, and return that."""
    packages = folder / "packages"
    packages.mkdir(parents=True)
    link_packages(versions, packages)
    # Else the metadata of the linked packages would be found beside that of the wheels.
    for file in packages.glob("*.dist-info"):
        file.unlink()
    for name, version in versions.items():
        write_stub_wheel(name, version, packages, folder)
    return folder


def write_stub_wheel(name: str, version: str, packages: Path, folder: Path) -> None:
    """Write one wheel, which adds the folder `packages` to the import path."""
    stem = f"{name.replace('-', '_')}-{version}"
    info = f"{stem}.dist-info"
    files = {
        f"{stem}.pth": f"{packages.absolute()}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{file},,\n" for file in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(folder / f"{stem}-py3-none-any.whl", "w") as wheel:
        for file, text in {**files, f"{info}/RECORD": record}.items():
            wheel.writestr(file, text)
