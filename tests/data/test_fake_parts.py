import numpy as np
import pandas as pd
import pytest

from workbench.data.fake_parts import fake_parts_of
from workbench.errors import DataError


def rows(targets: list[int], **columns: list[str]) -> pd.DataFrame:
    table = pd.DataFrame({"name": [f"{n}.mp4" for n in range(len(targets))], "target": targets})
    return table.assign(**{f"meta.{name}": cells for name, cells in columns.items()})


def test_cells_say_what_of_a_fake_is_fake_as_labels_do() -> None:
    found = fake_parts_of(
        rows([1, 1, 0], sound_fake=["1", "fake", ""], picture_fake=["0", "", "real"])
    )
    np.testing.assert_array_equal(found, [[1, 0], [1, np.nan], [np.nan, 0]])
    assert np.isnan(fake_parts_of(rows([0, 1]))).all()


@pytest.mark.parametrize(
    ("target", "sound", "picture", "said"),
    [
        (0, "1", "", r"0\.mp4 is real, and its `sound_fake` and `picture_fake` say otherwise"),
        (1, "0", "0", r"0\.mp4 is fake, and its"),
        (1, "maybe", "", r"`sound_fake` of 0\.mp4 is maybe\. Write 1 \(fake\) or 0"),
    ],
)
def test_what_cannot_be_is_refused(target: int, sound: str, picture: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        fake_parts_of(rows([target], sound_fake=[sound], picture_fake=[picture]))
