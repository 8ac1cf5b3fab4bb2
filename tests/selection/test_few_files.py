"""The benchmark of models that few files measure, in a short form."""

import pytest

from tests.benchmarks.selection.few import FEW_TITLES, FewCell, few_cells, few_row, measure_few


@pytest.mark.parametrize("cell", few_cells()[:3], ids=lambda cell: f"{cell.fakes}+{cell.reals}")
def test_no_interval_of_few_files_reaches_above_1(cell: FewCell) -> None:
    told = measure_few(cell, 20)
    assert 0.9 < told.highest <= 1
    row = few_row(cell, told).strip("| ").split(" | ")
    assert dict(zip(FEW_TITLES, row, strict=True))["highest end"] == f"{told.highest:.6f}"
