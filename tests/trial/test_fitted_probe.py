"""Trials that are probes: what they leave, and which features they compute."""

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file
from torch import Tensor

from tests.study.test_reaches_training import VIEWS, go_on, made_data
from tests.trial.pictures import prepare_pictures
from workbench.data.prepare import Prepared
from workbench.parts.example_inputs import example_inputs
from workbench.parts.joint import MeanOfProbabilities
from workbench.parts.methods import FeatureProbe
from workbench.parts.model import PictureReader
from workbench.parts.model_spec import ModelSpec
from workbench.parts.pack_spec import PackSpec
from workbench.parts.weights import RANDOM, Weights
from workbench.rules.judge import judge_spec
from workbench.rules.rulebook import Rulebook
from workbench.scoring.any_model import read_spec
from workbench.scoring.evaluator import Evaluator
from workbench.scoring.slices import Slice
from workbench.space.space import SampledConfig
from workbench.trial import frozen_features, memory, plots
from workbench.trial.frozen_features import FrozenFeatures
from workbench.trial.recipe import Objective, Recipe
from workbench.trial.result import TrialFolder
from workbench.trial.stored_on_device import stored_for
from workbench.trial.train import run_trial
from workbench.trial.training_spec import TrainingSpec

SIZES = {"train": 12, "val": 6, "test": 3}
BOOSTING = {"kind": "boosting", "num_trees": 5, "leaf_samples": 2}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return made_data(tmp_path_factory.mktemp("made"), SIZES)


@pytest.fixture(autouse=True)
def _without_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    for plot in ("write_roc", "write_pr"):
        monkeypatch.setattr(plots, plot, lambda *_: None)


def recipe_of(views: tuple[str, ...], method: dict[str, Any], **keys: Any) -> Recipe:
    tree = {"views": views, "backbone": "test_resnet", "image_px": 32, "method": method, **keys}
    draft = SampledConfig.model_validate(tree)
    return draft.recipe(data="made", views=VIEWS, weights=RANDOM, objective=Objective(), seed=0)


@pytest.mark.parametrize(
    "fit",
    [{"kind": "logistic"}, BOOSTING, {"kind": "noisy-or"}],
    ids=["logistic", "boosting", "noisy-or"],
)
def test_its_scores_are_those_of_the_evaluator_with_the_weights_that_it_leaves(
    prepared: Prepared, tmp_path: Path, fit: dict[str, Any]
) -> None:
    recipe = recipe_of(
        ("mel", "frames", "features"),
        {"kind": "probe", "fit": fit, "copies": 1},
        tta="hflip",
        augment={"pictures": {"self_blend": 0.5, "hflip": 0.5}},
    )
    result = run_trial(recipe, prepared, tmp_path, device="cpu", report=go_on)
    assert (result.state, len(result.epochs), result.best_epoch) == ("complete", 1, 1)
    assert result.ms_per_file is not None and result.ms_per_file > 0
    files, spec = TrialFolder(tmp_path), recipe.model
    model = spec.build()
    model.load_state_dict(load_file(files.weights))
    scores = pd.read_parquet(files.scores)
    for split in ("val", "test"):
        source = stored_for(Slice(split, prepared, prepared.rows(split)), spec, torch.device("cpu"))
        found = Evaluator(spec, model).scores(source, batch_size=4)
        kept = scores.loc[scores["slice"] == split, "score"]
        np.testing.assert_allclose(kept, found, atol=1e-6)


