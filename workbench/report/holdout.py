"""The looks at a study's locked holdout, for its page."""

from workbench import pages
from workbench.errors import DamagedFileError
from workbench.report.cells import interval_cell, number_cell, table, text_section, word_cell
from workbench.study.folder import StudyFolder
from workbench.study.looks import read_looks


def holdout_section(folder: StudyFolder) -> str:
    """Return every look at the locked holdout, oldest first; nothing where there was none."""
    try:
        looks = read_looks(folder)
    except DamagedFileError as error:
        return text_section("Locked holdout", str(error))
    if not looks:
        return ""
    header = ("look", "when", "who", "asked", "metric", "files", "told", "of")
    lines = [
        [
            number_cell(number, "d"),
            word_cell(look.when),
            word_cell(look.who),
            word_cell(look.title),
            word_cell(look.metric),
            number_cell(look.num_files, "d"),
            interval_cell(look.value, look.low, look.high, 4),
            word_cell(look.of_title),
        ]
        for number, look in enumerate(looks, 1)
    ]
    note = (
        f"{len(looks)} {'look' if len(looks) == 1 else 'looks'}, each logged before its value was "
        "shown. A later look tells a trial's own value only where it is better than what stood by "
        "more than the paired standard error (the Ladder, Blum and Hardt 2015); else what stood is "
        "told again."
    )
    drawn = table(header, lines, words=("when", "who", "asked", "metric", "of"), is_sortable=False)
    return pages.section("Locked holdout", drawn, note=note)
