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
    "yaml_files",
    "processes",
    "fenced",
    "fence",
    "workspace",
    "pages",
    "media.declared",
    "media.onnx_file",
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
    "media.audio_features",
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
    "demo.face",
    "demo.picture",
    "demo.picture_fakes",
    "demo.plan",
    "demo.sound",
    "demo.sound_fakes",
    "demo.clip",
    "demo.build",
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
    "checks.cues",
    "checks.evidence",
    "checks.findings",
    "checks.hashes",
    "checks.rows",
    "checks.sheet_drawing",
    "checks.sheet_values",
    "checks.shortcuts",
    "checks.splits",
    "checks.thumbnails",
    "checks.copies",
    "checks.duplicates",
    "checks.figures",
    "checks.profiles",
    "checks.saturation",
    "checks.sheet",
    "checks.shift",
    "checks.checkup",
    "checks.page",
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
    "parts.leaderboard_making",
    "parts.schedules",
    "parts.wheels",
    "parts.weights",
    "parts.backbones",
    "parts.pretrained",
    "parts.weight_files",
    "parts.weight_store",
    "parts.per_view",
    "parts.model",
    "parts.model_spec",
    "parts.transfer",
    "rules.subject",
    "rules.rulebook",
    "rules.ranking",
    "rules.counts",
    "rules.judge",
    "scoring.evaluator",
    "scoring.served",
    "scoring.slices",
    "scoring.stored",
    "trial.plots",
    "trial.recipe",
    "trial.device",
    "trial.precision",
    "trial.metrics",
    "trial.delong",
    "trial.result",
    "trial.decision",
    "trial.batches",
    "trial.memory",
    "trial.stepping",
    "trial.rehearsal",
    "trial.compiling",
    "trial.layout",
    "trial.training",
    "trial.train",
    "trial.side_by_side",
    "trial.job",
    "trial.worker",
    "tracking.moving",
    "tracking.store",
    "tracking.writing",
    "tracking.ui",
    "tracking.runs",
    "tracking.registry",
    "space.language",
    "space.backbone_options",
    "space.space",
    "space.experiment",
    "space.presets",
    "space.weights_finder",
    "space.precisions",
    "space.recipe_builder",
    "study.folder",
    "study.provenance",
    "study.records",
    "study.alike",
    "screening.probe",
    "screening.screening",
    "screening.probing",
    "search.costs",
    "search.devices",
    "search.options",
    "search.runner",
    "search.pool",
    "search.packing",
    "search.local_runner",
    "search.augment_sheet",
    "search.halving",
    "search.scheduler",
    "search.recording",
    "search.journal",
    "search.samplers",
    "search.proposals",
    "search.running",
    "search.store",
    "search.forecast",
    "search.drawing",
    "search.messages",
    "search.stopping",
    "search.noise",
    "search.queue",
    "search.beside",
    "search.live",
    "search.situation",
    "search.loop",
    "search.beginning",
    "search.start",
    "selection.leaderboard",
    "selection.statistics",
    "selection.grade",
    "selection.axes",
    "selection.figures",
    "selection.promotion",
    "selection.report",
    "submission.closure",
    "submission.code",
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
        "search.recording",
        "search.journal",
        "search.samplers",
        "search.proposals",
        "search.running",
        "search.drawing",
        "search.store",
    },
    "mlflow": {"tracking.store", "tracking.writing", "tracking.runs", "tracking.registry"},
    "typer": {module for module in ORDER if module.startswith("cli.")},
    "plotly": {"checks.figures", "pages", "selection.figures"},
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
        "demo",
        "data",
        "checks",
        "parts",
        "rules",
        "scoring",
        "trial",
        "tracking",
        "space",
        "study",
        "screening",
        "search",
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


WITHOUT_TORCH = ("media.", "data.", "checks.")


@pytest.mark.parametrize("module", [m for m in ORDER if m.startswith(WITHOUT_TORCH)])
def test_media_data_and_the_checks_know_no_torch(module: str) -> None:
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
    modules = [m for m in ORDER if m.startswith(("media.", "data.", "checks."))]
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
