"""Where the program keeps what it makes."""

from dataclasses import dataclass
from pathlib import Path

RESERVED_NAMES = ("cache", "checks", "demo-data", "recipes", "weights")
"""Folders beside the studies that are none; no study can have such a name."""


@dataclass(frozen=True)
class Workspace:
    """Folders below the one that the program runs in."""

    root: Path

    @property
    def studies(self) -> Path:
        """Folder of the studies."""
        return self.root / "experiments"

    @property
    def cache(self) -> Path:
        """Folder of decoded views and content hashes."""
        return self.root / "experiments" / "cache"

    @property
    def demo_data(self) -> Path:
        """Folder of the demo data."""
        return self.root / "experiments" / "demo-data"

    @property
    def checks(self) -> Path:
        """Folder of the data check's pages and of contact sheets."""
        return self.root / "experiments" / "checks"

    @property
    def weights(self) -> Path:
        """Folder of pretrained weights brought by the user."""
        return self.root / "experiments" / "weights"

    @property
    def tracking(self) -> Path:
        """Folder of the tracking store."""
        return self.root / "mlruns"
