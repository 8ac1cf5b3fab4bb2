"""Registered champions, loaded back by plain MLflow."""

import os
import subprocess
import sys
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.scoring.views import Numbers, spec_of
from tests.tracking.trials import start
from workbench.errors import StudyError
from workbench.scoring.served import FlatModel
from workbench.tracking.registry import ModelRegistry
from workbench.tracking.runs import Tracking

# isort: split
# MLflow after workbench.tracking, which turns its telemetry off before MLflow reads the setting.
import mlflow.pyfunc
import mlflow.pytorch
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

VIEWS = {"mel": Numbers(shape_=(1, 3, 2, 1)), "frames": Numbers(shape_=(2, 2, 2, 3))}
SPEC = spec_of(VIEWS, image_px=2)  # 6 + 24 values a row


class TwoViews(nn.Module):
    """Logits (0, logit) where logit is `scale` times the mean of one view less the other's."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(scale))

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        gap = inputs["mel"].mean((1, 2, 3, 4)) - inputs["frames"].mean((1, 2, 3, 4))
        return torch.stack([torch.zeros_like(gap), self.scale * gap], dim=1)


def rows(seed: int, count: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 30), dtype=np.uint8)


def promote(registry: ModelRegistry, trial: str, model: nn.Module, name: str) -> str:
    return registry.register_champion(
        name,
        model=model,
        example=np.zeros((2, 30), np.uint8),
        run_id=trial,
        pip_requirements=["torch"],
        tags={"uid": "abc"},
        description="The best of two.",
    )


@pytest.fixture(scope="module")
def registry(tracking: Tracking) -> ModelRegistry:
    return ModelRegistry(tracking.store.root)


@pytest.fixture
def plain_mlflow(tracking: Tracking) -> Iterator[None]:
    """MLflow as another program would use it: only the address of the store is set."""
    mlflow.set_tracking_uri(tracking.store.uri)
    yield
    mlflow.set_tracking_uri(None)  # type: ignore[arg-type]


@pytest.mark.usefixtures("plain_mlflow")
def test_a_champion_loads_by_plain_mlflow_and_moves_to_the_next_version(
    registry: ModelRegistry, client: MlflowClient, trial: str
) -> None:
    first = FlatModel(SPEC, TwoViews(8.0).train())
    assert promote(registry, trial, first, "net") == "1"
    assert first.training  # the model given is left as it is
    assert first.model.scale.requires_grad

    version = client.get_model_version_by_alias("net", "champion")
    assert (version.run_id, version.tags, version.description) == (
        trial,
        {"uid": "abc"},
        "The best of two.",
    )
    where = Path(mlflow.artifacts.download_artifacts("models:/net@champion"))
    assert not list(where.glob("*.json"))  # an example of a video's rows takes 100 MB of text
    signature = mlflow.models.get_model_info("models:/net@champion").signature
    assert signature.inputs.to_dict() == [
        {"type": "tensor", "tensor-spec": {"dtype": "uint8", "shape": (-1, 30)}}
    ]
    assert signature.outputs.inputs[0].shape == (-1,)
    for count in (1, 2, 5):  # not only the batch of the example
        batch = rows(count, count)
        expected = first(torch.from_numpy(batch)).detach().numpy()
        assert 0 < expected.min() < expected.max() < 1 or count == 1
        scored = mlflow.pyfunc.load_model("models:/net@champion").predict(batch)
        np.testing.assert_array_equal(scored, expected)
        loaded = mlflow.pytorch.load_model("models:/net@champion")
        np.testing.assert_array_equal(loaded(torch.from_numpy(batch)).numpy(), expected)

    second = FlatModel(SPEC, TwoViews(-8.0))
    assert promote(registry, trial, second, "net") == "2"
    assert str(client.get_model_version_by_alias("net", "champion").version) == "2"
    scored = mlflow.pyfunc.load_model("models:/net@champion").predict(rows(0, 3))
    np.testing.assert_array_equal(scored, second(torch.from_numpy(rows(0, 3))).detach().numpy())
    older = mlflow.pyfunc.load_model("models:/net/1").predict(rows(0, 3))
    np.testing.assert_allclose(scored + older, 1, atol=1e-6)  # sigmoid(-x) = 1 - sigmoid(x)


def test_the_alias_goes_to_no_version_that_is_another_model_or_lacks_its_weights(
    registry: ModelRegistry, client: MlflowClient, trial: str, capsys: pytest.CaptureFixture[str]
) -> None:
    registry.register_champion(
        "tagged",
        model=nn.Linear(3, 1),
        example=np.zeros((2, 3), np.float32),
        run_id=trial,
        pip_requirements=["torch"],
        tags={"workbench.uid": "abc"},
        description="",
    )
    assert registry.set_champion("tagged", "abc", "") == "1"
    client.set_model_version_tag("tagged", "1", "workbench.uid", "def")
    assert registry.set_champion("tagged", "def", "") is None
    assert "Version 1 of tagged" in (said := capsys.readouterr().err)
    assert "it is recipe def, and its logged model is abc" in said

    client.set_model_version_tag("tagged", "1", "workbench.uid", "abc")
    assert registry.set_champion("tagged", "abc", "") == "1"
    source = client.get_model_version("tagged", "1").source
    about = Path(unquote(urlparse(source).path)) / "MLmodel"
    text, held = about.read_text(), f"m-{'0' * 32}"
    own = next(line for line in text.splitlines() if line.startswith("model_uuid: m-"))
    about.write_text(text.replace(own, f"model_uuid: {held}"))  # of an exchanged folder
    assert registry.set_champion("tagged", "abc", "") is None
    assert f"has the files of another model, {held}. Put" in capsys.readouterr().err
    about.write_text(text)
    assert registry.set_champion("tagged", "abc", "") == "1"

    weights = about.with_name("data") / "model.pt2"
    weights.write_bytes(b"")
    assert registry.set_champion("tagged", "abc", "") is None
    weights.unlink()
    assert registry.set_champion("tagged", "abc", "") is None
    assert not capsys.readouterr().err


def test_the_alias_goes_to_no_version_of_an_earlier_study_of_that_name(
    registry: ModelRegistry, client: MlflowClient, tracking: Tracking
) -> None:
    # One whose folder was removed by hand may have trained the same recipe to other weights.
    runs = [
        start(tracking, tracking.open_study("again", study_id=study_id, tags={}))
        for study_id in ("first", "second")
    ]
    tags = {"workbench.uid": "abc"}
    registry.register_champion(
        "again",
        model=nn.Linear(3, 1),
        example=np.zeros((2, 3), np.float32),
        run_id=runs[0],
        pip_requirements=["torch"],
        tags=tags,
        description="",
    )
    assert registry.set_champion("again", "abc", "second") is None
    source = str(client.get_model_version("again", "1").source)
    client.create_model_version("again", source, runs[1], tags=tags)
    for version, study_id in (("1", "first"), ("2", "second")):
        assert registry.set_champion("again", "abc", study_id) == version
    # Nor to one of other weights, where it tells them, of the same study.
    assert registry.set_champion("again", "abc", "first", "a" * 64) == "1"
    client.set_model_version_tag("again", "1", "workbench.weights_sha256", "a" * 64)
    for weights, found in (("a" * 64, "1"), ("", "1"), ("b" * 64, None)):
        assert registry.set_champion("again", "abc", "first", weights) == found
    client._tracking_client.store._hard_delete_run(runs[1])  # as `mlflow gc` does
    assert registry.set_champion("again", "abc", "second") is None


class FrozenPart(nn.Module):
    """Channels last and partly without gradients, as a model for images may well be."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 4, 2)
        self.head = nn.Linear(4, 2)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        with torch.set_grad_enabled(False):
            features = self.features(inputs["frames"].flatten(0, 1)).mean((2, 3))
        logits: Tensor = self.head(features.unflatten(0, (-1, 2)).mean(1))
        return logits


