"""timm's published weights on the Hugging Face hub: are they cached, do they answer, fetch them."""

import re
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from workbench.console import cut_text
from workbench.errors import WeightsError
from workbench.files import hash_file

PROBE_TIMEOUT_S = 3.0
_SHA256 = re.compile(r"[0-9a-f]{64}")
# Why the hub did not answer, by endpoint: asked once a process, not once a backbone.
_unreachable: dict[str, str] = {}


class HubFile(NamedTuple):
    """Where on the hub the weights of one timm tag lie."""

    repo: str
    revision: str
    names: tuple[str, ...]
    """The file names to try, in order."""


class Found(NamedTuple):
    """The hub's answer: the file's SHA-256 ('' if the hub does not tell), or why there is none."""

    sha256: str
    where: str
    """'cached' or 'reachable', and '' if there is no such file to be had."""

    reason: str = ""
    """Of a file that is cached, why its hash may not be the hub's."""


def locate(cfg: Any) -> HubFile | None:
    """Return where the weights of timm's pretrained config `cfg` lie, None if not on the hub."""
    if not cfg.hf_hub_id:
        return None
    repo, _, revision = cfg.hf_hub_id.partition("@")
    name = cfg.hf_hub_filename or "pytorch_model.bin"
    # timm's own order: the safetensors file first, where there is one.
    safe = {
        "pytorch_model.bin": "model.safetensors",
        "open_clip_pytorch_model.bin": "open_clip_model.safetensors",
    }.get(name, re.sub(r"\.bin$", ".safetensors", name))
    return HubFile(repo, revision or "main", tuple(dict.fromkeys((safe, name))))


def look(file: HubFile) -> Found:
    """Return whether `file` is cached here or can be downloaded; waits a few seconds at most."""
    path = cached(file)
    if path is not None:
        named = _SHA256.fullmatch(path.resolve().name)
        plain = "" if named else "as a plain file, known by its name alone"
        return Found(published_sha256(path), "cached", plain)
    return _ask(file)


def cached(file: HubFile) -> Path | None:
    """Return the file in the local Hugging Face cache, if it is there."""
    from huggingface_hub import try_to_load_from_cache

    for name in file.names:
        path = try_to_load_from_cache(file.repo, name, revision=file.revision)
        if isinstance(path, str):
            return Path(path)
    return None


def fetch(file: HubFile, *, sha256_wanted: str) -> Path:
    """Return `file` on this machine, downloaded if need be.

    Raises:
        WeightsError: the hub does not answer, or has another file than the one wanted, or what lies
            in the cache is damaged.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    path = cached(file)
    if path is not None and sha256_wanted in ("", published_sha256(path)):
        _require_whole(path)
        return path
    for name in file.names:
        try:
            path = Path(hf_hub_download(file.repo, name, revision=file.revision))
        except EntryNotFoundError as error:
            if not isinstance(error, LocalEntryNotFoundError):
                continue  # the hub answered: there is no file of this name
            raise _no_download(file, error) from error
        except _network_errors() as error:
            raise _no_download(file, error) from error
        if sha256_wanted not in ("", published_sha256(path)):
            raise WeightsError(
                f"{file.repo} on the hub is another file ({published_sha256(path)[:12]}) than the "
                f"one the recipe names ({sha256_wanted[:12]}). Start a new recipe for the new "
                "weights."
            )
        _require_whole(path)
        return path
    raise WeightsError(f"{file.repo} on the hub holds none of {', '.join(file.names)}.")


def published_sha256(path: Path) -> str:
    """Return the SHA-256 that a cached file had when it was fetched; the cache names its blobs so.

    Quick, since every backbone of a space may be asked about; `fetch` looks at the bytes.
    """
    blob = path.resolve()
    return blob.name if _SHA256.fullmatch(blob.name) else sha256_of(blob)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file; one that did not change is read once."""
    status = path.stat()
    return _hash(path, status.st_size, status.st_mtime_ns)


def _require_whole(path: Path) -> None:
    """Raise WeightsError unless a cached file holds what its name says: nothing else looks."""
    blob = path.resolve()
    if published_sha256(path) != sha256_of(blob):
        raise WeightsError(
            f"{blob} in the hub's cache is damaged: its content does not have the hash in "
            "its name. Delete the file; it is downloaded again."
        )


@cache
def _ask(file: HubFile) -> Found:
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError

    endpoint = constants.ENDPOINT
    if endpoint in _unreachable:
        return Found("", "", _unreachable[endpoint])
    for name in file.names:
        url = hf_hub_url(file.repo, name, revision=file.revision)
        try:
            etag = get_hf_file_metadata(url, timeout=PROBE_TIMEOUT_S).etag or ""
        except EntryNotFoundError:
            continue
        except HfHubHTTPError as error:
            return Found("", "", f"{endpoint} refused {file.repo} ({_short(error)})")
        except _network_errors() as error:
            reason = f"{endpoint} did not answer ({_short(error)})"
            _unreachable[endpoint] = reason
            return Found("", "", reason)
        return Found(etag if _SHA256.fullmatch(etag) else "", "reachable")
    return Found("", "", f"{endpoint} has no weight file in {file.repo}")


def _no_download(file: HubFile, error: Exception) -> WeightsError:
    return WeightsError(
        f"{file.repo} cannot be downloaded from the weights hub ({_short(error)}). "
        "Try again with a connection, or put the file into the local store."
    )


def _network_errors() -> tuple[type[Exception], ...]:
    from huggingface_hub.errors import HfHubHTTPError

    # The hub's library changed its HTTP client more than once. Its own error derives from the
    # client's base error, so this names whichever client is installed. Its offline mode
    # raises an OSError.
    return (OSError, *(kind for kind in HfHubHTTPError.__bases__ if issubclass(kind, Exception)))


def _short(error: Exception) -> str:
    return cut_text(" ".join(str(error).split()) or type(error).__name__, 120)


@lru_cache(maxsize=256)
def _hash(path: Path, size_bytes: int, changed_ns: int) -> str:
    return hash_file(path)
