"""A CUDA that a CPU can pretend to have: each call checks its arguments as torch does.

Torch asks for an index in some calls, takes a device without one in others, and answers nothing
about memory before CUDA was initialised; a test on a CPU shall see all three.
"""

from typing import Any

import pytest
import torch
from torch import Tensor


class FakeCuda:
    """One GPU of 80 GiB of which 16 are taken."""

    FREE, TOTAL = 64 * 2**30, 80 * 2**30

    def __init__(self) -> None:
        self.ready = False
        self.fraction: dict[int, float] = {}
        self.capability = (9, 0)
        self.peaks_forgotten = 0
        self.given_back = 0

    def init(self) -> None:
        self.ready = True

    def current_device(self) -> int:
        self.init()
        return 0

    def get_device_name(self, device: Any = None) -> str:
        self._optional(device)
        return "Fake H100"

    def get_device_capability(self, device: Any = None) -> tuple[int, int]:
        self._optional(device)
        return self.capability

    def is_bf16_supported(self) -> bool:
        return True

    def mem_get_info(self, device: Any = None) -> tuple[int, int]:
        self._optional(device)
        return self.FREE, self.TOTAL

    def set_per_process_memory_fraction(self, fraction: float, device: Any = None) -> None:
        if not isinstance(fraction, float):
            raise TypeError("Invalid type for fraction argument, must be `float`")
        if not 0 <= fraction <= 1:
            raise ValueError(f"Invalid fraction value: {fraction}. Allowed range: 0~1")
        self.fraction[self._strict(device)] = fraction

    def reset_peak_memory_stats(self, device: Any = None) -> None:
        self._strict(device)
        if not self.ready:
            raise RuntimeError("Invalid device argument: did you call init?")
        self.peaks_forgotten += 1

    def max_memory_allocated(self, device: Any = None) -> int:
        self._optional(device)
        return 5 if self.ready else 0

    def memory_allocated(self, device: Any = None) -> int:
        self._optional(device)
        return 3 if self.ready else 0

    def empty_cache(self) -> None:
        if not self.ready:
            raise AssertionError("nothing was ever kept")
        self.given_back += 1

    def synchronize(self, device: Any = None) -> None:
        self._optional(device)

    def get_rng_state(self, device: Any = "cuda") -> Tensor:
        self._optional(device)
        return torch.zeros(16, dtype=torch.uint8)

    def set_rng_state(self, state: Tensor, device: Any = "cuda") -> None:
        self._optional(device)
        if len(state) != 16:
            raise RuntimeError("RNG state is wrong size")

    @staticmethod
    def _optional(device: Any) -> int:
        """Return the index as torch's functions do that take a device without one."""
        if device is None or isinstance(device, int):
            return device or 0
        device = torch.device(device)
        if device.type != "cuda":
            raise ValueError(f"Expected a cuda device, but got: {device}")
        return int(device.index or 0)

    @staticmethod
    def _strict(device: Any) -> int:
        """Return the index as those do that want one."""
        if isinstance(device, str):
            device = torch.device(device)
        if isinstance(device, torch.device) and device.index is None:
            raise ValueError(
                "Expected a torch.device with a specified index or an integer, but got:"
                + str(device)
            )
        return FakeCuda._optional(device)


def install(monkeypatch: pytest.MonkeyPatch) -> FakeCuda:
    """Let `torch.cuda` be a fake one until the test ends."""
    fake = FakeCuda()
    for name in dir(fake):
        if not name.startswith("_") and callable(getattr(fake, name)):
            monkeypatch.setattr(torch.cuda, name, getattr(fake, name))
    return fake
