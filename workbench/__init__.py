"""Experiment tracking and model selection for binary media classification under rules.

    import workbench as wb

    study = wb.search("experiments/demo.yaml", trials=20)
    study.compare()

Each name is loaded when it is first used: importing the package alone loads no library.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from workbench.api.comparison import Comparison
    from workbench.api.data_check import DataCheck, check
    from workbench.api.frame_scores import frame_scores
    from workbench.api.made_pack import MadePack
    from workbench.api.prediction import predict
    from workbench.api.search import search, train
    from workbench.api.study import Study
    from workbench.errors import WorkbenchError
    from workbench.selection.champion import Champion
    from workbench.submission.bundle import Bundle

__all__ = [
    "Bundle",
    "Champion",
    "Comparison",
    "DataCheck",
    "MadePack",
    "Study",
    "WorkbenchError",
    "check",
    "frame_scores",
    "predict",
    "search",
    "train",
]

_MODULES = {
    "Bundle": "submission.bundle",
    "Champion": "selection.champion",
    "Comparison": "api.comparison",
    "DataCheck": "api.data_check",
    "MadePack": "api.made_pack",
    "Study": "api.study",
    "WorkbenchError": "errors",
    "check": "api.data_check",
    "frame_scores": "api.frame_scores",
    "predict": "api.prediction",
    "search": "api.search",
    "train": "api.search",
}
"""Where each name is."""

if not TYPE_CHECKING:  # a checker of types knows the names above, and no others

    def __getattr__(name: str) -> Any:
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        found = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
        globals()[name] = found
        return found

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
