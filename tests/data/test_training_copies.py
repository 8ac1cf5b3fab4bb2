import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from tests.media.clips import chirp, moving, write_media
from workbench.data.contents import stamp
from workbench.data.labels import Template
from workbench.data.manifest import Manifest
from workbench.data.out_of_fold import FOLD
from workbench.data.prepare import Prepared, prepare
from workbench.data.training_copies import partners_of, prepare_training_copies
from workbench.data.unexpected import reader_version
from workbench.data.view_store import NEUTRAL_ROW, Outcome, ViewStore
from workbench.degradation.degradations import DAMAGES, FORGERIES, content_of
from workbench.errors import ConfigError
from workbench.files import hash_file, write_json
from workbench.media.frames import Frames
from workbench.media.mel import Mel
from workbench.parts.copies import Copies
from workbench.scoring.slices import Slice, families_of
from workbench.trial.drawn_copies import DrawnCopies

VIEWS = {"frames": Frames(num_frames=16, image_px=32), "mel": Mel()}  # every frame is seen
REAL, FAKE = ("a.mp4", "b.mp4", "mute.mp4"), ("f.mp4",)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three real training clips, one of them without sound, a fake one and a real one of `val`."""
    folder = tmp_path_factory.mktemp("clips")
    for number, name in enumerate((*REAL, *FAKE, "v.mp4")):
        sound = None if name == "mute.mp4" else chirp(0.5 + 0.1 * number)
        write_media(folder / name, sound=sound, pictures=moving(10 + number))
    return folder


@pytest.fixture(scope="module")
def prepared(folder: Path) -> Prepared:
    names = [*REAL, *FAKE, "v.mp4"]
    table = pd.DataFrame(
        {
            "split": ["train"] * 4 + ["val"],
            "name": names,
            "path": names,
            "target": np.array([0, 0, 0, 1, 0], np.int8),
            "status": "ok",
            "content": [hash_file(folder / name) for name in names],
        }
    )
    template = Template(pd.DataFrame({"n": [], "p": []}), "n", "p", folder / "p.csv")
    manifest = Manifest(table, template, 0)
    data = prepare(manifest, folder, VIEWS, cache=folder / "cache", jobs=1)
    copies = prepare_training_copies(
        data,
        ("resynthesis", "splice", "mismatch"),
        ("degraded",),
        folder,
        {},
        cache=folder / "cache",
        jobs=1,
    )
    return Prepared(
        data.table, data.views, data.arrays, data.fingerprint, data.stores, beside=copies
    )


def rows_of(prepared: Prepared, kind: str) -> pd.DataFrame:
    return prepared.beside[f"copies.{kind}"].table.set_index("name")


def test_copies_are_of_training_files_and_forged_ones_of_real_ones_which_are_fakes_then(
    prepared: Prepared,
) -> None:
    kinds = [f"{f}{d}" for f in ("resynthesis", "splice", "mismatch") for d in ("", "_degraded")]
    assert {*prepared.beside} == {f"copies.{kind}" for kind in ("degraded", *kinds)}
    degraded = rows_of(prepared, "degraded")
    assert [*degraded.index] == [*REAL, *FAKE]
    assert degraded["target"].tolist() == [0, 0, 0, 1]
    for forgery in ("resynthesis", "splice", "mismatch"):
        for kind in (forgery, f"{forgery}_degraded"):
            assert [*rows_of(prepared, kind).index] == ["a.mp4", "b.mp4"]  # what is heard
            assert rows_of(prepared, kind)["target"].tolist() == [1, 1]


def test_a_forgery_changes_the_sound_alone_and_damage_changes_both(prepared: Prepared) -> None:
    own = prepared.rows("train").set_index("name").loc[["a.mp4", "b.mp4"]]
    for kind in ("resynthesis", "splice", "mismatch"):
        rows = rows_of(prepared, kind).loc[own.index]
        assert rows["row.frames"].tolist() == own["row.frames"].tolist()
        assert not set(rows["row.mel"]) & {*own["row.mel"], NEUTRAL_ROW}
        damaged = rows_of(prepared, f"{kind}_degraded").loc[own.index]
        assert not set(damaged["row.mel"]) & {*rows["row.mel"], *own["row.mel"], NEUTRAL_ROW}
        of_files = rows_of(prepared, "degraded").loc[own.index]
        assert damaged["row.frames"].tolist() == of_files["row.frames"].tolist()
        assert not set(damaged["row.frames"]) & set(own["row.frames"])


def test_copies_are_the_same_the_next_time_and_are_no_slices(
    prepared: Prepared, folder: Path
) -> None:
    again = prepare_training_copies(
        prepared, ("splice",), (), folder, {}, cache=folder / "cache", jobs=1
    )
    assert [*again] == ["copies.splice"]
    pd.testing.assert_frame_equal(
        again["copies.splice"].table, prepared.beside["copies.splice"].table
    )
    assert "copies" not in families_of(prepared)


def test_a_copy_into_which_another_file_goes_is_not_kept_once_that_changed(
    prepared: Prepared, folder: Path, tmp_path: Path
) -> None:
    for name in (*REAL, *FAKE):
        shutil.copyfile(folder / name, tmp_path / name)
    stamps = {name: stamp(tmp_path / name) for name in REAL}
    write_media(tmp_path / "b.mp4", sound=chirp(0.9), pictures=moving(4))
    made = prepare_training_copies(
        prepared, ("splice",), (), tmp_path, stamps, cache=tmp_path / "cache", jobs=1
    )
    rows = made["copies.splice"].table.set_index("name")
    # `b.mp4` goes into the copy of `a.mp4`, and is no longer what the copy is named by.
    assert rows["status.mel"].tolist() == ["changed", "changed"]


def test_a_copy_that_crashed_or_failed_oddly_is_tried_again_when_asked(
    prepared: Prepared, folder: Path, tmp_path: Path
) -> None:
    store = ViewStore(tmp_path, VIEWS["mel"])
    rows = prepared.rows("train").set_index("name")
    crashed, odd = (content_of(rows["content"][name], "resynthesis") for name in ("a.mp4", "b.mp4"))
    with store.writing() as writer:
        writer.add(crashed, Outcome(NEUTRAL_ROW, "crashed", "the decoder died"))
        writer.add(odd, Outcome(NEUTRAL_ROW, "broken", "unexpected ValueError"))
    known = {store.folder.name: {odd: [reader_version(), "ValueError"]}}
    write_json(tmp_path / "unexpected.json", known)

    def statuses() -> list[str]:
        made = prepare_training_copies(
            prepared, ("resynthesis",), (), folder, {}, cache=tmp_path, jobs=1
        )
        return made["copies.resynthesis"].table["status.mel"].tolist()

    manifest = Manifest(prepared.table, Template(pd.DataFrame(), "n", "p", folder / "p.csv"), 0)
    assert statuses() == ["crashed", "broken"]
    prepare(manifest, folder, {"mel": VIEWS["mel"]}, cache=tmp_path, jobs=1)
    assert statuses() == ["crashed", "broken"]
    prepare(manifest, folder, {"mel": VIEWS["mel"]}, cache=tmp_path, jobs=1, retry=True)
    assert statuses() == ["ok", "ok"]


def test_nothing_of_a_held_out_fold_goes_into_a_copy() -> None:
    real = pd.DataFrame({"content": [*"abcdef"], FOLD: [1, 1, 1, 2, 2, 3]})
    partners = partners_of(real.assign(target=0, **{"row.mel": 1}), VIEWS)
    assert {*partners} == {*"abcde"}  # the fold of one has no other
    folds = dict(zip(real["content"], real[FOLD], strict=True))
    for one, other in partners.items():
        assert one != other and folds[one] == folds[other]
    assert sorted(partners.values()) == [*"abcde"]


def drawn(prepared: Prepared, views: tuple[str, ...], **chances: float) -> pd.DataFrame:
    """Return the rows that an epoch sees of the training files, in their order."""
    rows = prepared.rows("train")
    copies = DrawnCopies(Slice("train", prepared, rows), Copies(**chances), views)
    order = copies.drawn(torch.arange(len(rows)), torch.Generator().manual_seed(0), 1)
    return copies.part.rows.iloc[order.numpy()].set_index("name")


def test_a_degraded_copy_has_the_label_of_its_own_file(prepared: Prepared) -> None:
    rows = prepared.rows("train")
    fake = rows[rows["name"] == "f.mp4"]
    both = pd.concat([fake, fake.assign(name="same.mp4", target=np.int8(0))], ignore_index=True)
    copies = DrawnCopies(Slice("train", prepared, both), Copies(degraded=1.0), ("mel",))
    order = copies.drawn(torch.arange(2), torch.Generator().manual_seed(0), 1)
    assert min(order) >= 2
    assert copies.part.rows["target"].iloc[order.numpy()].tolist() == [1, 0]


def test_what_always_happens_is_seen_of_every_file_that_it_can_happen_to(
    prepared: Prepared,
) -> None:
    def seen(table: pd.DataFrame, name: str) -> list[int]:
        return [int(table[column][name]) for column in ("row.mel", "row.frames")]

    own = prepared.rows("train").set_index("name")
    plain = drawn(prepared, ("mel", "frames"), splice=1.0)
    assert [*plain.index] == [*own.index]
    # The real clip without sound stays real, and a fake one stays as it is.
    assert plain["target"].tolist() == [1, 1, 0, 1]
    assert seen(plain, "f.mp4") == seen(own, "f.mp4")
    assert seen(plain, "a.mp4") == seen(rows_of(prepared, "splice"), "a.mp4")
    both = drawn(prepared, ("mel", "frames"), splice=1.0, degraded=1.0)
    assert both["target"].tolist() == [1, 1, 0, 1]
    assert seen(both, "a.mp4") == seen(rows_of(prepared, "splice_degraded"), "a.mp4")
    for name in ("mute.mp4", "f.mp4"):
        assert seen(both, name) == seen(rows_of(prepared, "degraded"), name)


def test_copies_are_no_further_samples_and_forged_ones_are_counted_as_fakes(
    prepared: Prepared,
) -> None:
    rows = prepared.rows("train")
    chances = Copies(splice=0.25, mismatch=0.5, degraded=0.5)
    copies = DrawnCopies(Slice("train", prepared, rows), chances, ("mel", "frames"))
    assert copies.num_files == 4 < len(copies.part.rows)
    assert copies.num_forged == 2 * 0.75  # of the two that are heard
    order, generator = torch.arange(4), torch.Generator().manual_seed(0)
    targets = copies.part.rows["target"].to_numpy()
    seen = np.stack([targets[copies.drawn(order, generator, 1)] for _ in range(400)])
    assert seen.mean(axis=0) == pytest.approx([0.75, 0.75, 0, 1], abs=0.08)


@pytest.mark.parametrize(
    ("views", "forgery"),
    [(("frames",), "splice"), (("frames",), "mismatch"), (("mel",), "mismatch")],
)
def test_a_model_that_cannot_notice_a_forgery_is_not_told_of_a_fake(
    prepared: Prepared, views: tuple[str, ...], forgery: str
) -> None:
    for degraded in (0.0, 1.0):
        table = drawn(prepared, views, **{forgery: 1.0}, degraded=degraded)
        assert table["target"].tolist() == [0, 0, 0, 1]


def test_chances_that_add_up_to_more_than_one_are_refused() -> None:
    with pytest.raises(ValueError, match=r"splice \+ mismatch is 1\.2"):
        Copies(splice=0.6, mismatch=0.6)
    with pytest.raises(ValueError, match=r"pitch \+ world is 1\.5"):
        Copies(pitch=0.75, world=0.75)
    eight = ("pitch", "formants", "world", "vocoder", "transplant", "insert", "freeze", "blend")
    by_rounding = {"resynthesis": 0.3, "splice": 0.2, "mismatch": 0.1, **dict.fromkeys(eight, 0.05)}
    assert sum(by_rounding.values()) > 1
    assert Copies(**by_rounding).are_made


def test_frames_are_forged_of_real_videos_without_sound_too_and_damage_goes_on_top(
    prepared: Prepared, folder: Path
) -> None:
    made = prepare_training_copies(
        prepared, ("freeze",), ("trimmed", "recoded"), folder, {}, cache=folder / "cache", jobs=1
    )
    both = Prepared(
        prepared.table, prepared.views, prepared.arrays, "made", prepared.stores, beside=made
    )
    own = prepared.rows("train").set_index("name")
    rows = {kind: rows_of(both, kind) for kind in ("freeze", "freeze_recoded", "trimmed")}
    assert [*rows["freeze"].index] == [*REAL]
    assert rows["freeze"]["target"].tolist() == [1, 1, 1]
    assert rows["freeze"]["row.mel"].tolist() == own["row.mel"][[*REAL]].tolist()
    assert not set(rows["freeze"]["row.frames"]) & set(own["row.frames"])
    assert rows["trimmed"]["row.frames"].tolist() == own["row.frames"].tolist()
    assert not set(rows["trimmed"]["row.mel"][:2]) & set(own["row.mel"])
    assert not set(rows["freeze_recoded"]["row.frames"]) & set(rows["freeze"]["row.frames"])
    seen = drawn(both, ("mel", "frames"), freeze=1.0, trimmed=1.0)
    assert seen["target"].tolist() == [1, 1, 1, 1]
    # The frames of one are forged, its sound is trimmed; the fake one is damaged alone.
    for name in (*REAL[:2], *FAKE):
        assert seen["row.mel"][name] == rows["trimmed"]["row.mel"][name] != own["row.mel"][name]
    assert seen["row.frames"]["f.mp4"] == own["row.frames"]["f.mp4"]


@pytest.mark.parametrize("damage", [0.0, 1.0])
def test_a_blend_joins_the_batch_of_its_own_real_file(
    prepared: Prepared, folder: Path, damage: float
) -> None:
    made = prepare_training_copies(
        prepared, ("blend",), ("degraded",), folder, {}, cache=folder / "cache", jobs=1
    )
    data = replace(prepared, beside=made)
    rows = prepared.rows("train")
    copies = DrawnCopies(
        Slice("train", data, rows), Copies(blend=1.0, degraded=damage), ("mel", "frames")
    )
    assert copies.num_forged == 0
    assert copies.num_pairs == len(REAL)
    order = copies.drawn(torch.arange(4), torch.Generator().manual_seed(0), 1)
    assert copies.part.rows["target"].iloc[order.numpy()].tolist() == [0, 0, 0, 1]
    batch = copies.with_partners(order[[3, 1, 0]], 1)
    seen = copies.part.rows.iloc[batch.numpy()]
    assert seen["name"].tolist() == ["f.mp4", "b.mp4", "a.mp4", "b.mp4", "a.mp4"]
    assert seen["target"].tolist() == [1, 0, 0, 1, 1]
    suffix = "_degraded" if damage else ""
    for kind, at in (("blend-real", [2, 1]), ("blend", [4, 3])):
        expected = rows_of(data, kind + suffix).loc[["a.mp4", "b.mp4"]]
        for view in ("row.frames", "row.mel"):
            assert seen[view].iloc[at].tolist() == expected[view].tolist()
    # Of several segments a file, each has the same one of its blend beside it.
    assert copies.with_partners(order[[1]] * 3 + 2, 3).tolist() == [
        int(order[1]) * 3 + 2,
        int(batch[3]) * 3 + 2,
    ]


def test_a_model_that_sees_no_picture_has_no_blend_beside_a_real_file(
    prepared: Prepared, folder: Path
) -> None:
    made = prepare_training_copies(
        prepared, ("blend",), (), folder, {}, cache=folder / "cache", jobs=1
    )
    part = Slice("train", replace(prepared, beside=made), prepared.rows("train"))
    copies = DrawnCopies(part, Copies(blend=1.0), ("mel",))
    order = copies.drawn(torch.arange(4), torch.Generator().manual_seed(0), 1)
    assert copies.with_partners(order, 1).tolist() == [0, 1, 2, 3]
    assert copies.num_pairs == 0


def test_a_file_is_damaged_in_one_of_several_ways_at_a_time(prepared: Prepared) -> None:
    rows = pd.concat([prepared.rows("train")] * 100, ignore_index=True)
    degraded = prepared.beside["copies.degraded"]
    shifted = degraded.table.assign(**{"row.mel": degraded.table["row.mel"] + 50})
    other = replace(prepared, table=shifted)
    beside = {"copies.degraded": degraded, "copies.recoded": other}
    part = Slice("train", replace(prepared, beside=beside), rows)
    copies = DrawnCopies(part, Copies(degraded=0.5, recoded=0.25), ("mel",))
    order = copies.drawn(torch.arange(len(rows)), torch.Generator().manual_seed(0), 1)
    seen = copies.part.rows.iloc[order.numpy()]
    heard = seen["row.mel"][seen["name"] == "a.mp4"]
    [own] = set(prepared.rows("train").set_index("name")["row.mel"][["a.mp4"]])
    [one] = degraded.table.set_index("name")["row.mel"][["a.mp4"]]
    counts = [int((heard == row).sum()) for row in (own, one, one + 50)]
    assert sum(counts) == 100
    assert counts == pytest.approx([25, 50, 25], abs=12)


def test_a_later_key_that_is_off_is_in_no_record() -> None:
    first = {"degraded": 0.3, "resynthesis": 0.0, "splice": 0.0, "mismatch": 0.0}
    assert Copies(degraded=0.3).model_dump() == first
    assert Copies(degraded=0.3, pitch=0.5).model_dump() == first | {"pitch": 0.5}
    assert Copies(**first, pitch=0.0) == Copies(degraded=0.3)


def test_what_cannot_be_made_here_is_refused_before_anything_is_decoded(
    prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyworld", None)
    with pytest.raises(ConfigError, match=r"pyworld, which cannot be loaded .*install it with"):
        prepare_training_copies(
            prepared, ("world",), (), tmp_path, {}, cache=tmp_path / "cache", jobs=1
        )
    assert not (tmp_path / "cache").exists()


def test_the_ways_of_damage_and_forgery_are_the_keys_of_a_space() -> None:
    assert {*Copies.DAMAGES} == {*DAMAGES}
    assert {*Copies.model_fields} == {*DAMAGES, *FORGERIES}
