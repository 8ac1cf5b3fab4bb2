"""What is asked of torch about a device, and how a device is made use of, in one place.

`torch.cuda` answers some questions only once it was initialised, and some only about a device with
an index; everything that this package asks of it goes through here, so that both are always so.
"""

import os
from typing import NamedTuple

import torch
from torch import Tensor

from workbench.parts.optimizers import Steps
from workbench.values import Frozen

KEPT_SHARE = 0.25
"""Share of a GPU's free memory that resized pixels may take to stay on it."""

HOST_KEPT_BYTES = 4 * 2**30
"""The same for a CPU device, whose free memory other processes count on too."""


class Capabilities(Frozen):
    """How a device is made use of. But for rounding, none of it changes what a trial computes."""

    steps: Steps
    """How an optimizer's step goes over the parameters."""

    grouped_last: bool
    """Whether the channels of a network with grouped convolutions lie innermost at first, as those
    of all others do; see `parts.model.is_grouped`."""

    counts_memory: bool
    """Whether memory is counted before it is taken: where running out kills. Elsewhere it is met,
    and what fitted then is remembered."""

    by_clock: bool
    """Whether the clock decides what of a pass is done otherwise than at first; see `layout`."""


ON_CPU = Capabilities(steps="torch", grouped_last=True, counts_memory=True, by_clock=False)
ON_CUDA = Capabilities(steps="fused", grouped_last=False, counts_memory=False, by_clock=True)


class Memory(NamedTuple):
    """Bytes of a device."""

    free: int
    total: int


def capabilities(device: str | torch.device) -> Capabilities:
    """Return how `device` is made use of."""
    return ON_CUDA if is_cuda(device) else ON_CPU


def is_cuda(device: str | torch.device) -> bool:
    """Say whether `device` is one of CUDA's."""
    return torch.device(device).type == "cuda"


def called(device: str | torch.device) -> str:
    """Return what `device` is, for a person and for what is measured on it."""
    return torch.cuda.get_device_name(_index(device)) if is_cuda(device) else "cpu"


def gpu_has_bfloat16(device: str | torch.device) -> bool:
    """Say whether a GPU computes bfloat16 natively."""
    # Torch also says yes for older ones, on which it computes in float32 in between.
    major, _ = torch.cuda.get_device_capability(_index(device))
    return major >= 8 and torch.cuda.is_bf16_supported()


def memory_of(device: str | torch.device) -> Memory:
    """Return the bytes that a device has; of a CPU all count as free, since caches are given back.

    Those of a GPU that other processes take are not free.
    """
    if is_cuda(device):
        return Memory(*torch.cuda.mem_get_info(_index(device)))
    there = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return Memory(there, there)


def most_kept_bytes(device: str | torch.device) -> float:
    """Return the bytes of resized pixels that may stay on a device."""
    return KEPT_SHARE * memory_of(device).free if is_cuda(device) else HOST_KEPT_BYTES


def hold_to(device: str | torch.device, num_bytes: int) -> None:
    """Let this process take no more than `num_bytes` of a GPU's memory for tensors.

    Beyond that it runs out of memory, whatever else the device has.
    """
    index = _index(device)
    share = num_bytes / torch.cuda.mem_get_info(index)[1]
    torch.cuda.set_per_process_memory_fraction(min(1.0, max(0.0, share)), index)


def forget_peak(device: str | torch.device) -> None:
    """Count the most bytes that tensors take from now on; on a CPU nothing counts them."""
    if is_cuda(device):
        torch.cuda.reset_peak_memory_stats(_index(device))


def peak_bytes(device: str | torch.device) -> int | None:
    """Return the most bytes that tensors took since `forget_peak`; None on a CPU."""
    return torch.cuda.max_memory_allocated(_index(device)) if is_cuda(device) else None


def taken_bytes(device: str | torch.device) -> int:
    """Return the bytes that tensors take of a GPU now."""
    return torch.cuda.memory_allocated(_index(device))


def give_back(device: str | torch.device) -> None:
    """Give back what a GPU's allocator keeps of freed tensors."""
    if is_cuda(device):
        _index(device)
        torch.cuda.empty_cache()


def wait_for(device: str | torch.device) -> None:
    """Wait until `device` has done what it was asked to."""
    if is_cuda(device):
        torch.cuda.synchronize(_index(device))


def random_state(device: str | torch.device) -> Tensor:
    """Return the state of the generator that dropout draws from on `device`."""
    return torch.cuda.get_rng_state(_index(device)) if is_cuda(device) else torch.get_rng_state()


def set_random_state(device: str | torch.device, state: Tensor) -> None:
    """Set what `random_state` returned."""
    if is_cuda(device):
        torch.cuda.set_rng_state(state, _index(device))
    else:
        torch.set_rng_state(state)


def go_on_with(device: torch.device, state: Tensor, *, else_seed: int) -> None:
    """Go on with the random numbers of `state`, unless another kind of device drew them.

    `else_seed` is what they begin from then.
    """
    if len(state) == len(random_state(device)):
        set_random_state(device, state)
    else:
        torch.manual_seed(else_seed)


def _index(device: str | torch.device) -> int:
    """Return the index of a CUDA device, with CUDA initialised."""
    torch.cuda.init()
    index = torch.device(device).index
    return torch.cuda.current_device() if index is None else index
