"""Files that are as old as a test's clock says: whatever is written while the clock shows a time was modified then."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

from lakehouse.storage.store import LocalStore
from tests.support.lakes import Clock


@contextmanager
def ageing(clock: Clock) -> Iterator[None]:
    """Let every folder store date its files by this clock."""
    write, upload = LocalStore.write, LocalStore.upload

    def date(store: LocalStore, key: str) -> None:
        moment = clock().timestamp()
        os.utime(store.uri(key), (moment, moment))

    def dated_write(store: LocalStore, key: str, content: bytes) -> None:
        write(store, key, content)
        date(store, key)

    def dated_upload(store: LocalStore, path: Path, key: str) -> None:
        upload(store, path, key)
        date(store, key)

    with patch.object(LocalStore, "write", dated_write), patch.object(LocalStore, "upload", dated_upload):
        yield
