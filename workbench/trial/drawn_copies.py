"""Which training files are seen as copies of them: drawn anew in each epoch."""

from collections.abc import Collection, Iterable
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Generator, Tensor

from workbench.data.training_copies import copies_name
from workbench.data.view_store import NEUTRAL_ROW
from workbench.degradation.degradations import REAL_OF
from workbench.media.sound_view import SoundView
from workbench.parts.copies import Copies
from workbench.scoring.slices import Slice

Places = npt.NDArray[np.int64]


class DrawnCopies:
    """The files of a training with their copies behind them, and the drawing among these.

    Args:
        part: The files; their prepared data have the copies beside them.
        copies: How often which copy of a file is seen.
        views: Names of the views that the model reads; a copy in which they see no change is none.
    """

    def __init__(self, part: Slice, copies: Copies, views: Collection[str]) -> None:
        self._files, self._views = part, views
        self._tables = [part.rows]
        self._is_real = torch.from_numpy(part.rows["target"].to_numpy() == 0)
        self._forged, self._damaged = (
            torch.tensor([0.0, *chances.values()], dtype=torch.float64).cumsum(0)
            for chances in (copies.forged, copies.damaged)
        )
        self.num_files = len(part.rows)
        """Of the files themselves, which come first."""

        own = np.arange(self.num_files)
        plain = np.stack([own, *(self._added("", d, own, own >= 0) for d in copies.damaged)])
        places = [plain]
        self.plain = torch.from_numpy(plain)
        """Where each file is as it is and damaged in each way, (1 + ways, files)."""

        self.num_forged = 0.0
        """Real files that an epoch sees as fakes, on average."""

        self.num_pairs = 0.0
        """Real files that an epoch sees beside a fake made of them, on average."""

        self.made_of: dict[int, int] = {}
        """Where what each fake was made of is: the file, as damaged, or the real one of a pair."""

        partners: dict[int, int] = {}
        for forgery, chance in copies.forged.items():
            fakes = self._ways(forgery, copies.damaged, plain)
            is_made = fakes[0] != own
            if forgery in REAL_OF:
                reals = self._ways(REAL_OF[forgery].name, copies.damaged, plain)
                is_made &= reals[0] != own
                pairs = zip(reals[:, is_made].flat, fakes[:, is_made].flat, strict=True)
                partners |= {int(real): int(fake) for real, fake in pairs}
                self.made_of |= {fake: real for real, fake in partners.items()}
                fakes = np.where(is_made, reals, plain)
                self.num_pairs += chance * int(is_made.sum())
            else:
                pairs = zip(plain[:, is_made].flat, fakes[:, is_made].flat, strict=True)
                self.made_of |= {int(fake): int(real) for real, fake in pairs}
                self.num_forged += chance * int(is_made.sum())
            places.append(fakes)
        self._places = torch.from_numpy(np.stack(places))
        """Where each file is: (1 + ways to forge it, 1 + ways to damage it, files)."""

        table = pd.concat(self._tables, ignore_index=True)
        self._partners = torch.full((len(table),), -1)
        self._partners[list(partners.keys())] = torch.tensor(
            [*partners.values()], dtype=torch.int64
        )
        self.part = replace(part, prepared=replace(part.prepared, table=table), rows=table)
        """The files, and behind them their copies."""

    def drawn(self, order: Tensor, generator: Generator, num_segments: int) -> Tensor:
        """Return samples `order` with copies in place of some, (samples,) int64.

        Args:
            order: Samples of the files themselves.
            generator: A CPU generator.
            num_segments: Samples of each file.
        """
        files, segments = order // num_segments, order % num_segments
        drawn = torch.rand(len(order), generator=generator, dtype=torch.float64)
        forged = _which(self._forged, drawn)
        forged[~self._is_real[files]] = 0
        damaged = _which(self._damaged, torch.rand(len(order), generator=generator).double())
        return self._places[forged, damaged, files] * num_segments + segments

    def with_partners(self, index: Tensor, num_segments: int) -> Tensor:
        """Return samples of a batch, and behind them the fakes that are learned beside them."""
        partners = self._partners[index // num_segments]
        joining = partners >= 0
        added = partners[joining] * num_segments + (index % num_segments)[joining]
        return torch.cat([index, added])

    def _ways(self, forgery: str, damages: Iterable[str], plain: Places) -> Places:
        """Add the copies of a forgery; return where each file is, (1 + ways to damage it, files).

        `plain` says where the files themselves are, which stand in for copies that there are not.
        """
        forged = self._added(forgery, "", plain[0], plain[0] >= 0)
        is_forged = forged != plain[0]
        ways = [forged]
        for damage, damaged in zip(damages, plain[1:], strict=True):
            at_least = np.where(is_forged, forged, damaged)
            ways.append(self._added(forgery, damage, at_least, is_forged))
        return np.stack(ways)

    def _added(
        self, forgery: str, damage: str, places: Places, wanted: npt.NDArray[np.bool_]
    ) -> Places:
        """Add the copies of one kind of the files that are wanted; return `places` with theirs."""
        prepared, rows = self._files.prepared, self._files.rows
        other = prepared.beside.get(copies_name(forgery, damage))
        if other is None:
            return places
        table = other.table.drop_duplicates("content")
        found = pd.Index(table["content"]).get_indexer(rows["content"])
        wanted = wanted & (found >= 0)
        table, rows = table.iloc[found[wanted]], rows[wanted]
        if not forgery:  # files that are the same byte for byte may have different labels
            table = table.assign(target=rows["target"].to_numpy())
        changed, lost, pictured = (np.zeros(len(table), bool) for _ in range(3))
        for name in self._views:
            was, now = rows[f"row.{name}"].to_numpy(), table[f"row.{name}"].to_numpy()
            changed |= (now != was) & (now != NEUTRAL_ROW)
            lost |= (now == NEUTRAL_ROW) & (was != NEUTRAL_ROW)
            if not isinstance(prepared.views[name], SoundView):
                pictured |= was != NEUTRAL_ROW
        seen = changed & ~lost
        if forgery == "mismatch":
            seen &= pictured
        added = places.copy()
        added[np.flatnonzero(wanted)[seen]] = sum(map(len, self._tables)) + np.arange(seen.sum())
        self._tables.append(table[seen])
        return added


def _which(ends: Tensor, drawn: Tensor) -> Tensor:
    """Return in which of the spans that `ends` bound each number lies, from 1 on; 0: in none."""
    way = torch.searchsorted(ends, drawn, right=True)
    return way.where(way < len(ends), 0)
