"""The folder of a study: its files, its name, and the lock of the one process that writes it."""

import fcntl
import os
import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from workbench.access import is_at, is_locked, locked, open_lock, take_lock
from workbench.console import say
from workbench.data.dataset import NAME
from workbench.errors import ConfigError, DamagedFileError, StudyError
from workbench.files import PART, remove_left, write_json, write_text
from workbench.space.experiment import Experiment, require_no_gone_setting
from workbench.study.own_files import LOCKS, OF_A_START, is_own
from workbench.study.packs import PackFolder
from workbench.trial.recipe import Objective
from workbench.trial.result import ModelFolder, TrialFolder
from workbench.validation import build, read_record, shown
from workbench.values import Frozen
from workbench.workspace import RESERVED_NAMES
from workbench.yaml_files import read_yaml

_PUT_BACK = "Put the file back from a copy, or start another study by --study NAME."


class StudyInfo(Frozen):
    """What a study is and where it came from."""

    name: str
    id: str
    """Names this study for the tracking store: a later one of the same name is another."""

    experiment: str
    """The experiment file as it was given."""

    data: str
    """The data folder."""

    fingerprint: str
    """Of labels and media."""

    seed: int
    bfloat16: bool | None = False
    """What its recipes compute in where they leave it open; None: see `precisions`, by backbone."""

    created: str


