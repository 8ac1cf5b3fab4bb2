import os
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from workbench.data import rows as module
from workbench.data.rows import CHECKED, UNKNOWN, RowChecks, checksum
from workbench.errors import CacheError

ARRAY = np.arange(4 * 6, dtype=np.uint8).reshape(4, 2, 3)
SUMS = np.array([checksum(row) for row in ARRAY], np.int64)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "array.u8"
    path.write_bytes(ARRAY.tobytes())
    return path


def opened(file: Path, sums: npt.NDArray[np.int64] = SUMS) -> RowChecks:
    return RowChecks(np.memmap(file, np.uint8, mode="r", shape=ARRAY.shape), file, sums)


def spoil(file: Path, row: int) -> None:
    """Change the first byte of a row, and the time of the file by a second."""
    with file.open("r+b") as array:
        array.seek(row * 6)
        array.write(b"\xff")
    now = file.stat().st_mtime_ns + 10**9
    os.utime(file, ns=(now, now))


def test_the_checksum_is_the_crc_of_the_bytes() -> None:
    # The check value of CRC-32/ISO-HDLC.
    assert checksum(np.frombuffer(b"123456789", np.uint8)) == 0xCBF43926
    floats = np.array([[1.5, -2.0]], np.float32)
    assert checksum(floats) == checksum(np.frombuffer(floats.tobytes(), np.uint8))


@pytest.mark.parametrize(
    "key",
    [
        2,
        np.int64(1),
        [3, 1, 3],
        np.array([0, 2]),
        (np.array([1, 2]), np.array([0, 1])),
        slice(1, 3),
    ],
)
def test_rows_read_as_the_array_does(file: Path, key: object) -> None:
    np.testing.assert_array_equal(opened(file)[key], ARRAY[key])  # type: ignore[call-overload]
    assert (opened(file).shape, len(opened(file))) == ((4, 2, 3), 4)
    assert opened(file).dtype == np.uint8


def test_a_changed_row_is_refused_and_the_others_are_read(file: Path) -> None:
    (file.parent / CHECKED).write_text("{}")
    spoil(file, 2)
    rows = opened(file)
    np.testing.assert_array_equal(rows[[0, 1, 3]], ARRAY[[0, 1, 3]])
    with pytest.raises(CacheError, match=r"array\.u8 was changed: its row 2 is not what was"):
        rows[np.array([3, 2])]
    assert not (file.parent / CHECKED).exists()  # so that the next preparation looks at all


def test_a_row_is_checked_once_by_a_process_and_again_when_the_file_was_written_to(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[int] = []

    def counted(values: npt.NDArray[np.uint8]) -> int:
        checked.append(int(values.flat[0]) // 6)
        return checksum(values)

    monkeypatch.setattr(module, "checksum", counted)
    rows = opened(file)
    rows[[1, 2]]
    rows[[2, 3, 3]]
    opened(file)[[1, 2, 3]]  # as the next trial does
    assert checked == [1, 2, 3]
    now = file.stat().st_mtime_ns + 10**9
    os.utime(file, ns=(now, now))
    rows[[1, 2]]
    assert checked == [1, 2, 3, 1, 2]
    rows[[1, 2]]
    assert checked == [1, 2, 3, 1, 2]


def test_what_is_changed_while_it_is_read_is_noticed_at_its_next_use(file: Path) -> None:
    rows = opened(file)
    rows[[0, 1, 2, 3]]
    spoil(file, 1)
    rows[[0, 2]]
    with pytest.raises(CacheError, match="row 1"):
        rows[1]


def test_another_study_of_the_same_array_trusts_nothing_of_the_first(file: Path) -> None:
    opened(file)[:]
    others = SUMS.copy()
    others[1] += 1
    with pytest.raises(CacheError, match="row 1"):
        opened(file, others)[1]


def test_rows_without_a_checksum_are_taken_as_they_are(file: Path) -> None:
    spoil(file, 2)
    assert opened(file, np.full(4, UNKNOWN))[2, 0, 0] == 255


def test_an_array_that_was_removed_is_read_on(file: Path) -> None:
    rows = opened(file)
    file.unlink()
    np.testing.assert_array_equal(rows[:], ARRAY)
