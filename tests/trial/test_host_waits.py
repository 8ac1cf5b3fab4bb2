"""No step of an epoch waits for the device: questions are asked of it once, after the last step."""

from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from tests.trial.pictures import SIZES, recipe_for
from workbench.data.prepare import Prepared
from workbench.parts.augment import Augment, Pictures
from workbench.parts.losses import CrossEntropy, PairwiseAUC
from workbench.parts.optimizers import SGD, AdamW
from workbench.parts.transfer import Transfer
from workbench.trial import batches
from workbench.trial.memory import Plan
from workbench.trial.training import Training

DRAWN = Augment(
    # All but JPEG, which the CPU computes, and the policies, which may choose it by sample.
    pictures=Pictures(
        self_blend=0.5,
        hflip=0.5,
        rotation_deg=20,
        crop_scale=0.7,
        brightness=0.2,
        contrast=0.2,
        grayscale=0.2,
        blur=0.5,
        noise=0.5,
        rescale=0.5,
        erase=0.5,
    ),
    mixup_alpha=0.4,
    cutmix_alpha=0.4,
)
CHANGES: dict[str, dict[str, Any]] = {
    "plain": {},
    "sgd": {"optimizer": SGD(lr=0.1)},
    "balanced": {"loss": CrossEntropy(class_weights="balanced", label_smoothing=0.1)},
    "pairs and dropout": {"loss": PairwiseAUC(), "dropout": 0.3},
    "augmented": {"augment": DRAWN},
    "layers": {"transfer": Transfer(layer_decay=0.8)},
}
OF_GPUS = CHANGES | {
    "average": {"transfer": Transfer(ema_decay=0.9)},  # timm's wants a real device
    "bfloat16": {"precision": "bfloat16"},
}


def training_on(device: str, prepared: Prepared, plan: Plan, **changes: object) -> Training:
    usual: dict[str, object] = {"optimizer": AdamW(lr=1e-3), "batch_size": 4}
    recipe = recipe_for(prepared, **usual | changes)
    return Training(recipe, prepared, device=device, store=None, plan=plan, step=lambda share: None)


class Copies(TorchDispatchMode):
    """Counts what goes to tensors without contents, and what of it the host waits for."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.num = 0
        self.waited: list[tuple[int, ...]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if func.overloadpacket is torch.ops.aten._to_copy and out.is_meta and not args[0].is_meta:
            self.num += 1
            if not kwargs.get("non_blocking"):
                self.waited.append(tuple(out.shape))
        return out


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("micro_batch", [None, 2])
def test_a_device_without_numbers_is_never_asked_for_one_before_the_epoch_ends(
    pictures: Prepared, name: str, micro_batch: int | None
) -> None:
    # Tensors on "meta" have no contents: whatever a GPU would have to be waited for raises.
    plan = Plan(micro_batch=micro_batch)
    training = training_on("meta", pictures, plan, **CHANGES[name])
    with Copies() as copies, pytest.raises(RuntimeError, match="item"):
        training._learn(1)
    num_batches = batches.count_batches(SIZES["train"], 4)
    assert training._step == num_batches
    # Of each batch the places of its pixels and the targets, and what is drawn for it.
    assert copies.num == 2 * num_batches or (name == "augmented" and copies.num > 8 * num_batches)
    assert copies.waited == []


@pytest.mark.gpu
@pytest.mark.parametrize("name", OF_GPUS)
def test_no_step_of_an_epoch_waits_for_a_gpu(pictures: Prepared, name: str) -> None:
    training = training_on("cuda", pictures, Plan(), **OF_GPUS[name])
    training._learn(1)  # kernels are loaded, and states made, in the first steps
    torch.cuda.set_sync_debug_mode("error")
    try:
        with pytest.raises(RuntimeError, match="synchroniz"):
            training._learn(2)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    # The one question, of the mean loss, came after all steps of both epochs.
    assert training._step == 2 * batches.count_batches(SIZES["train"], 4)
