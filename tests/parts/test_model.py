from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.parts.declared import Declared, picture, spectrogram, vector
from workbench.errors import ConfigError
from workbench.parts import backbones
from workbench.parts.example_inputs import example_inputs
from workbench.parts.model import MediaModel
from workbench.parts.pretrained import loader, resolve
from workbench.parts.torchvision_fix import import_timm
from workbench.parts.weights import RANDOM

VIEWS = {"mel": spectrogram(1, 64, 64, 1), "frames": picture(3, 64, 64, 3)}


def model(**changes: object) -> MediaModel:
    torch.manual_seed(0)
    settings: dict[str, object] = {"image_px": 64, "weights": RANDOM} | changes
    views = settings.pop("views", VIEWS)
    return MediaModel("test_resnet", views, **settings)  # type: ignore[arg-type]


def noise(views: Mapping[str, Declared] = VIEWS, batch: int = 2) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    return {name: torch.rand_like(view) for name, view in example_inputs(views, batch).items()}


def test_two_views_give_two_logits_for_each_file() -> None:
    assert model()(noise(batch=5)).shape == (5, 2)


def test_example_inputs_have_the_shapes_the_model_reads() -> None:
    inputs = example_inputs(model().views, 4)
    assert {name: tuple(view.shape) for name, view in inputs.items()} == {
        "mel": (4, 1, 1, 64, 64),
        "frames": (4, 3, 3, 64, 64),
    }


def test_the_order_of_frames_does_not_matter_and_neither_do_copies() -> None:
    tested = model().eval()
    inputs = noise()
    expected = tested(inputs)
    shuffled = inputs | {"frames": inputs["frames"][:, [2, 0, 1]]}
    torch.testing.assert_close(tested(shuffled), expected)
    twice = inputs | {"frames": inputs["frames"].repeat(1, 2, 1, 1, 1)}
    torch.testing.assert_close(tested(twice), expected)


def test_features_are_averaged_over_frames_and_joined_over_views() -> None:
    tested = model().eval()
    inputs = noise()
    mel, frames = tested.readers["mel"], tested.readers["frames"]
    each = [frames(inputs["frames"][:, i : i + 1]) for i in range(3)]
    features = torch.cat([mel(inputs["mel"]), sum(each) / 3], dim=1)
    torch.testing.assert_close(tested(inputs), tested.head(features))


def test_every_view_matters() -> None:
    tested = model().eval()
    inputs = noise()
    expected = tested(inputs)
    for name in VIEWS:
        changed = inputs | {name: torch.zeros_like(inputs[name])}
        assert not torch.allclose(tested(changed), expected)


def test_normalisation_happens_inside() -> None:
    tested = model(views={"frames": picture(1, 64, 64, 3)}).eval()
    inputs = noise({"frames": picture(1, 64, 64, 3)})
    mean, std = backbones.preprocessing("test_resnet", RANDOM, 3)
    pixels = inputs["frames"][:, 0]
    normal = torch.stack([(pixels[:, i] - mean[i]) / std[i] for i in range(3)], dim=1)
    features = tested.readers["frames"].backbone(normal)  # type: ignore[operator]
    torch.testing.assert_close(tested(inputs), tested.head(features))


def test_views_of_another_size_are_resized_on_their_way_in() -> None:
    tested = model(views={"image": picture(1, 96, 48, 3)}).eval()
    grey = example_inputs({"image": picture(1, 96, 48, 3)}, 2)
    right_size = example_inputs({"image": picture(1, 64, 64, 3)}, 2)
    torch.testing.assert_close(tested(grey), tested(right_size))


