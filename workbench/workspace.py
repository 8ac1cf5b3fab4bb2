"""Where the program keeps what it makes."""

from dataclasses import dataclass
from pathlib import Path

from workbench.addresses import ServerAddress, TrackingPlace

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
        """Folder of the tracking store, where no server keeps the runs."""
        return self.root / "mlruns"

    def tracking_of(self, server: str | None) -> TrackingPlace:
        """Return where the runs of a study are whose experiment names this server, or none."""
        return self.tracking if server is None else ServerAddress(server)
