"""What in a study's folder is the study's own, so that somebody else's files are left alone."""

from pathlib import Path

from workbench.files import PART

LOCKS = ("lock", ".promoting")
"""Files of a study that hold nothing: by the first one process writes it, by the second one
promotes."""

FOLDS = "folds"
"""Folder of a study that holds the clusters its files are dealt by; it is made before the study."""

OF_A_START = frozenset({*LOCKS, FOLDS, ".registering", ".importing", ".DS_Store"})
"""What may be in the folder of a study whose start was killed."""

_OWN = frozenset(
    OF_A_START
    | {"study.json", "experiment.yaml", "journal.log", "precisions.json"}
    | {"manifest.parquet", "prepared.json", "template.csv", "slices.json", "beside"}
    | {"clusters.json", "screening.json", "augmentations", "trials", "repeats", "finalists.json"}
    | {"packs", "last-pack", "soups", "last-soup", "refits", "refit-packs", "refit.json"}
    | {"champion.json", "compare.html", "looks.jsonl", "cleaned.txt"}
)
"""What a study's folder has, besides files half-written and journals that were put aside."""


def is_own(folder: Path, name: str) -> bool:
    """Return whether what is called so in a study's folder is the study's."""
    if name == FOLDS and (folder / name).is_dir():
        inner = [place.name for place in (folder / name).iterdir()]
        return all(one in _OWN or one.startswith(PART) for one in inner)
    return name in _OWN or name.startswith((PART, "journal.log.damaged"))
