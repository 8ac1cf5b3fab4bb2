from pathlib import Path
from types import SimpleNamespace

import pytest

from workbench.data import measured
from workbench.data.measured import Measured
from workbench.errors import DiskFullError

ABOUT = {"backbone": "resnet18", "views": [(1, 32, 32, 3)], "image_px": 32}


def test_what_was_kept_is_known_to_another_process(tmp_path: Path) -> None:
    one = Measured(tmp_path / "new", "memory")
    assert one.get(ABOUT) is None
    one.keep(ABOUT, {"sample": 5})
    one.keep({**ABOUT, "image_px": 64}, {"sample": 20})
    other = Measured(tmp_path / "new", "memory")
    assert other.get(ABOUT) == {"sample": 5}
    assert other.get({**ABOUT, "image_px": 64}) == {"sample": 20}
    assert other.get({**ABOUT, "image_px": 96}) is None
    assert Measured(tmp_path / "new", "packing").get(ABOUT) is None


def test_a_line_that_a_kill_cut_short_is_written_over(tmp_path: Path) -> None:
    known = Measured(tmp_path, "memory")
    known.keep(ABOUT, 1)
    [file] = tmp_path.glob("*.jsonl")
    with file.open("a") as torn:
        torn.write('{"key": "0')
    assert known.get(ABOUT) == 1
    known.keep({}, 2)
    assert (known.get(ABOUT), known.get({})) == (1, 2)


def test_a_changed_byte_makes_it_unknown_and_never_another_value(tmp_path: Path) -> None:
    known = Measured(tmp_path, "counts")
    known.keep(ABOUT, {"exact": 11_689_512, "networks": {"frames": 11_689_512}})
    [file] = tmp_path.glob("*.jsonl")
    whole = file.read_bytes()
    value = known.get(ABOUT)
    for at in range(len(whole)):
        for bit in (0, 2):
            file.write_bytes(bytes([*whole[:at], whole[at] ^ 1 << bit, *whole[at + 1 :]]))
            assert known.get(ABOUT) in (None, value)
    known.keep(ABOUT, value)
    assert known.get(ABOUT) == value


def test_without_a_folder_nothing_is_kept() -> None:
    nowhere = Measured(None, "memory")
    nowhere.keep(ABOUT, 1)
    assert nowhere.get(ABOUT) is None


def test_a_full_disk_is_told_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path) -> SimpleNamespace:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(measured, "appending", full)
    with pytest.raises(OSError, match="No space"):  # it has some: another error
        Measured(tmp_path, "memory").keep(ABOUT, 1)
    monkeypatch.setattr(measured, "no_space", lambda folder: True)
    with pytest.raises(DiskFullError, match=r"measured-memory.jsonl was not written"):
        Measured(tmp_path, "memory").keep(ABOUT, 1)