class StudyFolder:
    """The files of one study."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.name
        self.info_file = path / "study.json"
        self.experiment_file = path / "experiment.yaml"
        self.journal = path / "journal.log"
        self.precisions = path / "precisions.json"
        self.manifest = path / "manifest.parquet"
        self.template = path / "template.csv"
        self.champion = path / "champion.json"
        self.registering = path / ".registering"
        self.finalists = path / "finalists.json"
        self.looks = path / "looks.jsonl"
        self.report = path / "compare.html"
        self.last_pack = path / "last-pack"
        self.last_soup = path / "last-soup"
        self.last_refit = path / "refit.json"
        self.cleaned = path / "cleaned.txt"
        self._lock = path / LOCKS[0]

    def anothers_file(self) -> str:
        """Return the name of a file or a folder here that no study wrote; empty if it is a study's.

        Of a study that lost its `study.json`, all is taken for the study's.
        """
        if self.info_file.exists() or self.journal.exists() or not self.path.is_dir():
            return ""
        if any(self.path.glob("trials/*/recipe.json")):
            return ""
        own = {*OF_A_START}
        with suppress(DamagedFileError):
            self.begun()
            own.add(self.experiment_file.name)
        with suppress(PermissionError):  # which is told where it is written
            for place in sorted(self.path.iterdir()):
                may_be = place.name in own or place.name.startswith(PART)
                is_empty = place.is_dir() and not any(place.iterdir())
                if not self.is_own(place.name) or not (may_be or is_empty):
                    return place.name
        return ""

    def is_own(self, name: str) -> bool:
        """Return whether what is called so in the folder is the study's."""
        return is_own(self.path, name)

    def names(self) -> dict[str, str]:
        """Return the names of trials whose recipes have another fingerprint by now, by that."""
        names = {}
        for file in self.path.glob("trials/*/recipe.json"):
            recipe = TrialFolder(file.parent).kept_recipe()
            if recipe is not None and recipe.fingerprint != recipe.uid:
                names[recipe.fingerprint] = recipe.uid
        return names

    def beside(self, name: str) -> "StudyFolder":
        """Return the study `name` of the same project."""
        return StudyFolder(self.path.parent / name)

    def trial(self, recipe: str) -> TrialFolder:
        """Return the folder of the trial, or of the repeat, the refit or the soup, of this uid."""
        for other in (self.repeat(recipe), self.soup(recipe), self.refit(recipe)):
            if recipe and other.path.is_dir():
                return other
        return TrialFolder(self._place("trials", recipe), recipe)

    def repeat(self, recipe: str) -> TrialFolder:
        """Return the folder of the repeat of a trial with this recipe uid, as it is or will be.

        It lies beside those of the trials: a repeat is no trial of the study.
        """
        return TrialFolder(self._place("repeats", recipe), recipe)

    def soup(self, uid: str) -> TrialFolder:
        """Return the folder of the soup of several trials with this uid, as it is or will be."""
        return TrialFolder(self._place("soups", uid), uid)

    def refit(self, uid: str) -> TrialFolder:
        """Return the folder of the refit of a trial with this uid, as it is or will be."""
        return TrialFolder(self._place("refits", uid), uid)

    def refit_pack(self, uid: str) -> PackFolder:
        """Return the folder of the pack of refits with this uid, as it is or will be."""
        return PackFolder(self._place("refit-packs", uid), uid)

    def pack(self, uid: str) -> PackFolder:
        """Return the folder of the pack of this uid, as it is or will be."""
        return PackFolder(self._place("packs", uid), uid)

    def _place(self, kind: str, uid: str) -> Path:
        """Return the folder of what a record names: a stranger may have written that.

        Raises:
            DamagedFileError: it would lie outside of the study.
        """
        if not re.fullmatch(r"[\w-]{0,64}", uid):
            raise DamagedFileError(
                f"A record of {self.path} names {shown(uid)}, which is no trial, pack or soup: it "
                f"is damaged. {_PUT_BACK}"
            )
        return self.path / kind / uid

    def newest_pack(self) -> PackFolder:
        """Return the pack that was made last.

        Raises:
            StudyError: none was made, or it is gone.
        """
        uid = ""
        if self.last_pack.exists():
            uid = self.last_pack.read_text(encoding="utf-8", errors="replace").strip()
        if not re.fullmatch(r"[0-9a-f]{12}", uid) or not self.pack(uid).path.is_dir():
            raise StudyError(
                f"The study {self.name} has no pack. Run `workbench pack {self.name}` first."
            )
        return self.pack(uid)

    def model(self, uid: str) -> ModelFolder:
        """Return the folder of the pack, the trial, the repeat or the refit with this uid."""
        for pack in (self.pack(uid), self.refit_pack(uid)):
            if uid and pack.path.is_dir():
                return pack
        return self.trial(uid)

    def info(self) -> StudyInfo:
        """Return what the study is.

        Raises:
            DamagedFileError: the file is gone, or is not what was written.
            StudyError: the folder was renamed, or is a copy: its record has the former name.
        """
        info = read_record(StudyInfo, self.info_file, remedy=_PUT_BACK)
        if info.name != self.name:
            raise StudyError(
                f"{self.path} holds the study {info.name}: a study keeps its name, by which its "
                f"journal and its runs are found. Name the folder {info.name}; to have a copy, "
                "copy the whole project."
            )
        return info

    def begun(self) -> dict[str, Any]:
        """Return what the study began with: `experiment`, and the tree of its `space`.

        Raises:
            DamagedFileError: the file is gone, or is not what was written.
        """
        try:
            begun = read_yaml(self.experiment_file)
        except (ConfigError, OSError) as error:
            raise DamagedFileError(
                f"{self.experiment_file} is gone or damaged. {_PUT_BACK}"
            ) from error
        if not isinstance(begun, dict) or not {"experiment", "space"} <= begun.keys():
            raise DamagedFileError(f"{self.experiment_file} is damaged. {_PUT_BACK}")
        return begun

    def objective(self) -> Objective:
        """Return what the study improves, over the slices that its data have.

        A family of the experiment's of which there is no slice, as where no generator has enough
        files, is left out; before a trial was scored, it is not known to be one.

        Raises:
            WorkbenchError: see `experiment`.
        """
        return self.as_scored(self.experiment().objective)

    def as_scored(self, objective: Objective) -> Objective:
        """Return an objective as `objective` does; records of older versions name all families."""
        return objective.among(self.scored_slices()) if len(objective.over) > 1 else objective

    def scored_slices(self) -> tuple[str, ...]:
        """Return the names of the slices that trials were scored on, as far as that is kept."""
        for file in sorted(self.path.glob("trials/*/result.json")):
            result = TrialFolder(file.parent).kept_result()
            if result is not None and result.by_slice:
                return tuple(result.by_slice)
        return ()

    def is_of_recipe(self) -> bool:
        """Return whether the study trains a known recipe, of one model or of a pack.

        Such a file is experiment and search space in one.

        Raises:
            DamagedFileError: see `begun` and `info`.
        """
        said: dict[str, Any] = self.begun()["experiment"]
        return said.get("search_space") == self.info().experiment

    def experiment(self) -> Experiment:
        """Return what the study is about, as it was when it began.

        Raises:
            DamagedFileError: the file is gone, or is not what was written.
            ConfigError: it asks for what only an older version had.
        """
        tree = self.begun()["experiment"]
        require_no_gone_setting(
            tree,
            of=f"The study {self.name}",
            remedy="Go on with that version, or start another study by --study NAME.",
        )
        try:
            return build(Experiment, tree, where=str(self.experiment_file))
        except ConfigError as error:
            why = str(error).splitlines()[0].rstrip(".")
            raise DamagedFileError(f"{why}: the file is damaged. {_PUT_BACK}") from error

    def write_info(self, info: StudyInfo) -> None:
        """Write what the study is."""
        write_json(self.info_file, info.model_dump())

    def is_held(self) -> bool:
        """Say whether another process holds the study as its writer now."""
        return is_locked(self._lock)

    @contextmanager
    def promoting(self) -> Iterator[None]:
        """Decide what is promoted, or what of it may be deleted, once no other process does.

        Otherwise the registry could have one champion and `champion.json` another, or one whose
        weights were deleted while it was registered. What a killed promotion left half-written is
        removed.

        Raises:
            LockError: there can be no lock.
        """
        if self.is_promoting():
            say(f"Waiting for another command that promotes or deletes in the study {self.name}.")
        with locked(self.path / LOCKS[1]):
            remove_left(self.path.glob(f"{PART}*"))
            yield

    def is_promoting(self) -> bool:
        """Say whether a process decides now what is promoted or deleted."""
        return is_locked(self.path / LOCKS[1])

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the study as its one writer.

        The system frees the lock when its holder ends, however it ends: it cannot go stale.

        Raises:
            StudyError: another process holds it; says which.
            LockError: there can be no lock.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with open_lock(self._lock) as lock:
            try:
                _take_now(lock)
            except BlockingIOError as error:
                lock.seek(0)
                raise StudyError(
                    f"The study {self.name} is held by another search ({lock.read().strip()}). "
                    "Wait for its end; a search may go into another one, by --study NAME."
                ) from error
            if not is_at(lock, self._lock):
                raise StudyError(
                    f"The study {self.name} was deleted meanwhile. Run the same command again."
                )
            lock.truncate(0)
            now = datetime.now(UTC).isoformat(timespec="seconds")
            lock.write(f"process {os.getpid()} on {socket.gethostname()} since {now}\n")
            lock.flush()
            yield


