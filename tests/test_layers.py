"""The architecture: a module imports only from modules above it in this list."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "workbench"
ORDER = [
    "errors",
    "files",
    "gate",
    "console",
    "values",
    "processes",
    "fenced",
    "fence",
    "workspace",
    "pages",
    "media.source",
    "media.timing",
    "media.view",
    "media.truncation",
    "media.image",
    "media.facts",
    "media.audio",
    "media.spectrogram",
    "media.mel",
    "media.logspec",
    "media.cqt",
    "media.features",
    "media.tonemap",
    "media.rendering",
    "media.video",
    "media.frames",
    "media.frame_diff",
    "media.face_detectors",
    "media.face_tracks",
    "media.faces",
    "media.face_trace",
    "media.views",
    "media.reading",
    "media.decoders",
    "data.demo_face",
    "data.demo_picture",
    "data.demo_picture_fakes",
    "data.demo_plan",
    "data.demo_sound",
    "data.demo_sound_fakes",
    "data.demo_clip",
    "data.demo",
    "data.delimited",
    "data.names",
    "data.labels",
    "data.contents",
    "data.manifest",
    "data.dataset",
    "data.lines",
    "data.measured",
    "data.rows",
    "data.store",
    "data.facts",
    "data.decoding",
    "data.unexpected",
    "data.prepare",
    "doctor.cues",
    "doctor.evidence",
    "doctor.findings",
    "doctor.hashes",
    "doctor.rows",
    "doctor.sheet_drawing",
    "doctor.sheet_values",
    "doctor.shortcuts",
    "doctor.splits",
    "doctor.thumbnails",
    "doctor.copies",
    "doctor.duplicates",
    "doctor.figures",
    "doctor.profiles",
    "doctor.saturation",
    "doctor.sheet",
    "doctor.shift",
    "doctor.checkup",
    "doctor.page",
    "parts.alexnet",
    "parts.archives",
    "parts.torchvision_fix",
    "parts.augment_draws",
    "parts.augment_geometry",
    "parts.augment_colour",
    "parts.augment_damage",
    "parts.augment_policy",
    "parts.augment_sound",
    "parts.augment_mixing",
    "parts.augment_blending",
    "parts.augment",
    "parts.hub",
    "parts.losses",
    "parts.optimizers",
    "parts.pixels",
    "parts.pretraining",
    "parts.leaderboard",
    "parts.leaderboard_ranking",
    "parts.leaderboard_making",
    "parts.schedules",
    "parts.wheels",
    "parts.weights",
    "parts.backbones",
    "parts.weight_files",
    "parts.weight_store",
    "parts.model",
    "parts.transfer",
    "rules.counts",
    "rules.provenance",
    "rules.rulebook",
    "trial.plots",
    "trial.recipe",
    "trial.device",
    "trial.precision",
    "trial.metrics",
    "trial.delong",
    "trial.result",
    "trial.batches",
    "trial.scoring",
    "trial.served",
    "trial.memory",
    "trial.features",
    "trial.stepping",
    "trial.passes",
    "trial.compiling",
    "trial.layout",
    "trial.training",
    "trial.train",
    "trial.side_by_side",
    "trial.worker",
    "tracking.moving",
    "tracking.store",
    "tracking.writing",
    "tracking.ui",
    "tracking.runs",
    "tracking.registry",
    "study.pool",
    "study.costs",
    "study.packing",
    "study.space",
    "study.augment_sheet",
    "study.experiment",
    "study.known",
    "study.folder",
    "study.halving",
    "study.provenance",
    "study.records",
    "study.alike",
    "study.recording",
    "study.journal",
    "study.weights",
    "study.stopping",
    "study.screening",
    "study.probing",
    "study.samplers",
    "study.forecast",
    "study.precisions",
    "study.making",
    "study.devices",
    "study.beside",
    "study.books",
    "study.live",
    "study.drawing",
    "study.search",
    "study.start",
    "selection.leaderboard",
    "selection.statistics",
    "selection.grade",
    "selection.axes",
    "selection.figures",
    "selection.promotion",
    "selection.report",
    "submission.closure",
    "submission.contents",
    "submission.documents",
    "submission.paths",
    "submission.predictions",
    "submission.neutral",
    "submission.api",
    "submission.bundle",
    "submission.verify",
    "cli.shared",
    "cli.backbones",
    "cli.data",
    "cli.study",
    "cli.submission",
    "cli.weights",
    "cli.main",
    "__main__",
]
ONLY_IN = {
    "optuna": {
        "study.records",
        "study.recording",
        "study.journal",
        "study.samplers",
        "study.books",
    },
    "mlflow": {"tracking.store", "tracking.writing", "tracking.runs", "tracking.registry"},
    "typer": {module for module in ORDER if module.startswith("cli.")},
    "plotly": {"doctor.figures", "pages", "selection.figures"},
    "timm": {"parts.alexnet", "parts.torchvision_fix"},
    "thop": {"rules.counts"},
}
"""Each tool's door: the modules that import it."""


