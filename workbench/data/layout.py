"""Where a data folder keeps its files, and what its tables say."""

from pathlib import Path
from typing import Literal

from workbench.data.columns import Columns
from workbench.data.metadata import Metadata
from workbench.data.targets import Classes
from workbench.errors import DataError
from workbench.gate import within
from workbench.values import Frozen

Kind = Literal["label-files", "table", "class-folders"]


class Layout(Frozen):
    """Where a data folder keeps its files and what its tables say.

    Of several names of one thing the first that exists counts.
    """

    kind: Kind = "label-files"
    """A label file and a media folder for each split, as competitions have them; one table of all
    labelled files, with a column that says the split or without; or a subfolder for each class,
    alone or within a folder for each split."""

    train_labels: tuple[str, ...] = ("train_label.txt", "trainset_label.txt")
    """The label file of the files to learn from."""

    train_media: tuple[str, ...] = ("trainset", "train")
    """The folder of these files."""

    val_labels: tuple[str, ...] = ("val_label.txt", "valset_label.txt")
    """The label file of the files that trials are held against; none where it is empty, and
    `validation` says which of the labelled files they are."""

    val_media: tuple[str, ...] = ("valset", "val")
    """The folder of these files."""

    table: tuple[str, ...] = ("labels.csv", "labels.tsv", "labels.parquet", "labels.xlsx")
    """Of the kind `table`: CSV, TSV, Parquet or XLSX."""

    media: tuple[str, ...] = (".",)
    """Of the kind `table`: the folder that its names are relative to."""

    template: tuple[str, ...] = ("prediction.txt.csv", "prediction.csv")
    """The table that names the files to predict, in the order and the form of the predictions; none
    where it is empty, and every media file of `test_media` is predicted. The kinds `table` and
    `class-folders` do without where there is none of the usual names."""

    test_media: tuple[str, ...] = ("testset", "testset1", "test", "valset", "val")
    """In the competition's first phase the template names the validation clips."""

    metadata: tuple[str, ...] = ("metadata.csv",)
    """A table that says more of the files, by their names; there need be none of the usual name."""

    columns: Columns = Columns()
    """What columns are called, where that cannot be guessed."""

    classes: Classes = Classes()
    """What the labels, or the folders, of each class are, if not the usual words."""

    generator: str = "generator"
    """The column, of label files or metadata, that says what made a fake."""

    groups: tuple[str, ...] = ()
    """The columns that say whom or what several files are of, such as `speaker`."""

    @property
    def described(self) -> Metadata:
        """What else is kept of the tables."""
        return Metadata(generator=self.generator, groups=self.groups)


def first_named(folder: Path, layout: Layout, key: str, *, is_media: bool = False) -> Path:
    """Return the first of the names that `layout` has for `key` which exists in the data folder.

    No name leaves the folder, and no table is a link out of it: its cells are quoted where they are
    wrong. Media may be links out of it, a folder or each file: people keep them on another disk,
    and nothing of a file that is no media is ever shown.

    Raises:
        DataError: there is none, or a name leaves the folder.
    """
    names: tuple[str, ...] = getattr(layout, key)
    what = "prediction template" if key == "template" else key.replace("_", " ")
    for name in names:
        path = within(folder, name, what=what, may_link_out=is_media, kind=DataError)
        if path.exists():
            return path
    raise DataError(
        f"{folder} has no {what}: looked for {', '.join(names)}. "
        f"If the name is another, write it into the experiment file: `data: {{{key}: NAME}}`."
    )
