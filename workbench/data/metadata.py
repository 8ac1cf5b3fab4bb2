"""What the tables say of a file besides its name and its label: who made it, whom it shows.

No model ever sees it. It sorts files into slices and into groups that stay together.
"""

from workbench.values import Frozen

_PREFIX = "meta."
"""Of its columns in the manifest's table, whose own columns may be called the same."""


class Metadata(Frozen):
    """Which columns of the tables say what of a file; the data need not have them."""

    generator: str = "generator"
    """What made a fake."""

    groups: tuple[str, ...] = ()
    """Whom or what several files are of: speakers, identities, sources."""

    @property
    def columns(self) -> tuple[str, ...]:
        """All of them, each once."""
        return tuple(dict.fromkeys((self.generator, *self.groups)))


def column_of(name: str) -> str:
    """Return what metadata column `name` is called in the manifest's table: text, "" if unknown."""
    return _PREFIX + name
