"""What the bits of a training depend on besides its recipe and its files: machine and versions."""

import platform
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

import torch

from workbench.values import Frozen

_LIBRARIES = ("torch", "timm", "torchvision", "numpy", "opencv-python-headless")
"""Those that compute something in a training."""

_OF_PROCESSOR = ("vendor_id", "cpu family", "model", "stepping", "model name")


class Environment(Frozen):
    """Where something was trained. On a CPU, equal ones give equal bits."""

    processor: str
    """The CPU's make and model, and the instructions that torch uses of it."""

    num_threads: int
    """CPU threads of torch: they set the order of sums."""

    versions: dict[str, str]
    """Of the libraries that compute, with their local parts such as `+cpu`."""

    def differences(self, other: "Environment") -> list[str]:
        """Return what is another here than in `other`, each in a few words."""
        told = []
        if self.processor != other.processor:
            told.append(f"the processor {self.processor} in place of {other.processor}")
        if self.num_threads != other.num_threads:
            told.append(f"{self.num_threads} threads in place of {other.num_threads}")
        for name in sorted(self.versions.keys() | other.versions.keys()):
            here, there = (each.versions.get(name, "none") for each in (self, other))
            if here != there:
                told.append(f"{name} {here} in place of {there}")
        return told


def present_environment() -> Environment:
    """Return what is there now, with the threads that torch has now."""
    return Environment(
        processor=_processor(),
        num_threads=torch.get_num_threads(),
        versions={name: version(name) for name in _LIBRARIES},
    )


def _processor() -> str:
    """Return what tells one CPU from another; an emulated one may have a name that says little."""
    told: dict[str, str] = {}
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() in _OF_PROCESSOR:
                told.setdefault(key.strip(), value.strip())
    name = " ".join(told.get(key, "") for key in _OF_PROCESSOR).strip()
    capability = torch.backends.cpu.get_cpu_capability()
    return f"{name or platform.machine()}, {capability}"
