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
    """Where a data folder keeps its files, and what its tables say.

    Of several names that a key lists, the first that exists counts.
    """

    kind: Kind = "label-files"
    """`label-files`: a label file and a media folder for each split, as competitions have them.
    `table`: one table of all labelled files, with or without a column of splits. `class-folders`: a
    subfolder for each class, directly or inside a folder for each split."""

    train_labels: tuple[str, ...] = ("train_label.txt", "trainset_label.txt")
    """The label file of the training files."""

    train_media: tuple[str, ...] = ("trainset", "train")
    """The folder of these files."""

    val_labels: tuple[str, ...] = ("val_label.txt", "valset_label.txt")
    """The label file of the validation files. An empty list: there is none, and `validation` says
    which of the labelled files validate."""

    val_media: tuple[str, ...] = ("valset", "val")
    """The folder of these files."""

    table: tuple[str, ...] = ("labels.csv", "labels.tsv", "labels.parquet", "labels.xlsx")
    """The table of all labelled files, for the kind `table`: CSV, TSV, Parquet or XLSX."""

    media: tuple[str, ...] = (".",)
    """The folder that the table's file names are relative to, for the kind `table`."""

    template: tuple[str, ...] = ("prediction.txt.csv", "prediction.csv")
    """The table that names the files to predict, in the order and the form of the predictions. An
    empty list: there is none, and every media file of `test_media` is predicted. The kinds `table`
    and `class-folders` need none."""

    test_media: tuple[str, ...] = ("testset", "testset1", "test", "valset", "val")
    """The folder of the files to predict. It may be that of the validation files, which the
    template of a competition's first phase names."""

    metadata: tuple[str, ...] = ("metadata.csv",)
    """A table with more columns on the files, found by the files' names; without one of the usual
    name there is none."""

    columns: Columns = Columns()
    """What columns are called, where that cannot be guessed."""

    classes: Classes = Classes()
    """Labels, or names of folders, of each class, where they are not the usual words."""

    generator: str = "generator"
    """The column, of label files or metadata, that says what made a fake."""

    groups: tuple[str, ...] = ()
    """Columns whose equal values say that files belong together, such as `speaker`."""

    @property
    def names_test_media(self) -> bool:
        """Whether somebody named the folder of the files to predict.

        The experiment that a study keeps has every key, those that nobody wrote too.
        """
        return self.test_media != Layout.model_fields["test_media"].default

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
