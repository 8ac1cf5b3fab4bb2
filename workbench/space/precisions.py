"""What a study's recipes compute in, where its search space leaves that open.

It is decided once for each backbone and kept with the study, since a recipe is named by it: the
study goes on so on whatever machine. A model of several is trained in bfloat16 where all of them
are faster so.
"""

import time
from collections.abc import Sequence
from pathlib import Path

from workbench.console import say
from workbench.errors import ConfigError, DamagedFileError
from workbench.files import read_json, write_json
from workbench.space.space import SampledConfig
from workbench.tables import duration
from workbench.trial.device import is_cuda
from workbench.trial.precision import LEAST_GAIN, gain_of_bfloat16, has_bfloat16


def settled_for(devices: Sequence[str]) -> bool | None:
    """Say whether all recipes on `devices` are trained in bfloat16; None where that is measured.

    A GPU that has it is faster so for every backbone; of a CPU it depends.
    """
    if not all(map(has_bfloat16, devices)):
        return False
    return True if all(map(is_cuda, devices)) else None


class Precisions:
    """Decides for each backbone whether it is trained in bfloat16.

    Args:
        settled: What was decided for all of them; None: each is measured when it is first drawn.
        file: Keeps what was decided, with the study.
        device: A torch device of the study.
        num_threads: CPU threads of a trial.
        cache: Folder in which measurements are kept.
    """

    def __init__(
        self,
        settled: bool | None,
        *,
        file: Path | None = None,
        device: str = "cpu",
        num_threads: int = 1,
        cache: Path | None = None,
    ) -> None:
        self._settled, self._file = settled, file
        self._device, self._num_threads, self._cache = device, num_threads, cache
        self._decided: dict[str, bool] = {}
        if file is not None and file.exists():
            self._decided = _read(file)

    def in_bfloat16(self, draft: SampledConfig, *, has_pictures: bool) -> bool:
        """Say whether `draft`, which leaves it open, is trained in bfloat16.

        Args:
            draft: As it was drawn.
            has_pictures: Whether its model has a backbone at all.
        """
        if self._settled is not None:
            return self._settled
        return has_pictures and all(
            self._is_faster(name, draft.image_px) for name in draft.backbone_names
        )

    def guess(self, draft: SampledConfig) -> bool:
        """Say the same without measuring: float32 where it was not decided yet."""
        if self._settled is not None:
            return self._settled
        names = draft.backbone_names
        return bool(names) and all(self._decided.get(name, False) for name in names)

    def _is_faster(self, backbone: str, image_px: int) -> bool:
        if backbone not in self._decided:
            try:
                self._decided[backbone] = self._decide(backbone, image_px)
            except ConfigError:
                return False  # it cannot be built, and the reason is told where it is judged
            if self._file is not None:
                write_json(self._file, self._decided)
        return self._decided[backbone]

    def _decide(self, backbone: str, image_px: int) -> bool:
        # The study may have gone to another machine since it began.
        if not has_bfloat16(self._device) or is_cuda(self._device):
            return has_bfloat16(self._device)
        began = time.monotonic()
        gain = gain_of_bfloat16(
            backbone,
            image_px=image_px,
            num_threads=self._num_threads,
            cache=self._cache,
        )
        faster = gain >= LEAST_GAIN
        say(
            f"{backbone} is trained in {'bfloat16' if faster else 'float32'}: a step in "
            f"bfloat16 is {gain:.2f} times as fast here (measured in "
            f"{duration(time.monotonic() - began)})"
        )
        return faster


def _read(file: Path) -> dict[str, bool]:
    """Return what was decided of each backbone.

    Raises:
        DamagedFileError: the file is not what was written.
    """
    try:
        decided = read_json(file)
    except (ValueError, RecursionError):
        decided = None
    if isinstance(decided, dict) and all(isinstance(one, bool) for one in decided.values()):
        return decided
    raise DamagedFileError(
        f"{file} is damaged. Put the file back, or remove it: it is measured anew."
    )