def test_memory_that_runs_out_halves_what_is_read_at_once(
    prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipe_of(("image",), {"kind": "probe", "copies": 1})
    whole = run_trial(recipe, prepared, tmp_path / "whole", device="cpu", report=go_on)
    read = PictureReader.forward

    def limited(reader: PictureReader, view: Tensor) -> Tensor:
        if len(view) > 5:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")
        return read(reader, view)

    monkeypatch.setattr(PictureReader, "forward", limited)
    result = run_trial(recipe, prepared, tmp_path / "small", device="cpu", report=go_on)
    assert (result.state, result.objective) == ("complete", whole.objective)


def test_more_features_than_fit_are_refused_with_what_to_do(
    prepared: Prepared, tmp_path: Path
) -> None:
    recipe = recipe_of(("features",), {"kind": "probe", "copies": 50})
    result = run_trial(
        recipe, prepared, tmp_path, device="cpu", report=go_on, memory_bytes=1_000_000
    )
    # 12 samples and 50 copies of each with 74 numbers of 28 bytes: 1.27 million.
    assert result.state == "failed"
    assert "74 features of 612 samples take about 1 MiB" in result.reason
    assert "sampling.subset" in result.reason
    enough = memory.plan(recipe, num_samples=12, device="cpu", limit_bytes=2_000_000, cache=None)
    assert enough.estimated_bytes == 12 * 51 * 74 * 28


def test_what_a_probe_does_not_read_makes_no_other_recipe() -> None:
    method = {"kind": "probe"}
    plain = recipe_of(("features",), method)
    assert plain.model.backbone == {} and plain.model.label == "logistic regression of features"
    other = recipe_of(
        ("features",),
        method,
        backbone="test_vit",
        image_px=64,
        num_epochs=9,
        batch_size=4,
        dropout=0.3,
        optimizer={"kind": "sgd", "lr": 0.1},
        augment={"mixup_alpha": 0.2},
    )
    assert other == plain and other.uid == plain.uid
    assert Recipe.model_validate_json(plain.model_dump_json()) == plain
    # With copies, the augmentation is read.
    copies = [
        recipe_of(("image",), {**method, "copies": 1}, augment={"pictures": {"hflip": p}})
        for p in (0.0, 0.5)
    ]
    assert copies[0].uid != copies[1].uid


def test_a_method_and_a_head_that_do_not_go_together_are_refused() -> None:
    recipe = recipe_of(("features",), {"kind": "probe"})
    tree = {**recipe.model_dump(), "training": {"optimizer": {"kind": "adam", "lr": 1e-3}}}
    with pytest.raises(ValidationError, match="head is logistic, and the training's method makes"):
        Recipe.model_validate(tree)
    with pytest.raises(ValidationError, match="`optimizer` is none"):
        TrainingSpec.model_validate({"optimizer": {"kind": "none"}})
    assert TrainingSpec.model_validate({"method": "probe"}).probe == FeatureProbe()


def test_the_rulebook_counts_frozen_backbones_and_the_head() -> None:
    verdict = judge_spec(Rulebook(), recipe_of(("features",), {"kind": "probe"}).model)
    # 74 weights and the constant; thop counts no mean and no scale of the 74 features.
    assert verdict.legal and (verdict.params_thop, verdict.params_true) == (75, 75 + 2 * 74)
    boosted = recipe_of(("features",), {"kind": "probe", "fit": {**BOOSTING, "depth": 2}}).model
    # Five trees of 3 splits, a feature and a threshold each, and 4 leaves; and the constant.
    assert judge_spec(Rulebook(), boosted).params_true == 5 * (2 * 3 + 4) + 1
    spec = recipe_of(("image",), {"kind": "probe"}).model
    network = sum(p.numel() for p in spec.build().readers.parameters())
    assert judge_spec(Rulebook(), spec).params_true == network + 3 * spec.build().widths[0] + 1


def test_a_pack_holds_probes_beside_networks() -> None:
    network = ModelSpec(
        views={"image": VIEWS["image"]}, backbone="test_resnet", weights=RANDOM, image_px=32
    )
    probes = [
        recipe_of(("features", "image"), {"kind": "probe", "fit": fit}).model
        for fit in ({"kind": "logistic"}, BOOSTING)
    ]
    joint = MeanOfProbabilities(weights=(0.5, 0.25, 0.25))
    pack = PackSpec(members=(network, *probes), joint=joint)
    counts = [judge_spec(Rulebook(), member).params_true for member in pack.members]
    assert judge_spec(Rulebook(), pack).params_true == sum(counts) + len(joint.weights)
    assert read_spec(pack.model_dump(mode="json")) == pack
    model = pack.build().eval()
    assert 0 < float(model(example_inputs(pack.views, 1))) < 1


class Passes:
    """Features of one spec, and how often they were computed."""

    def __init__(self, spec: ModelSpec, cache: Path) -> None:
        self.count = 0
        device = torch.device("cpu")
        self.features = FrozenFeatures(
            spec,
            spec.build().eval(),
            device,
            cache=cache,
            compute=self._compute,
            step=lambda: None,
        )

    def _compute(self, read: Callable[[int], Tensor], num_samples: int) -> Tensor:
        self.count += 1
        return read(num_samples)


def test_features_are_kept_for_the_same_pixels_and_weights(tmp_path: Path) -> None:
    pictures = prepare_pictures(tmp_path)
    known = Weights(source="local", name="test_resnet.made", sha256="0" * 64)
    spec = ModelSpec(
        views={"image": pictures.views["image"]},
        backbone="test_resnet",
        weights=known,
        image_px=32,
    )
    val = Slice("val", pictures, pictures.rows("val"))
    first, again = Passes(spec, tmp_path), Passes(spec, tmp_path)  # of other random weights
    features = first.features.of(val)
    assert features.shape == (8, 1, 1, spec.build().widths[0])
    assert torch.equal(again.features.of(val), features)
    assert (first.count, again.count) == (1, 0)
    # Other files, the same in another order: computed anew.
    again.features.of(Slice("val", pictures, val.rows.iloc[1:]))
    again.features.of(Slice("val", pictures, val.rows.iloc[::-1]))
    assert again.count == 2
    mirrored = Passes(spec.model_copy(update={"tta": "hflip"}), tmp_path)
    assert mirrored.features.of(val).shape[2] == 2
    mirrored.features.of(val, augmented=False)  # as they are: kept from before
    assert mirrored.count == 1
    residuals = Passes(spec.model_copy(update={"picture_input": "rgb+srm"}), tmp_path)
    assert not torch.equal(residuals.features.of(val), features)
    for file in (tmp_path / "features").iterdir():
        file.write_bytes(b"damaged")
    assert again.features.of(val).shape == features.shape
    assert again.count == 3


def test_kept_features_that_were_changed_or_are_of_other_files_are_computed_anew(
    tmp_path: Path,
) -> None:
    pictures = prepare_pictures(tmp_path)
    known = Weights(source="local", name="test_resnet.made", sha256="0" * 64)
    views = {"image": pictures.views["image"]}
    spec = ModelSpec(views=views, backbone="test_resnet", weights=known, image_px=32)
    val = Slice("val", pictures, pictures.rows("val"))
    turned = Slice("val", pictures, val.rows.iloc[::-1])
    passes = Passes(spec, tmp_path)
    features = passes.features.of(val)
    (file,) = (tmp_path / "features").iterdir()
    data = bytearray(file.read_bytes())
    data[-1] ^= 0x40  # another number, in a file that is whole
    file.write_bytes(data)
    assert torch.equal(passes.features.of(val), features)
    assert passes.count == 2
    passes.features.of(turned)
    (other,) = set((tmp_path / "features").iterdir()) - {file}
    other.write_bytes(file.read_bytes())
    assert not torch.equal(passes.features.of(turned), features)
    assert passes.count == 4


def test_features_of_random_weights_are_not_kept(prepared: Prepared, tmp_path: Path) -> None:
    spec = recipe_of(("image",), {"kind": "probe"}).model
    Passes(spec, tmp_path).features.of(Slice("val", prepared, prepared.rows("val")))
    assert not (tmp_path / "features").exists()


def test_what_the_tables_say_of_fakes_reaches_a_noisy_or_and_its_copies(
    prepared: Prepared, tmp_path: Path
) -> None:
    recipe = recipe_of(
        ("frames", "features"),
        {"kind": "probe", "fit": {"kind": "noisy-or"}, "copies": 1},
        augment={"pictures": {"self_blend": 1.0}},
    )
    weights = []
    for number, (sound, picture) in enumerate((("", ""), ("1", "0"), ("0", "1"))):
        is_fake = prepared.table["target"] == 1
        table = prepared.table.assign(
            **{
                "meta.sound_fake": np.where(is_fake, sound, ""),
                "meta.picture_fake": np.where(is_fake, picture, ""),
            }
        )
        folder = tmp_path / str(number)
        told = replace(prepared, table=table)
        assert run_trial(recipe, told, folder, device="cpu", report=go_on).state == "complete"
        weights.append(load_file(TrialFolder(folder).weights)["head.linear.weight"])
    assert not torch.equal(weights[0], weights[1])
    width = weights[0].shape[1] - 74
    of_picture, of_sound = weights[1][:, :width], weights[1][:, width:]
    assert not of_picture[0].any() and not of_sound[1].any()
    # Its fakes are heard alone; the blends, whose sound is real, are seen alone.
    assert of_picture[1].any() and of_sound[0].any()
    # And where fakes are seen alone, nothing is heard: no sound is fake.
    assert weights[2][0].abs().max() < 1e-3


def test_kept_features_that_are_none_are_computed_anew(tmp_path: Path) -> None:
    file = tmp_path / "0123.npy"
    found = torch.arange(6.0).reshape(3, 1, 1, 2)
    frozen_features._write(file, found)
    kept = frozen_features._read(file)
    assert kept is not None
    assert torch.equal(kept, found)
    whole = io.BytesIO()
    np.save(whole, np.array(["a"]).reshape(1, 1, 1, 1))
    deep = b"\x93NUMPY\x01\x00" + (2000).to_bytes(2, "little") + b"(" * 1999 + b"\n"
    said = b"{'descr': '<f4', 'fortran_order': False, 'shape': (9999999999, 9999, 9, 9), }"
    giant = b"\x93NUMPY\x01\x00" + (118).to_bytes(2, "little") + said.ljust(117) + b"\n"
    for data in (whole.getvalue(), deep, giant):
        file.write_bytes(frozen_features._digest(file, data) + data)
        assert frozen_features._read(file) is None
