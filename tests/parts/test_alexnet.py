import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.parts.declared import picture
from workbench.errors import ConfigError
from workbench.media.image import Image
from workbench.parts import backbones
from workbench.parts.model import MediaModel
from workbench.parts.pretrained import loader, resolve
from workbench.parts.torchvision_fix import import_timm
from workbench.parts.transfer import Transfer
from workbench.parts.weights import RANDOM
from workbench.rules.judge import judge_published
from workbench.rules.rulebook import Rulebook
from workbench.submission.bundle_code import code_for

NAME = "alexnet.tv_in1k"


@pytest.fixture(scope="module")
def published_state() -> dict[str, Tensor]:
    """Tensors named and shaped as in torchvision's own file."""
    import_timm()  # first: it mends what the next line would stumble over
    from torchvision.models import alexnet

    torch.manual_seed(0)
    state: dict[str, Tensor] = alexnet().state_dict()
    return state


def test_it_has_the_parameters_that_torchvision_publishes() -> None:
    with torch.device("meta"):
        model = import_timm().create_model("alexnet")
    assert sum(p.numel() for p in model.parameters()) == 61_100_840


def test_it_computes_what_torchvisions_own_does(published_state: dict[str, Tensor]) -> None:
    from torchvision.models import alexnet

    theirs = alexnet().eval()
    theirs.load_state_dict(published_state)
    ours = import_timm().create_model(NAME).eval()
    ours.load_state_dict(published_state)
    for image_px in (224, 160):
        images = torch.rand(2, 3, image_px, image_px)
        with torch.no_grad():
            torch.testing.assert_close(ours(images), theirs(images), rtol=0, atol=0)


def test_it_drops_out_as_torchvisions_own_does(published_state: dict[str, Tensor]) -> None:
    from torchvision.models import alexnet

    theirs, ours = alexnet().train(), import_timm().create_model(NAME).train()
    theirs.load_state_dict(published_state)
    ours.load_state_dict(published_state)
    images = torch.rand(1, 3, 64, 64)
    outputs = []
    for model in (theirs, ours):
        torch.manual_seed(1)
        outputs.append(model(images))
    torch.testing.assert_close(*outputs, rtol=0, atol=0)


@pytest.mark.parametrize("image_px", [64, 224, 312])
@pytest.mark.parametrize("in_chans", [1, 3])
def test_its_features_are_its_hidden_layers(image_px: int, in_chans: int) -> None:
    with torch.device("meta"):
        model = backbones.create(NAME, in_chans=in_chans, image_px=image_px, weights=RANDOM)
        assert model(torch.zeros(2, in_chans, image_px, image_px)).shape == (2, 4096)
    assert sum(p.numel() for p in model.parameters()) == (
        61_100_840 - 1000 * 4097 - (3 - in_chans) * 64 * 11 * 11
    )


def test_an_image_that_is_too_small_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"alexnet cannot take 32 px .*It was made for 224 px"):
        backbones.feature_width("alexnet", in_chans=3, image_px=32)


def test_torchvisions_file_loads_for_one_channel(
    tmp_path: Path, published_state: dict[str, Tensor]
) -> None:
    torch.save(published_state, tmp_path / f"{NAME}.pth")
    weights, _ = resolve("alexnet", "local", tmp_path)
    assert (weights.name, weights.pretraining) == (NAME, "in1k")
    model = backbones.create(
        "alexnet", in_chans=1, image_px=64, weights=weights, load=loader(tmp_path)
    )
    loaded = model.state_dict()
    first = "features.0.weight"
    torch.testing.assert_close(loaded[first], published_state[first].sum(1, keepdim=True))
    assert published_state.keys() - loaded.keys() == {"classifier.6.weight", "classifier.6.bias"}
    assert all(torch.equal(loaded[n], published_state[n]) for n in loaded if n != first)


def test_layers_nearer_the_image_learn_slower() -> None:
    model = MediaModel("alexnet", {"image": picture(1, 64, 64, 3)}, image_px=64, weights=RANDOM)
    groups = Transfer(layer_decay=0.5).groups(model, 0.0)
    scale = {id(p): group.get("lr_scale", 1.0) for group in groups for p in group["params"]}
    weights = [p for p in model.parameters() if p.ndim > 1]
    assert [scale[id(p)] for p in weights] == [0.5**i for i in (6, 5, 4, 3, 2, 1, 0)] + [1.0]


def test_the_rulebook_judges_it_by_its_tag() -> None:
    verdict = judge_published(Rulebook(), NAME)
    assert verdict.legal
    assert "saw ImageNet-1K" in verdict.sentence
    assert verdict.params_true == 61_100_840 - 1000 * 4097 + 2 * 4097


@pytest.mark.slow
def test_it_is_there_wherever_timm_is() -> None:
    code = (
        "from workbench.parts.torchvision_fix import import_timm\n"
        "print(import_timm().list_pretrained('alexnet*'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"['{NAME}']"
    assert done.stderr == ""


def test_only_a_bundle_of_it_carries_it() -> None:
    for backbone, is_carried in ((NAME, True), ("resnet18", False)):
        carried = code_for({Image}, [backbone]).files
        assert (Path("workbench/parts/alexnet.py") in carried) == is_carried
