"""The page of a study, as text, as figures, and as a browser draws it."""

import re
import shutil
import subprocess
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from plotly.offline import get_plotlyjs
from sklearn.metrics import average_precision_score, roc_curve

from tests.report.sliced import make_sliced
from tests.selection.studies import CHOICES, MadeStudy, champion, normal_scores, row
from tests.study.workers import epoch
from workbench.errors import DamagedFileError
from workbench.report import figures
from workbench.report.axes import ABSENT, axis, axis_names
from workbench.report.page import study_plots, write_report
from workbench.report.trials import leaders
from workbench.study.importances import Importance
from workbench.trial.delong import Estimate, auc
from workbench.trial.recipe import Objective

AUC = Objective(metric="auc")
EVIL = "<img src=http://evil.example/x.png onerror=alert(1)>"


class Page(HTMLParser):
    """What a browser would find in a page: tags, and the text of table cells."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.cells: list[list[str]] = []
        self._is_cell = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "tr":
            self.cells.append([])
        if tag in ("td", "th"):
            self.cells[-1].append("")
            self._is_cell = True

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self._is_cell = False

    def handle_data(self, data: str) -> None:
        if self._is_cell:
            self.cells[-1][-1] += data

    @property
    def plots(self) -> list[str]:
        return [str(a["id"]) for _, a in self.tags if a.get("class") == "plotly-graph-div"]


def write(study: MadeStudy) -> str:
    write_report(study.folder, study.rows, study.objective, study.folder.report)
    return study.folder.report.read_text(encoding="utf-8")


def make_wide(root: Path, name: str = "wide", num: int = 24) -> MadeStudy:
    """A study of every kind of end and dimension, one of its backbones with an evil name."""
    study, rng = MadeStudy(root, name), np.random.default_rng(0)
    for number in range(num):
        drawn = {key: options[number % len(options)] for key, options in CHOICES.items()}
        drawn[f"optimizer.{drawn['optimizer']}.lr"] = float(10 ** rng.uniform(-5, -1))
        drawn["augment.pictures.hflip"] = float(rng.uniform(0.1, 0.5))
        drawn["augment.spectrograms.hflip"] = float(rng.uniform(0.1, 0.5))
        drawn["dropout"] = float(rng.uniform(0.1, 0.5))
        backbone = EVIL if number == 1 else str(drawn["backbone"])
        common: dict[str, Any] = {"drawn": drawn, "backbone": backbone, "num_epochs": 3}
        scores = normal_scores(0.5 + number / 20, seed=number)
        if number % 8 == 5:
            study.add(*scores, state="pruned", reason="pruned after epoch 3", **common)
        elif number % 8 == 6:
            study.add(state="failed", reason=f"out of memory {EVIL}", **common)
        elif number % 8 == 7:
            study.add(state="pruned", reason="refused: 304M parameters", **common)
        else:
            study.add(*scores, **common)
    return study


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> MadeStudy:
    study = make_wide(tmp_path_factory.mktemp("wide"))
    write(study)
    return study


@pytest.fixture(scope="module")
def text(wide: MadeStudy) -> str:
    return wide.folder.report.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(text: str) -> Page:
    return Page(text)


def test_a_page_holds_the_library_once_and_loads_nothing(text: str, page: Page) -> None:
    assert text.count(get_plotlyjs()) == 1
    own = text.replace(get_plotlyjs(), "")
    assert len(own) < 1_000_000
    for tag, attributes in page.tags:
        assert not attributes.keys() & {"src", "href", "srcset", "data", "action"}, tag
        assert tag not in ("link", "iframe", "img", "object", "embed", "base"), tag
    assert not re.search(r"@import|url\(", own)
    (policy,) = (a["content"] for _, a in page.tags if a.get("http-equiv"))
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    assert "http" not in policy


def test_names_of_strangers_are_shown_not_run(text: str, page: Page) -> None:
    own = text.replace(get_plotlyjs(), "")
    assert EVIL not in own
    assert "onerror" not in {name for _, attributes in page.tags for name in attributes}
    # Plotly reads tags in its texts too, so there the signs themselves are escaped.
    assert "\\u003cimg" not in own
    assert any(EVIL in cell for cells in page.cells for cell in cells)


def test_every_plot_of_a_wide_study_is_there(page: Page) -> None:
    assert page.plots == [
        "plot-calibration",
        "plot-history",
        "plot-importances",
        "plot-parallel",
        "plot-curves",
        "plot-roc",
        "plot-pr",
    ]


def test_the_method_of_the_importances_is_named(text: str) -> None:
    assert "Method: PED-ANOVA" in text


def test_what_chance_gives_a_dimension_is_seen_as_such() -> None:
    plot = figures.importance_bars({"lr": Importance(0.7, 0.5), "views": Importance(0.3, 0.6)})
    bars, marks = plot.figure.data
    assert [*bars.y] == [*marks.y] == ["views", "lr"]
    assert [*marks.x] == [0.6, 0.5]
    grey, blue = bars.marker.color
    assert (grey, blue) == ("#b8c4d0", "#0072b2")
    assert "a grey bar, which does not pass it, says nothing" in plot.note


def test_the_table_ranks_the_complete_trials(wide: MadeStudy, page: Page) -> None:
    complete = [row for row in wide.rows if row.state == "complete"]
    order = sorted(complete, key=lambda row: -(row.objective or 0))
    head = next(cells for cells in page.cells if cells and cells[0] == "rank")
    start = page.cells.index(head) + 1
    found = page.cells[start : start + len(order)]
    assert [(cells[0], cells[1], cells[2]) for cells in found] == [
        (str(place), str(row.number), f"{row.objective:.5f}") for place, row in enumerate(order, 1)
    ]
    behind = [cells[head.index("behind the best")] for cells in found]
    assert behind[0] == ""
    # The trials lie 0.05 apart in shift: the next one cannot be told from the best, the last can.
    assert behind[1].startswith("≈ ")
    assert re.fullmatch(r"0\.\d{5} ± 0\.\d{5}", behind[-1])


def test_the_header_counts_the_trials(text: str) -> None:
    own = text.replace(get_plotlyjs(), "")
    values = re.findall(r"<div class='label'>(\w+)</div><div class='value'>(\d+)</div>", own)
    assert values[:3] == [("complete", "15"), ("pruned", "6"), ("failed", "3")]
    assert "Data 0123456789ab" in own


def test_a_study_without_trials_says_so(tmp_path: Path) -> None:
    study = MadeStudy(tmp_path)
    assert Page(write(study)).plots == []
    assert "No trial is complete yet" in study.folder.report.read_text(encoding="utf-8")


def test_a_study_of_failures_shows_when_and_why(tmp_path: Path) -> None:
    study = MadeStudy(tmp_path)
    study.add(state="failed", reason="out of memory")
    page = Page(write(study))
    assert page.plots == ["plot-history"]
    assert ["1", "failed", "out of memory"] in page.cells


def test_one_trial_is_enough_for_its_curves(tmp_path: Path) -> None:
    study = MadeStudy(tmp_path)
    study.add(*normal_scores(1.0, seed=0))
    text = write(study)
    assert Page(text).plots == [
        "plot-calibration",
        "plot-history",
        "plot-curves",
        "plot-roc",
        "plot-pr",
    ]
    assert "needs at least 10 complete trials whose objectives differ, and there are 1" in text
    assert "It is the only complete trial" in text


def test_a_study_of_another_objective_has_no_delong_errors(tmp_path: Path) -> None:
    study = MadeStudy(tmp_path, metric="log_loss")
    study.add(*normal_scores(1.0, seed=0))
    study.add(*normal_scores(2.0, seed=1))
    own = write(study).replace(get_plotlyjs(), "")
    assert "DeLong" not in own
    assert "best log_loss" in own


def test_the_champion_is_shown(tmp_path: Path) -> None:
    study = MadeStudy(tmp_path)
    study.add(*normal_scores(1.0, seed=0))
    record = champion(
        0,
        recipe=study.rows[0].recipe,
        chosen_by="by hand",
        who="<i>somebody</i>",
        why="It is small.",
        model_version="3",
    )
    study.folder.champion.write_text(record.model_dump_json(), encoding="utf-8")
    said = "made version 3 by &lt;i&gt;somebody&lt;/i&gt; on 2025-02-03.<br>It is small."
    assert f"Trial 0, registered as {said}" in write(study)


def test_lost_scores_of_a_top_trial_are_named(tmp_path: Path) -> None:
    study = MadeStudy(tmp_path)
    recipe = study.add(*normal_scores(1.0, seed=0))
    study.folder.trial(recipe.uid).scores.unlink()
    with pytest.raises(DamagedFileError, match=r"scores\.parquet is gone"):
        write(study)


def test_the_best_so_far_only_improves() -> None:
    rows = [row(0, 0.6), row(1, 0.9, state="pruned"), row(2, 0.5), row(3, 0.8), row(4, None)]
    rows[4] = row(4, None, state="failed", reason="out of memory")
    sure = Estimate(value=0.8, standard_error=0.01, low=0.75, high=0.84)
    figure = figures.history(rows, AUC, sure).figure
    best = next(trace for trace in figure.data if trace.name == "best so far")
    # The pruned trial's 0.9 comes from fewer epochs; the line goes on to the last trial.
    assert (list(best.x), list(best.y)) == ([0, 2, 3, 4], [0.6, 0.6, 0.8, 0.8])
    bar = figure.data[-1]
    assert (list(bar.x), list(bar.y)) == ([3], [0.8])
    assert bar.error_y.arrayminus[0] == pytest.approx(0.05)
    assert bar.error_y.array[0] == pytest.approx(0.04)
    failed = next(trace for trace in figure.data if trace.name == "failed")
    assert list(failed.x) == [4]
    assert failed.yaxis == "y2"


def test_the_best_so_far_keeps_the_constraints() -> None:
    broken = ("fpr is 0.9, not at most 0.5",)
    rows = [row(0, 0.9, breaks=broken), row(1, 0.7), row(2, 0.95, breaks=broken), row(3, 0.8)]
    plot = figures.history(rows, AUC, None)
    assert list(plot.figure.data[0].y) == [0.9, 0.7, 0.7, 0.8, 0.8]
    assert "that keep the constraints" in plot.note
    alone = figures.history(rows[:1], AUC, None)
    assert list(alone.figure.data[0].y) == [0.9, 0.9]
    assert "constraint" not in alone.note


def test_an_error_bar_of_an_auc_ends_at_one() -> None:
    sure = auc([0] * 20 + [1] * 20, [*range(19), 20, 19, *range(21, 40)])
    assert sure.value + 1.96 * (sure.standard_error or 0) > 1
    bar = figures.history([row(0, sure.value)], AUC, sure).figure.data[-1]
    assert 0 < bar.error_y.array[0] < 1 - sure.value


def test_a_lower_log_loss_is_an_improvement() -> None:
    rows = [row(0, 0.6), row(1, 0.7), row(2, 0.5)]
    figure = figures.history(rows, Objective(metric="log_loss"), None).figure
    assert list(figure.data[0].y) == [0.6, 0.6, 0.5, 0.5]


def test_parallel_axes_map_categories_to_short_ticks() -> None:
    rows = [
        row(0, 0.9, drawn={"backbone": "vit_base_patch16_224.augreg2_in21k_ft_in1k", "same": 1}),
        row(1, 0.8, drawn={"backbone": "resnet18", "same": 1}),
        row(2, None, state="failed", drawn={"backbone": "never_shown", "same": 2}),
    ]
    plot = figures.parallel(rows, AUC, {})
    assert plot is not None
    backbone, objective = plot.figure.data[0].dimensions
    assert backbone.label == "backbone"
    # The best trial comes last, so that it is drawn on top.
    assert list(backbone["values"]) == [0, 1]
    assert backbone.ticktext[0] == "resnet18"
    assert len(backbone.ticktext[1]) == 16
    assert list(objective["values"]) == [0.8, 0.9]


def test_parallel_axes_are_few_enough_to_read() -> None:
    drawn = [{f"part{k}.rate": float(n + k) for k in range(14)} for n in (1, 2)]
    rows = [row(n, 0.5 + n / 10, drawn=values) for n, values in enumerate(drawn)]
    plot = figures.parallel(rows, AUC, {"part13.rate": 0.9})
    assert plot is not None
    labels = [dimension.label for dimension in plot.figure.data[0].dimensions]
    assert len(labels) == figures.MAX_DIMENSIONS + 1
    assert labels[0] == "part13.rate"
    assert "The 9 most important of 14 dimensions are shown." in plot.note


def test_parallel_lines_are_those_of_the_best_hundred() -> None:
    rows = [row(n, n / 200, drawn={"a": float(n)}) for n in range(150)]
    plot = figures.parallel(rows, AUC, {})
    assert plot is not None
    assert list(plot.figure.data[0].dimensions[0]["values"]) == [float(n) for n in range(50, 150)]
    assert "The best 100 of 150 complete trials are drawn." in plot.note


def test_nothing_is_drawn_where_nothing_varied() -> None:
    rows = [row(0, 0.9, drawn={"a": 1}), row(1, 0.8, drawn={"a": 1})]
    assert figures.parallel(rows, AUC, {}) is None


def test_numbers_over_decades_stand_on_a_logarithmic_axis() -> None:
    found = axis([1e-4, 1e-2, 1e-3])
    assert found["values"] == pytest.approx([-4, -2, -3])
    assert found["ticktext"] == ["0.0001", "0.001", "0.01"]


def test_numbers_of_one_size_stand_on_a_plain_axis() -> None:
    found = axis([16, 64, 32])
    assert found["values"] == [16, 64, 32]
    assert (found["tickvals"], found["ticktext"]) == ([16, 32, 64], ["16", "32", "64"])


def test_ticks_of_many_numbers_keep_apart_and_tell_the_values() -> None:
    found = axis([0.98 + n / 2000 for n in range(41)])
    assert found["ticktext"] == ["0.98", "0.985", "0.99", "0.995", "1"]


def test_an_absent_value_stands_below_the_others() -> None:
    found = axis([0.0, ABSENT, 1.0])
    assert found["values"] == pytest.approx([0.0, -0.12, 1.0])
    assert found["ticktext"] == [ABSENT, "0", "1"]
    assert found["range"] == pytest.approx([-0.12, 1.0])


def test_true_and_false_are_categories() -> None:
    assert axis([True, False, True])["ticktext"] == ["False", "True"]


def test_axis_names_are_as_short_as_they_can_be_told_apart() -> None:
    keys = ["optimizer.sgd(momentum=0.9).lr", "pictures.hflip", "spectra.hflip", "dropout"]
    assert axis_names(keys) == {
        "optimizer.sgd(momentum=0.9).lr": "lr",
        "pictures.hflip": "pictures.hflip",
        "spectra.hflip": "spectra.hflip",
        "dropout": "dropout",
    }


def test_axis_names_that_are_cut_alike_are_numbered() -> None:
    long = [f"augmentation_of_the_left_{n}_channel_rate" for n in "ab"]
    names = axis_names(long)
    assert len(set(names.values())) == 2
    assert max(map(len, names.values())) <= 14


@pytest.mark.parametrize("draw", [figures.roc, figures.precision_recall])
def test_long_curves_are_thinned_but_keep_their_ends(draw: Callable[..., figures.Plot]) -> None:
    targets, scores = normal_scores(0.5, seed=0, num=20_000)
    table = pd.DataFrame({"target": targets, "score": scores})
    curve = draw({0: table}, [row(0, 0.8)], "val").figure.data[-1]
    assert len(curve.x) <= 1000
    assert sorted((curve.x[0], curve.x[-1])) == [0, 1]


def test_the_area_below_a_drawn_precision_recall_curve_is_the_average_precision() -> None:
    targets, scores = normal_scores(0.7, seed=1, num=30)
    drawn = figures.precision_recall(
        {0: pd.DataFrame({"target": targets, "score": scores})}, [row(0, 0.8)], "val"
    ).figure.data[-1]
    assert drawn.line.shape == "hv"  # from each point on, a lower recall has its precision
    area = -(np.diff(drawn.x) * np.array(drawn.y)[:-1]).sum()
    assert area == pytest.approx(average_precision_score(targets, scores), abs=1e-5)


def test_curves_are_of_one_slice_where_the_objective_is_of_several(tmp_path: Path) -> None:
    """Real files are in the slice of each generator: counted in each, they halve the precision."""
    study = make_sliced(tmp_path, num_trials=1)
    objective = Objective(over=("val", "generators", "degraded"), aggregate="mean")
    plots = {plot.name: plot for plot in study_plots(study.folder, study.rows, objective)}
    scores = study.folder.trial(study.rows[0].recipe).read_scores()
    val = scores[scores["slice"] == "val"]
    fpr, tpr, _ = roc_curve(val["target"], val["score"])
    drawn = plots["roc"].figure.data[-1]
    assert np.allclose(drawn.x, fpr, atol=1e-6) and np.allclose(drawn.y, tpr, atol=1e-6)
    assert f"AUC {auc(val['target'], val['score']).value:.5f}" in drawn.name
    assert plots["pr"].figure.data[-1].y[0] == 0.5  # all called fake: half of the files are
    assert plots["roc"].note == plots["pr"].note == "On val."


def test_the_table_has_the_metrics_of_val_beside_an_objective_over_several_slices(
    tmp_path: Path,
) -> None:
    study = make_sliced(tmp_path, num_trials=1)
    objective = Objective(over=("val", "generators", "degraded"), aggregate="mean")
    of_val = {"auc": 0.91, "f1": 0.92, "log_loss": 0.93, "tpr": 0.94, "fpr": 0.95}
    of_all = {name: value - 0.5 for name, value in of_val.items()}
    known = {"by_slice": {"val": of_val, "generator:a": of_all}, "metrics": of_all}
    rows = [study.rows[0].model_copy(update=known)]
    drawn = leaders(study.folder, rows, objective)
    assert all(f">{value:.4f}<" in drawn for value in of_val.values())
    assert not any(f">{value:.4f}<" in drawn for value in of_all.values())
    assert f"auc to FPR: on val alone; {objective.label}: on " in drawn


def test_learning_curves_break_where_another_fold_begins() -> None:
    epochs = tuple(
        epoch(number, 0.5 + number / 10).model_copy(update={"fold": 1 + number // 3})
        for number in (1, 2, 3, 4)
    )
    rows = [row(number, 0.9, epochs=epochs) for number in (0, 1)]
    plot = figures.learning_curves(rows, AUC, rows[:1])
    assert plot is not None
    others, best = plot.figure.data
    assert best.x == (1, 2, None, 3, 4)
    assert others.x == (1, 2, None, 3, 4, None) and len(others.text) == 6
    assert plot.note.endswith("A trial is trained anew for each fold, where its line is broken.")
    stopped = row(2, 0.7, state="pruned", epochs=epochs[:1])
    assert "of a single fold: " in figures.history([*rows, stopped], AUC, None).note
    assert "fold" not in figures.history([stopped], AUC, None).note


NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)


def browse(page: Path, profile: Path) -> str:
    """Return the document as a browser leaves it once its scripts have run."""
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed to draw the page")
    command = [
        CHROMIUM,
        *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
        *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
        f"--user-data-dir={profile}",
        *("--virtual-time-budget=8000", "--window-size=1300,3200", "--dump-dom", page.as_uri()),
    ]
    done = subprocess.run(command, capture_output=True, timeout=120, check=True)
    return done.stdout.decode()


@pytest.fixture(scope="module")
def drawn(wide: MadeStudy, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page as a browser leaves it."""
    return browse(wide.folder.report, tmp_path_factory.mktemp("browser"))