def test_saved_weights_reproduce_the_outputs(tmp_path: Path) -> None:
    trained = model(dropout=0.5)
    trained(noise()).sum().backward()  # the batch statistics move
    with torch.no_grad():
        for parameter in trained.parameters():
            parameter.add_(torch.rand_like(parameter) * 0.01)
    state = {name: tensor.contiguous() for name, tensor in trained.state_dict().items()}
    save_file(state, tmp_path / "model.safetensors")
    torch.manual_seed(9)
    again = MediaModel("test_resnet", VIEWS, image_px=64, weights=RANDOM)
    result = again.load_state_dict(load_file(tmp_path / "model.safetensors"))
    assert not result.missing_keys
    assert not result.unexpected_keys
    torch.testing.assert_close(again.eval()(noise()), trained.eval()(noise()), rtol=0, atol=0)


def test_a_frozen_model_trains_its_head_alone() -> None:
    tested = model(frozen=True).train()
    before = {name: tensor.clone() for name, tensor in tested.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in tested.parameters() if p.requires_grad], lr=1.0)
    tested(noise()).square().sum().backward()
    optimizer.step()
    changed = {n for n, t in tested.state_dict().items() if not torch.equal(t, before[n])}
    assert changed == {"head.weight", "head.bias"}  # running statistics included
    assert tested.dropout.training
    for reader in tested.readers.values():
        assert not any(module.training for module in reader.modules())


def test_an_unfrozen_model_trains_everything() -> None:
    tested = model()
    tested(noise()).square().sum().backward()
    assert all(parameter.grad is not None for parameter in tested.parameters())


def test_weights_of_the_store_reach_every_view_and_without_a_loader_none_are_read(
    tmp_path: Path,
) -> None:
    torch.manual_seed(3)
    state = import_timm().create_model("test_resnet").state_dict()
    path = tmp_path / "test_resnet.r160_in1k.safetensors"
    save_file(state, path)
    weights, _ = resolve("test_resnet", "local", tmp_path)
    loaded = model(weights=weights, load=loader(tmp_path)).state_dict()
    for name in VIEWS:
        last = f"readers.{name}.backbone."
        mine = {key.removeprefix(last): t for key, t in loaded.items() if key.startswith(last)}
        same = [key for key in mine if torch.equal(mine[key], state[key])]
        assert len(mine) - len(same) == (name == "mel")  # the first convolution of one channel
    path.unlink()
    empty = model(weights=weights)
    assert empty.state_dict().keys() == loaded.keys()


def test_a_model_without_views_or_with_an_impossible_name_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least one view"):
        model(views={})
    for name in ("a.b", "keys", ""):
        with pytest.raises(ConfigError, match="No view can be called"):
            model(views={name: picture(1, 64, 64, 3)})


def test_a_vector_has_a_head_of_its_own_that_standardises_and_always_learns() -> None:
    views = {"frames": picture(1, 64, 64, 3), "features": vector(5)}
    tested = model(views=views, frozen=True).train()
    inputs = example_inputs(views, 8)
    assert inputs["features"].shape == (8, 5)
    inputs["features"] = torch.randn(8, 5)
    optimizer = torch.optim.SGD([p for p in tested.parameters() if p.requires_grad], lr=1.0)
    before = {name: tensor.clone() for name, tensor in tested.state_dict().items()}
    tested(inputs).square().sum().backward()
    optimizer.step()
    changed = {n for n, t in tested.state_dict().items() if not torch.equal(t, before[n])}
    assert changed
    assert all(name.startswith(("head.", "readers.features.")) for name in changed)
    # In units of its own: a vector a thousand times as large says the same in training.
    tested = model(views=views).train()
    larger = inputs | {"features": 1000 * inputs["features"] + 5}
    torch.testing.assert_close(tested(larger), tested(inputs), atol=1e-3, rtol=1e-3)


def test_a_model_may_read_vectors_alone() -> None:
    tested = model(views={"features": vector(5)}).eval()
    assert tested(example_inputs({"features": vector(5)}, 3)).shape == (3, 2)
    # Batch norm 2 * 5, layer 5 * 64 + 64, head 64 * 2 + 2.
    assert sum(p.numel() for p in tested.parameters()) == 10 + 384 + 130