def imported(module: str) -> Iterator[str]:
    """Yield the full dotted names that `module` imports, anywhere in its file."""
    source = (PACKAGE / module.replace(".", "/")).with_suffix(".py").read_text(encoding="utf-8")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def own_modules(module: str) -> set[str]:
    """Return the modules of this package that `module` imports."""
    names = {n.removeprefix("workbench.") for n in imported(module) if n.startswith("workbench")}
    return {name if name in ORDER else name.rpartition(".")[0] for name in names}


@pytest.mark.parametrize("module", ORDER)
def test_imports_go_up_only(module: str) -> None:
    above = set(ORDER[: ORDER.index(module)])
    assert own_modules(module) - above == set()


def test_the_list_is_complete() -> None:
    files = {f for f in PACKAGE.rglob("*.py") if f.name != "__init__.py"}
    found = sorted(".".join(f.relative_to(PACKAGE).with_suffix("").parts) for f in files)
    assert found == sorted(ORDER)


def test_the_folders_stand_in_their_order() -> None:
    folders = [name.partition(".")[0] for name in ORDER if "." in name]
    seen = list(dict.fromkeys(folders))
    assert folders == sorted(folders, key=seen.index)  # each in one piece
    assert seen == [
        "media",
        "data",
        "doctor",
        "parts",
        "rules",
        "trial",
        "tracking",
        "study",
        "selection",
        "submission",
        "cli",
    ]


def test_init_files_are_empty() -> None:
    folders = {f.parent for f in PACKAGE.rglob("*.py")}
    for folder in folders:
        assert (folder / "__init__.py").read_text() == "", folder


@pytest.mark.parametrize("tool", ONLY_IN)
def test_each_tool_has_one_door(tool: str) -> None:
    users = {
        module for module in ORDER if tool in {name.partition(".")[0] for name in imported(module)}
    }
    assert users == ONLY_IN[tool]


WITHOUT_TORCH = ("media.", "data.", "doctor.")


@pytest.mark.parametrize("module", [m for m in ORDER if m.startswith(WITHOUT_TORCH)])
def test_media_data_and_the_doctor_know_no_torch(module: str) -> None:
    tops = {name.partition(".")[0] for name in imported(module)}
    assert not tops & {"torch", "timm", "torchvision"}


def loads(code: str, *names: str) -> list[str]:
    """Return which of the modules `names` a fresh process has loaded after `code`."""
    ask = f"{code}\nimport sys; print([n for n in {names!r} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)
    found: list[str] = ast.literal_eval(done.stdout.splitlines()[-1])
    return found


def test_the_command_line_starts_without_the_heavy_libraries() -> None:
    heavy = ("torch", "timm", "pandas", "numpy", "optuna", "mlflow", "cv2", "librosa", "pydantic")
    help_page = (
        "import contextlib, workbench.cli.main\n"
        "with contextlib.suppress(SystemExit):\n    workbench.cli.main.app(['--help'])"
    )
    assert loads(help_page, "workbench.cli.main", *heavy) == ["workbench.cli.main"]


def test_media_and_data_load_no_torch() -> None:
    modules = [m for m in ORDER if m.startswith(("media.", "data.", "doctor."))]
    code = "".join(f"import workbench.{module}\n" for module in modules)
    assert loads(code, "workbench.data.prepare", "torch") == ["workbench.data.prepare"]


def test_a_trial_loads_neither_optuna_nor_mlflow() -> None:
    modules = [m for m in ORDER if m.startswith("trial.")]
    code = "".join(f"import workbench.{module}\n" for module in modules)
    tools = ("optuna", "mlflow", "workbench.tracking", "workbench.study.records")
    assert loads(code, "workbench.trial.train", *tools) == ["workbench.trial.train"]


def test_a_worker_that_waits_has_loaded_no_torch() -> None:
    code = "import workbench.trial.worker"
    assert loads(code, "workbench.trial.worker", "torch") == ["workbench.trial.worker"]