@pytest.mark.usefixtures("plain_mlflow")
def test_a_model_with_a_frozen_part_is_registered_without_a_warning(
    registry: ModelRegistry, trial: str
) -> None:
    model = FlatModel(SPEC, FrozenPart())
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        promote(registry, trial, model, "frozen")
    scored = mlflow.pyfunc.load_model("models:/frozen@champion").predict(rows(0, 5))
    expected = model(torch.from_numpy(rows(0, 5))).detach().numpy()
    np.testing.assert_allclose(scored, expected, atol=1e-6)
    assert np.ptp(scored) > 1e-3


LOAD_ELSEWHERE = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "workbench":
            raise ImportError("this package is not installed here")

sys.meta_path.insert(0, Absent())
import mlflow.pyfunc, numpy, torch
torch.cuda.is_available = lambda: True  # as on a machine whose default device is not the CPU
mlflow.set_tracking_uri(sys.argv[1])
model = mlflow.pyfunc.load_model("models:/elsewhere@champion")
print(model.predict(numpy.full((1, 30), 255, numpy.uint8)).tolist())
"""


@pytest.mark.slow
def test_a_champion_loads_without_this_package_without_pickle_and_beside_a_gpu(
    registry: ModelRegistry, tracking: Tracking, trial: str, tmp_path: Path
) -> None:
    promote(registry, trial, FlatModel(SPEC, TwoViews(8.0)), "elsewhere")
    env = {**os.environ, "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}
    done = subprocess.run(
        [sys.executable, "-I", "-c", LOAD_ELSEWHERE, tracking.store.uri],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env=env,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[0.5]"  # both views are white, so the logits are equal


def test_a_study_with_a_dot_in_its_name_is_registered_by_that_name(
    registry: ModelRegistry, client: MlflowClient, trial: str
) -> None:
    promote(registry, trial, FlatModel(SPEC, TwoViews(8.0)), "net-2.1")
    assert client.get_model_version_by_alias("net-2.1", "champion").run_id == trial


class Harm:
    def __init__(self, sign: Path) -> None:
        self.sign = sign

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.sign,)


@pytest.mark.parametrize("member", ["data/sample_inputs/model.pt", "data/weights/weight_0"])
@pytest.mark.usefixtures("plain_mlflow")
def test_a_pickle_put_into_a_stored_model_is_refused_where_mlflow_is_told_to(
    registry: ModelRegistry,
    client: MlflowClient,
    trial: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    member: str,
) -> None:
    # What SECURITY.md tells those to set who load a model of a store that others write to.
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    name = f"tampered-{member.rpartition('/')[2]}"
    promote(registry, trial, FlatModel(SPEC, TwoViews(8.0)), name)
    version = client.get_model_version_by_alias(name, "champion")
    stored = Path(unquote(urlparse(version.source).path)) / "data" / "model.pt2"
    with zipfile.ZipFile(stored) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    (place,) = [path for path in members if path.endswith(member)]
    torch.save((Harm(tmp_path / "harm"),), tmp_path / "evil.pt")
    members[place] = (tmp_path / "evil.pt").read_bytes()
    for path, content in members.items():
        if path.endswith("weights_config.json"):
            unpickled = b'"use_pickle": true' if "weights" in member else b'"use_pickle": false'
            members[path] = content.replace(b'"use_pickle": false', unpickled)
    with zipfile.ZipFile(stored, "w") as archive:
        for path, content in members.items():
            archive.writestr(path, content)
    with pytest.raises(MlflowException, match="pickle is disallowed"):
        mlflow.pyfunc.load_model(f"models:/{name}@champion")
    assert not (tmp_path / "harm").exists()


def test_an_example_of_one_row_is_refused(registry: ModelRegistry, trial: str) -> None:
    with pytest.raises(StudyError, match="2 or more rows, and this one has 1"):
        registry.register_champion(
            "net",
            model=FlatModel(SPEC, TwoViews(8.0)),
            example=np.zeros((1, 30), np.uint8),
            run_id=trial,
            pip_requirements=["torch"],
            tags={},
            description="",
        )
