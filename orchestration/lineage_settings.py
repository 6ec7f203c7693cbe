"""Where OpenLineage events go, by the standard's own variables: OPENLINEAGE_DISABLED, OPENLINEAGE_URL with
OPENLINEAGE_ENDPOINT and OPENLINEAGE_API_KEY, OPENLINEAGE_NAMESPACE, or OPENLINEAGE_CONFIG, the file that its clients
read.

Without any of them, events are kept: in a laptop's home, elsewhere in the data bucket.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

ENDPOINT = "api/v1/lineage"
"""The path of the standard's API."""


class LineageSettingsError(ValueError):
    """The variables do not say where events go; the message names the variable and what it must hold."""


@dataclass(frozen=True)
class LineageSettings:
    """`url` is the whole address of an endpoint. Without it and a `folder`, the environment's own place is meant."""

    off: bool = False
    url: str | None = None
    api_key: str | None = field(default=None, repr=False)
    folder: Path | None = None
    namespace: str | None = None

    @classmethod
    def from_environment(cls, variables: Mapping[str, str]) -> LineageSettings:
        """What the variables say; raises `LineageSettingsError`."""
        namespace = variables.get("OPENLINEAGE_NAMESPACE") or None
        if variables.get("OPENLINEAGE_DISABLED", "").lower() == "true":
            return cls(off=True, namespace=namespace)
        if url := variables.get("OPENLINEAGE_URL"):
            endpoint = variables.get("OPENLINEAGE_ENDPOINT") or ENDPOINT
            key = variables.get("OPENLINEAGE_API_KEY") or None
            return cls(url=_address("OPENLINEAGE_URL", url, endpoint), api_key=key, namespace=namespace)
        if path := variables.get("OPENLINEAGE_CONFIG"):
            return _configured(Path(path), namespace)
        return cls(namespace=namespace)


def _address(variable: str, url: str, endpoint: str) -> str:
    address = urlsplit(url)
    if address.scheme not in ("http", "https") or not address.netloc or address.username is not None:
        raise LineageSettingsError(f"{variable}: expected http(s)://host[:port] without a password, found another form")
    return f"{url.rstrip('/')}/{endpoint.lstrip('/')}"


def _configured(path: Path, namespace: str | None) -> LineageSettings:
    """The transport of a configuration file, which is one of http, file and noop."""
    try:
        transport: Any = yaml.safe_load(path.read_text("utf-8"))["transport"]
        kind = transport["type"]
    except (OSError, yaml.YAMLError, KeyError, TypeError) as error:
        raise LineageSettingsError(
            f"OPENLINEAGE_CONFIG: expected a file with a transport and its type, found {type(error).__name__} in {path}"
        ) from error
    if kind == "noop":
        return LineageSettings(off=True, namespace=namespace)
    if kind == "http" and isinstance(transport.get("url"), str):
        endpoint = str(transport.get("endpoint") or ENDPOINT)
        auth = transport.get("auth") or {}
        key = auth.get("apiKey") or auth.get("api_key")
        url = _address("transport.url", transport["url"], endpoint)
        return LineageSettings(url=url, api_key=key, namespace=namespace)
    if kind == "file" and isinstance(transport.get("log_file_path"), str):
        return LineageSettings(folder=Path(transport["log_file_path"]).absolute(), namespace=namespace)
    raise LineageSettingsError(
        f"OPENLINEAGE_CONFIG: expected a transport http with its url, file with its log_file_path, or noop, found "
        f"{kind!r} in {path}"
    )
