"""The environment's key for erasures: in AWS Secrets Manager, or in a file beside a lake that lies in a folder.

It is never in the bucket: with it, a list of guesses could be compared with the hashes that are kept of erased persons.
"""

from __future__ import annotations

import base64
import contextlib
import os
import secrets
from pathlib import Path
from typing import Any

BYTES = 32
_FILE = "erasure.key"


def in_folder(folder: Path) -> bytes:
    """The key that lies in a folder, made when it is needed first."""
    path = folder / _FILE
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        new = path.with_name(f".{_FILE}.{os.getpid()}")
        new.write_bytes(secrets.token_bytes(BYTES))
        new.chmod(0o600)
        with contextlib.suppress(FileExistsError):  # of two who make one at once, the first one's stays
            os.link(new, path)
        new.unlink()
    return path.read_bytes()


def in_secrets_manager(client: Any, name: str) -> bytes:
    """The key under this name in AWS Secrets Manager, made when it is needed first. All of an environment's erasures
    need it: when it is lost, erased persons who come again are not recognised."""
    try:
        text = client.get_secret_value(SecretId=name)["SecretString"]
    except client.exceptions.ResourceNotFoundException:
        with contextlib.suppress(client.exceptions.ResourceExistsException):  # who was quicker made as good a one
            client.create_secret(
                Name=name,
                Description="Key of the hashes that Gavel keeps of erased persons.",
                SecretString=base64.b64encode(secrets.token_bytes(BYTES)).decode(),
            )
        text = client.get_secret_value(SecretId=name)["SecretString"]
    return base64.b64decode(text)
