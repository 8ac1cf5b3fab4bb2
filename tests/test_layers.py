"""The architecture: folders in an order, each importing only from itself and those before it."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "workbench"
FOLDERS = [
    "",  # the foundation: modules of the package's own folder
    "media",
    "demo",
    "degradation",
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
    "searching",
    "selection",
    "report",
    "maintenance",
    "submission",
    "api",  # what `import workbench` offers
    "cli",
    "__main__",
]


def _modules() -> list[str]:
    files = (file for file in PACKAGE.rglob("*.py") if file.name != "__init__.py")
    return sorted(".".join(file.relative_to(PACKAGE).with_suffix("").parts) for file in files)


MODULES = _modules()
ONLY_IN = {
    "optuna": {
        "study.importances",
        "study.records",
        "study.storage",
        "searching.database",
        "searching.ended_trials",
        "searching.patient_storage",
        "searching.recording",
        "searching.journal",
        "searching.short_memory",
        "searching.proposals",
        "searching.drawing",
        "searching.study_store",
    },
    "mlflow": {
        "tracking.store",
        "tracking.server",
        "tracking.writing",
        "tracking.runs",
        "tracking.registry",
        "tracking.transfer",
    },
    "typer": {module for module in MODULES if module.startswith("cli.")},
    "plotly": {"checks.figures", "pages", "report.figures", "report.figure_parts"},
    "timm": {
        "parts.aasist",
        "parts.alexnet",
        "parts.lcnn",
        "parts.raw_resnet",
        "parts.torchvision_fix",
    },
    "thop": {"rules.counts"},
    "ray": {"searching.ray_cluster"},
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
    return {name if name in MODULES else name.rpartition(".")[0] for name in names}


def folder_of(module: str) -> str:
    return module if module == "__main__" else module.rpartition(".")[0]


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_up_only(module: str) -> None:
    place = FOLDERS.index(folder_of(module))
    below = {name for name in own_modules(module) if FOLDERS.index(folder_of(name)) > place}
    assert below == set()


def test_no_imports_go_round() -> None:
    graph = {module: own_modules(module) for module in MODULES}
    # Where they do, this raises and names them.
    assert set(TopologicalSorter(graph).static_order()) >= set(MODULES)


def test_every_folder_has_its_place() -> None:
    assert {folder_of(module) for module in MODULES} == set(FOLDERS)


def test_init_files_are_empty() -> None:
    # The package itself offers the names of `api`.
    folders = {f.parent for f in PACKAGE.rglob("*.py")} - {PACKAGE}
    for folder in folders:
        assert (folder / "__init__.py").read_text() == "", folder


def test_the_package_loads_nothing_but_the_standard_library_at_once() -> None:
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    at_once = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {getattr(node, "module", None) or node.names[0].name for node in at_once}
    assert names and names <= sys.stdlib_module_names


@pytest.mark.parametrize("tool", ONLY_IN)
def test_each_tool_has_one_door(tool: str) -> None:
    users = {
        module
        for module in MODULES
        if tool in {name.partition(".")[0] for name in imported(module)}
    }
    assert users == ONLY_IN[tool]


WITHOUT_TORCH = ("media.", "degradation.", "data.", "checks.")


@pytest.mark.parametrize("module", [m for m in MODULES if m.startswith(WITHOUT_TORCH)])
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


def test_the_package_itself_loads_no_library_and_none_of_its_modules() -> None:
    heavy = ("torch", "pandas", "numpy", "optuna", "mlflow", "plotly", "pydantic", "rich", "yaml")
    assert loads("import workbench", "workbench", "workbench.api", *heavy) == ["workbench"]


def test_reading_a_study_loads_no_mlflow() -> None:
    code = "import workbench; workbench.Study"
    assert loads(code, "workbench.api.study", "mlflow") == ["workbench.api.study"]


def test_media_and_data_load_no_torch() -> None:
    modules = [m for m in MODULES if m.startswith(("media.", "data.", "checks."))]
    code = "".join(f"import workbench.{module}\n" for module in modules)
    assert loads(code, "workbench.data.prepare", "torch") == ["workbench.data.prepare"]


def test_a_trial_loads_neither_optuna_nor_mlflow() -> None:
    modules = [m for m in MODULES if m.startswith("trial.")]
    code = "".join(f"import workbench.{module}\n" for module in modules)
    tools = ("optuna", "mlflow", "workbench.tracking", "workbench.study.records")
    assert loads(code, "workbench.trial.train", *tools) == ["workbench.trial.train"]


def test_a_process_that_decodes_loads_neither_tables_nor_statistics() -> None:
    code = "import workbench.data.decoding"
    slow = ("pandas", "scipy.stats", "sklearn")
    assert loads(code, "workbench.data.decoding", *slow) == ["workbench.data.decoding"]


def test_a_worker_that_waits_has_loaded_no_torch() -> None:
    code = "import workbench.trial.worker"
    assert loads(code, "workbench.trial.worker", "torch") == ["workbench.trial.worker"]
