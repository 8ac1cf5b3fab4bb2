"""What the metadata say of the splits."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from workbench.checks.duplicates import near_groups
from workbench.checks.findings import Finding
from workbench.checks.metadata import harder_slices, metadata_findings, near_part_findings
from workbench.data.labels import Template
from workbench.data.manifest import Manifest
from workbench.data.metadata import Metadata, column_of

TEMPLATE = Template(pd.DataFrame({"name": [], "y": []}), "name", "y", Path("t.csv"))


def manifest(metadata: Metadata, **columns: list[str]) -> Manifest:
    """Return a manifest of four files to train on, four of val and two of test."""
    table = pd.DataFrame({"split": ["train"] * 4 + ["val"] * 4 + ["test"] * 2})
    table = table.assign(target=[0, 1] * 4 + [-1, -1], path=[f"f{n}" for n in range(10)])
    table = table.assign(content=table["path"], name=table["path"])
    table = table.assign(**{column_of(name): cells for name, cells in columns.items()})
    return replace(Manifest(table, TEMPLATE, 0), metadata=metadata)


def found(data: Manifest) -> dict[str, Finding]:
    return {finding.code: finding for finding in metadata_findings(data)}


def test_a_speaker_in_train_and_in_val_is_a_leak() -> None:
    speakers = ["ann", "ann", "bob", "", "ann", "cy", "", "ann", "bob", "bob"]
    data = manifest(Metadata(groups=("speaker",)), speaker=speakers)
    unknown, leak, known = list(metadata_findings(data))
    assert (unknown.code, unknown.severity) == ("groups_unknown", "note")
    assert unknown.sentence.startswith("Of 2 of 8 labelled files the tables say no `speaker`: each")
    assert unknown.files == (("f3",), ("f6",))
    assert (leak.code, leak.severity) == ("groups_across_splits", "warning")
    assert "1 value of `speaker` (ann) in train and in val: 2 of its 4 files" in leak.sentence
    assert leak.files == (("f4",), ("f7",))
    assert known.severity == "note" and "(bob) in train and in test: 2 of its 2" in known.sentence


def test_a_speaker_and_a_generator_are_looked_for_in_each_fold_that_validates() -> None:
    speakers = ["ann", "bob", "bob", "cy", "dee", "dee", "", "eve", "bob", "eve"]
    makers = ["", "gan", "", "gan", "", "gan", "", "tts", "", ""]
    data = manifest(Metadata(groups=("speaker",)), speaker=speakers, generator=makers)
    table = data.table.assign(fold=[2, 2, 3, 3, 1, 1, 1, 1, 1, 1])
    _, leak, known, new = metadata_findings(replace(data, table=table))
    assert "1 value of `speaker` (bob) in train and in val: 2 of its 8" in leak.sentence
    assert leak.files == (("f1",), ("f2",))
    assert "2 values of `speaker` (bob and eve) in train and in test: 2 of its 2" in known.sentence
    assert "1 generator (tts) only in val" in new.sentence


def test_speakers_of_one_split_are_no_finding_and_files_of_unknown_ones_no_leak() -> None:
    speakers = ["ann", "ann", "bob", "bob", "cy", "cy", "dee", "dee", "eve", ""]
    assert found(manifest(Metadata(groups=("speaker",)), speaker=speakers)) == {}
    speakers = ["ann", "ann", "bob", "", "cy", "cy", "", "dee", "eve", ""]
    assert {*found(manifest(Metadata(groups=("speaker",)), speaker=speakers))} == {"groups_unknown"}


def test_a_generator_that_one_split_alone_has_is_noted_with_what_it_means() -> None:
    made_by = ["studio", "gan", "", "vae", "phone", "gan", "", "tts", "", ""]
    notes = found(manifest(Metadata(), generator=made_by))
    assert set(notes) == {"generators_of_val_alone", "generators_of_train_alone"}
    assert "1 generator (tts) only in val" in notes["generators_of_val_alone"].sentence
    assert "1 generator (vae) only in train" in notes["generators_of_train_alone"].sentence
    assert {note.severity for note in notes.values()} == {"note"}


def test_near_copies_with_a_fake_sound_and_without_are_told() -> None:
    data = manifest(Metadata(), sound_fake=["", "1", "", "0", "", "", "", "1", "", ""]).table
    at = {content: number for number, content in enumerate(data["content"])}

    def told(*pairs: tuple[str, str]) -> list[Finding]:
        numbers = [[at[one], at[other]] for one, other in pairs]
        groups = near_groups(data[["content"]], np.array(numbers, np.int64))
        return list(near_part_findings(data, groups))

    assert told(("f1", "f7"), ("f3", "f5"), ("f0", "f3")) == []
    (one,) = told(("f1", "f5"), ("f3", "f5"), ("f0", "f2"))
    assert one.code == "near_part_conflicts"
    assert "1 group of fakes are near copies of each other in all views" in one.sentence


def test_one_file_with_a_fake_sound_and_without_is_told() -> None:
    # Of `f1` and `f3` the sound is said to be fake and real, of `f5` and `f7` it is said once.
    data = manifest(
        Metadata(),
        sound_fake=["", "1", "", "0", "", "", "", "1", "", ""],
        picture_fake=["", "1.0", "", "1", "", "1", "", "", "", ""],
    )
    same = data.table["content"].replace({"f3": "f1", "f7": "f5"})
    twice = replace(data, table=data.table.assign(content=same))
    assert found(data) == {}
    told = found(twice)["part_conflicts"]
    assert (told.severity, told.files) == ("warning", (("f1", "f3"),))
    # No label at all is left to a training on both labels, which refuses it.
    odd = twice.table.assign(**{column_of("sound_fake"): "perhaps"})
    assert found(replace(twice, table=odd)) == {}


def test_a_column_that_is_named_and_that_no_table_has_is_said() -> None:
    assert found(manifest(Metadata())) == {}
    named = found(manifest(Metadata(generator="tool", groups=("speaker",))))
    assert set(named) == {"metadata_column_absent"}
    every = list(metadata_findings(manifest(Metadata(generator="tool", groups=("speaker",)))))
    assert [finding.sentence.split("`")[1] for finding in every] == ["tool", "speaker"]


def test_the_advice_names_the_keys_to_write() -> None:
    data = manifest(Metadata(), generator=["x"] * 10)
    keys = "`objective: {metric: auc, over: [val, generators], aggregate: worst}`"
    assert harder_slices(data.table, data.metadata) == keys
    bare = manifest(Metadata())
    assert "a column `generator`" in harder_slices(bare.table, bare.metadata)
