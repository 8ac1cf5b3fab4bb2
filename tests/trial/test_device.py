"""What is asked of a device: a CUDA device is named by its index and initialised first."""

import ast
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.trial.fake_cuda import FakeCuda, install
from workbench.trial import device, memory
from workbench.trial.device import ON_CPU, ON_CUDA, capabilities

PACKAGE = Path(__file__).parents[2] / "workbench"


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> FakeCuda:
    return install(monkeypatch)


def test_a_device_is_made_use_of_as_suits_its_kind() -> None:
    assert capabilities("cpu") == capabilities("meta") == ON_CPU
    assert capabilities("cuda") == capabilities(torch.device("cuda:1")) == ON_CUDA


@pytest.mark.parametrize("name", ["cuda", "cuda:0"])
@pytest.mark.parametrize(
    "ask",
    [
        lambda d: device.called(d),
        lambda d: device.gpu_has_bfloat16(d),
        lambda d: device.memory_of(d),
        lambda d: device.hold_to(d, 2**30),
        lambda d: device.forget_peak(d),
        lambda d: device.peak_bytes(d),
        lambda d: device.taken_bytes(d),
        lambda d: device.give_back(d),
        lambda d: device.wait_for(d),
        lambda d: device.random_state(d),
        lambda d: device.set_random_state(d, torch.zeros(16, dtype=torch.uint8)),
        lambda d: memory.limit(d, asked=2**30, share=1.0),
        lambda d: memory.limit(d, asked=None, share=0.5),
        lambda d: memory.to_count(d, asked=None, share=1.0),
    ],
)
def test_every_question_initialises_cuda_and_names_a_device_by_its_index(
    cuda: FakeCuda, name: str, ask: Callable[[Any], Any]
) -> None:
    for asked in (name, torch.device(name)):
        cuda.ready = False
        ask(asked)
        assert cuda.ready


def test_the_fake_refuses_what_torch_refuses(cuda: FakeCuda) -> None:
    with pytest.raises(ValueError, match="specified index"):
        torch.cuda.set_per_process_memory_fraction(0.5, torch.device("cuda"))
    with pytest.raises(RuntimeError, match="Invalid device argument"):
        torch.cuda.reset_peak_memory_stats("cuda:0")


def test_a_cpu_is_asked_nothing_of_cuda() -> None:
    # This test runs where there is no GPU, too: a call of torch.cuda would raise.
    assert device.called("cpu") == "cpu"
    assert device.peak_bytes("cpu") is None
    device.forget_peak("cpu")
    device.give_back("cpu")
    device.wait_for("cpu")
    state = device.random_state("cpu")
    drawn = torch.rand(3)
    device.set_random_state("cpu", state)
    assert torch.equal(torch.rand(3), drawn)


@pytest.mark.parametrize(
    ("asked", "share", "held", "limit"),
    [
        (None, 1.0, 1.0, FakeCuda.FREE),  # other processes have 16 of the 80 GiB
        (2**30, 1.0, 1 / 80, 2**30),
        (2**30, 0.25, 1 / 80, 2**30),
        # Besides tensors each process takes 600 MiB of its share.
        (None, 0.25, (20 * 1024 - 600) / (80 * 1024), 20 * 2**30),
        (2**40, 1.0, 1.0, FakeCuda.FREE),
    ],
)
def test_a_gpu_is_held_to_what_a_trial_may_take(
    cuda: FakeCuda, asked: int | None, share: float, held: float, limit: int
) -> None:
    assert memory.limit("cuda", asked=asked, share=share) == limit
    assert cuda.fraction == {0: pytest.approx(held)}


def test_memory_is_counted_where_running_out_kills_or_a_limit_is_asked_for(cuda: FakeCuda) -> None:
    assert memory.to_count("cuda", asked=None, share=0.5) is None
    assert memory.to_count("cuda", asked=2**30, share=0.5) == 2**30
    assert memory.to_count("cpu", asked=None, share=0.5) == memory.limit(
        "cpu", asked=None, share=0.5
    )


def test_torch_cuda_is_asked_in_one_module_alone() -> None:
    """A call elsewhere would again be one that no test without a GPU reaches."""
    elsewhere = {
        "searching/devices.py": {"is_available", "device_count"},
        "searching/packing.py": {"get_device_name", "synchronize"},
    }
    for file in PACKAGE.rglob("*.py"):
        name = file.relative_to(PACKAGE).as_posix()
        called = {
            node.attr
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "torch.cuda"
        }
        assert name == "trial/device.py" or called <= elsewhere.get(name, set()), name
