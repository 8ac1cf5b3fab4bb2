"""Where things are in a bundle."""

from pathlib import Path

from workbench.errors import BundleError
from workbench.files import read_json

MANIFEST = "manifest.json"
PREDICTIONS = "predictions.csv"
WEIGHTS = "model.safetensors"
MODEL = "model.json"
"""The model spec, which is all that prediction reads; bundles of version 0.1 have none."""

PROGRAM = "predict.py"
CODE = "code"

SCORED_FILES = "scored_files.csv"
"""The test files: the content of each, and whether its score is neutral. Older ones have none."""

CALIBRATION = "calibration.json"
"""A temperature, where the scores were asked to be calibrated."""


MOST_TEMPERATURE = 1000.0


def read_columns(bundle: Path) -> tuple[str, str]:
    """Return the columns of a name and of its score in tables of predictions.

    Raises:
        BundleError: the manifest is gone or damaged.
    """
    try:
        manifest = read_json(bundle / MANIFEST)
    except (OSError, ValueError, RecursionError) as error:
        raise _damaged(bundle) from error
    match manifest:
        case {"name_column": str(name), "score_column": str(score)}:
            return name, score
    raise _damaged(bundle)


def read_temperature(bundle: Path) -> float:
    """Return by what the logits of a bundle's scores are divided; 1 if it was not calibrated.

    Raises:
        OSError, ValueError: the file is not what was written.
    """
    path = bundle / CALIBRATION
    if not path.exists():
        return 1.0
    match read_json(path):
        case {"temperature": float(temperature)} if 0 < temperature <= MOST_TEMPERATURE:
            return temperature
    raise ValueError(f"{CALIBRATION} has no temperature from 0 to {MOST_TEMPERATURE:g}")


def _damaged(bundle: Path) -> BundleError:
    return BundleError(f"{bundle} has no {MANIFEST} that can be read. Export the bundle again.")
