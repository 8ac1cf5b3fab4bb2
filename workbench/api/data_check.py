"""The data of an experiment, decoded and examined."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from workbench.checks import checkup
from workbench.checks.page import write_checks_page
from workbench.console import say, visible_lines
from workbench.data.dataset import Dataset, find_data, read_dataset
from workbench.data.facts import FactsStore
from workbench.data.folds import with_fold
from workbench.data.holdout import without_holdout
from workbench.data.manifest import Manifest, read_manifest
from workbench.data.prepare import Prepared
from workbench.data.prepare import prepare as prepare_views
from workbench.fence import num_cores
from workbench.media.decoders import FILE_LIMIT_S
from workbench.notebook import ShownAsText
from workbench.workspace import Workspace


@dataclass(frozen=True)
class DataCheck(ShownAsText):
    """What would fool a search of a data set, as `check` found it."""

    found: checkup.Checkup
    """The findings, and the numbers that were looked at."""

    page: Path
    """The HTML page; it loads nothing from elsewhere."""

    @property
    def num_warnings(self) -> int:
        """Findings that call for something to be done."""
        return self.found.num_warnings

    @property
    def findings(self) -> pd.DataFrame:
        """The findings, warnings first: `code`, `severity`, `sentence`, `remedy`, `num_groups`.

        `num_groups` counts the files, or the groups of files that belong together.
        """
        columns = ["code", "severity", "sentence", "remedy", "num_groups"]
        rows = [[getattr(one, column) for column in columns] for one in self.found.findings]
        return pd.DataFrame(rows, columns=columns)

    def __str__(self) -> str:
        text = f"{checkup.number_table(self.found)}\n\n{checkup.as_text(self.found)}"
        return visible_lines(text)


def check(
    experiment: str | Path | None = None,
    *,
    data: str | Path | None = None,
    root: str | Path = ".",
) -> DataCheck:
    """Examine data for what would fool a search: copies, shortcuts, shift, saturation.

    Files that were not decoded yet are; a search then finds them decoded.

    Args:
        experiment: An experiment file; by default that of the demo.
        data: The data folder; by default the demo, where the experiment is about it.
        root: The folder that holds `experiments/`, where the cache and the page are written.

    Raises:
        ConfigError: the experiment file cannot be used.
        DataError: there is no data folder, or its labels cannot be used.

    Example:
        >>> checked = wb.check("experiments/mine.yaml", data="../data")
        >>> checked.findings.query("severity == 'warning'")["remedy"].tolist()
    """
    workspace = Workspace(Path(root).absolute())
    folder = None if data is None else Path(data)
    place = Path(experiment) if experiment else workspace.root / "experiments" / "demo.yaml"
    about, files, prepared = decoded_data(place, folder, workspace)
    for line in files.understood:
        say(line)
    facts = FactsStore(workspace.cache).table(prepared.contents())
    found = checkup.run_checks(files, prepared, facts, short=False)
    page = workspace.checks / f"{about.name}.html"
    write_checks_page(found, page, title=about.name, prepared=prepared)
    return DataCheck(found, page)


def decoded_data(
    experiment: Path,
    data: Path | None,
    workspace: Workspace,
    *,
    jobs: int | None = None,
    limit_s: float = FILE_LIMIT_S,
    retry: bool = False,
    verify: bool = False,
) -> tuple[Dataset, Manifest, Prepared]:
    """Return an experiment's data, decoded as far as it was not yet.

    Args:
        experiment: An experiment file.
        data: The data folder; by default the demo, where the experiment is about it.
        workspace: Where the cache is.
        jobs: Decoding processes; one a core by default.
        limit_s: Time that one file may take.
        retry: Try again what took too long, crashed or failed oddly.
        verify: Hold every file and every cached row against its hash.

    Raises:
        ConfigError: the experiment file cannot be used.
        DataError: there is no data folder, or its labels cannot be used.
    """
    about = read_dataset(experiment)
    folder = find_data(about, workspace, data)
    files = without_holdout(
        read_manifest(folder, about.data, cache=workspace.cache, verify=verify), about.holdout
    )
    files = with_fold(files, about.validation)
    prepared = prepare_views(
        files,
        folder,
        about.views,
        cache=workspace.cache,
        jobs=jobs or num_cores(),
        limit_s=limit_s,
        retry=retry,
        verify=verify,
    )
    return about, files, prepared