def _take_now(lock: IO[str]) -> None:
    """Take a lock without waiting for its holder; one who only asks has it for an instant."""
    for _ in range(4):
        with suppress(BlockingIOError):
            take_lock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        time.sleep(0.05)
    take_lock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def new_or_known(root: Path, name: str) -> StudyFolder:
    """Return the folder of the study `name` under `root`, which need not exist.

    Raises:
        StudyError: the name cannot be a folder's, or is that of a folder of somebody's files.
    """
    if not re.fullmatch(NAME, name):
        raise StudyError(
            f"The study name {name!r} cannot be used: letters, digits, '.', '_' and '-', "
            "64 at most, and no '.', '_' or '-' first."
        )
    if name in RESERVED_NAMES:
        raise StudyError(
            f"The study name {name!r} cannot be used: a folder of that name holds something "
            "else here. Choose another."
        )
    folder = StudyFolder(root / name)
    if other := folder.anothers_file():
        raise StudyError(
            f"{folder.path} is no study and has files that are not a study's, e.g. "
            f"{shown(other)}: a study would write over some of them. Give the study another name "
            "(by --study of a search, or by --name of init), or move these files."
        )
    return folder


def find_study(root: Path, name: str | None) -> StudyFolder:
    """Return the study `name` under `root`, or the last one searched.

    Raises:
        StudyError: there is no such study; says which there are.
    """
    known = sorted(file.parent.name for file in root.glob("*/study.json"))
    last = root / ".last-study"
    if name is None:
        if not last.exists():
            raise StudyError("There is no study yet. Run `workbench search` first.")
        try:
            name = last.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise StudyError(
                f"{last} cannot be read. Remove it, and give the name of the study."
            ) from error
    if name not in known:
        there = f"There is {', '.join(known)}." if known else "There is none yet."
        raise StudyError(f"There is no study {name!r} in {root}. {there}")
    return StudyFolder(root / name)


def remember_last(folder: StudyFolder) -> None:
    """Make `folder` the study that commands take by default."""
    write_text(folder.path.parent / ".last-study", folder.name + "\n")
