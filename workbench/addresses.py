"""Addresses of the database and of the server that may keep studies: a place, and no secret.

User and password come from the environment, where psycopg and MLflow look for them themselves.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

_SECRETS = (
    (re.compile(r"://.*(?:@|%40)", re.DOTALL), "://***@"),
    (
        re.compile(
            r"(?i)((?:password|passwd|pwd|token|secret)\w*(?:=|%3D))('[^']*'|\"[^\"]*\"|[^&\s]*)"
        ),
        r"\1***",
    ),
)

_OF_DATABASE = "PGUSER and PGPASSWORD, or a file that PGPASSFILE names"
_OF_SERVER = "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"


@dataclass(frozen=True)
class ServerAddress:
    """Where an MLflow server is, without user and password."""

    url: str

    def __str__(self) -> str:
        return self.url


TrackingPlace = Path | ServerAddress
"""Where runs are kept: a folder of this machine with a store of its own, or a server."""


def folders_of(place: TrackingPlace) -> tuple[Path, ...]:
    """Return the folder of this machine that a tracking place is; nothing of a server."""
    return (place,) if isinstance(place, Path) else ()


def without_secrets(text: str) -> str:
    """Return `text` with what may be a user or a password in an address starred out."""
    for pattern, stars in _SECRETS:
        text = pattern.sub(stars, text)
    return text


def check_database(address: Any) -> Any:
    """Return the address of a database; raise ValueError unless it is one, without a secret."""
    if not isinstance(address, str):
        return address
    parts = _parts(
        address,
        _OF_DATABASE,
        others="PGSSLMODE and libpq's others",
        example="postgresql://HOST/DATABASE",
    )
    if parts.scheme != "postgresql" or not re.fullmatch(r"/[^/]+", parts.path):
        raise ValueError("it must be postgresql://HOST/DATABASE, with :PORT behind HOST if need be")
    return address


def check_server(address: Any) -> Any:
    """Return the address of an MLflow server; raise ValueError unless it is one, without a secret.

    A slash at its end is left out.
    """
    if not isinstance(address, str):
        return address
    parts = _parts(
        address,
        _OF_SERVER,
        others="MLFLOW_TRACKING_INSECURE_TLS and MLflow's others",
        example="http://HOST:5000",
    )
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(
            "it must be the http:// or https:// address of an MLflow server. To keep runs in a "
            "database, let `mlflow server --backend-store-uri` serve it"
        )
    return address.rstrip("/")


def _parts(address: str, named: str, *, others: str, example: str) -> SplitResult:
    """Return the parts of an address that is nothing but a place."""
    plain = unquote(address)
    if "@" in plain or without_secrets(plain) != plain:
        raise ValueError(
            "an address in a file must hold neither user nor password. Take them out and give "
            f"them by the environment variables {named}"
        )
    try:
        parts = urlsplit(address)
        _ = parts.port
    except ValueError as error:
        # Its own message may quote the address.
        raise ValueError(f"it is not an address of the form {example}") from error
    if re.search(r"[\s\x00-\x1f\\]", address):
        raise ValueError(f"it is not an address of the form {example}")
    if parts.query or parts.fragment:
        raise ValueError(
            "nothing may follow its path, no ? and no #. Give user and password by the "
            f"environment variables {named}, and other settings by {others}"
        )
    return parts
