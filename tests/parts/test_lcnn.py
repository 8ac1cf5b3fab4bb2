import torch

from tests.parts.declared import spectrogram
from workbench.parts.model import MediaModel
from workbench.parts.torchvision_fix import import_timm
from workbench.parts.weights import RANDOM
from workbench.rules.judge import judge_published
from workbench.rules.rulebook import Rulebook

VIEWS = {"lfcc": spectrogram(1, 60, 60, 1)}


def test_of_two_halves_of_the_channels_the_larger_is_kept() -> None:
    network = import_timm().create_model("lcnn")
    larger = network.layers[1]
    x = torch.tensor([[1.0, -2.0, 0.5, 3.0]])[..., None, None]
    assert larger(x).flatten().tolist() == [1.0, 3.0]


def test_it_reads_pictures_of_any_side_and_all_of_it_learns() -> None:
    torch.manual_seed(0)
    for image_px in (32, 60):
        model = MediaModel("lcnn", VIEWS, image_px=image_px, weights=RANDOM)
        logits = model({"lfcc": torch.rand(3, 1, 1, 60, 60)})
        assert (logits.shape, model.widths) == ((3, 2), (80,))
    logits.square().sum().backward()
    assert [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_the_rulebook_allows_it_and_sees_no_pretraining() -> None:
    verdict = judge_published(Rulebook(), "lcnn")
    assert (verdict.legal, verdict.pretraining) == (True, "none")
    assert verdict.params_true == verdict.params_thop
    assert verdict.params_true < 300_000