def test_a_browser_draws_every_plot(drawn: str, page: Page) -> None:
    pieces = re.split(r'<div id="(plot-\w+)"', drawn)
    sections = dict(zip(pieces[1::2], pieces[2::2], strict=True))
    assert list(sections) == page.plots
    for name, section in sections.items():
        assert "main-svg" in section, name
    assert sections["plot-history"].count('class="trace scatter') == 6
    assert sections["plot-importances"].count('class="point"') >= 5
    assert sections["plot-parallel"].count('class="axis-brush') == figures.MAX_DIMENSIONS + 1
    assert sections["plot-roc"].count('class="trace scatter') == 6


def test_plots_side_by_side_are_as_wide_as_their_halves(drawn: str) -> None:
    widths = {
        name: float(width)
        for name, width in re.findall(
            r'<div id="plot-(\w+)".*?<svg class="main-svg"[^>]*? width="([\d.]+)"', drawn, re.S
        )
    }
    assert widths["roc"] == widths["pr"] < widths["history"] / 2


def test_a_browser_offers_no_upload(drawn: str) -> None:
    body = drawn[drawn.index("<body") :]
    titles = set(re.findall(r'class="modebar-btn" [^>]*data-title="([^"]+)"', body))
    assert "Reset axes" in titles
    assert not [title for title in titles if re.search("cloud|plotly|upload|share", title, re.I)]


def test_a_click_on_a_head_sorts_the_table(wide: MadeStudy, tmp_path: Path) -> None:
    text = wide.folder.report.read_text(encoding="utf-8").replace(get_plotlyjs(), "")
    # Two clicks on "trial": from the last trial to the first.
    click = "<script>document.querySelectorAll('.sortable th')[1].click();</script>"
    sorted_page = tmp_path / "sorted.html"
    sorted_page.write_text(text.replace("</body>", f"{click * 2}</body>"), encoding="utf-8")
    cells = Page(browse(sorted_page, tmp_path / "browser")).cells
    start = next(place for place, row in enumerate(cells) if row and row[0] == "rank") + 1
    complete = [row.number for row in wide.rows if row.state == "complete"]
    shown = [int(row[1]) for row in cells[start : start + len(complete)]]
    assert shown == sorted(complete, reverse=True)


def test_the_card_of_the_best_auc_has_an_interval_within_0_and_1(tmp_path: Path) -> None:
    made = MadeStudy(tmp_path)
    targets = [0] * 20 + [1] * 20
    made.add(targets, [*np.linspace(0.1, 0.4, 19), 0.62, 0.6, *np.linspace(0.65, 0.9, 19)])
    page = write(made)
    assert re.search(r"0\.\d{5} to 0\.99\d{3} \(95%\), trial 0", page)
    assert "DeLong), trial" not in page
