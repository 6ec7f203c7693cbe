"""The process of one version of the functions: it calls their handlers as Lambda does, and hands what they ask of AWS
to whoever started it. It imports nothing but botocore and what lies in its folder.

Messages are pickled, in and out: ("invoke", module, event) and ("call", service, operation, parameters) are answered by
("done", answer, log) and ("answer", content) or ("error", response, operation).
"""

from __future__ import annotations

import importlib
import io
import os
import pickle
import sys
import traceback
from contextlib import redirect_stdout
from pathlib import Path
from threading import Lock
from typing import Any, BinaryIO

from botocore.client import BaseClient
from botocore.exceptions import ClientError
from botocore.response import StreamingBody


class Context:
    """What a handler may ask of its invocation."""

    @staticmethod
    def get_remaining_time_in_millis() -> int:
        return 50_000


class Wire:
    """The way to whoever started the process; threads of a handler take turns."""

    def __init__(self, read: BinaryIO, write: BinaryIO) -> None:
        self._read, self._write, self._lock = read, write, Lock()

    def send(self, message: Any) -> None:
        pickle.dump(message, self._write)
        self._write.flush()

    def receive(self) -> Any:
        return pickle.load(self._read)

    def ask(self, client: Any, operation: str, parameters: dict[str, Any]) -> Any:
        """Stands for the call of an operation of AWS."""
        with self._lock:
            self.send(("call", client.meta.service_model.service_name, operation, parameters))
            kind, *content = self.receive()
        if kind == "error":
            raise ClientError(*content)
        (answer,) = content
        if isinstance(answer.get("Body"), bytes):
            answer["Body"] = StreamingBody(io.BytesIO(answer["Body"]), len(answer["Body"]))
        return answer


def main() -> None:
    """Answer invocations until nobody sends one."""
    wire = Wire(sys.stdin.buffer, os.fdopen(os.dup(1), "wb"))
    os.dup2(2, 1)  # what else writes to the standard output is no message

    def call(client: Any, operation: str, parameters: dict[str, Any]) -> Any:
        return wire.ask(client, operation, parameters)

    BaseClient._make_api_call = call
    realtime = importlib.import_module("realtime")
    folder = Path(str(realtime.__file__)).parent
    assert folder.parent == Path.cwd(), f"expected the functions of {Path.cwd()}, found those of {folder.parent}"
    compact, contracts = importlib.import_module("contracts.compact"), importlib.import_module("contracts")
    (folder / "contracts.json").write_bytes(compact.dump_compact(contracts.load_contracts()))
    wire.send(("ready",))
    while True:
        try:
            _, module, event = wire.receive()
        except EOFError:
            return
        log = io.StringIO()
        try:
            with redirect_stdout(log):
                answer = importlib.import_module(module).handle(event, Context())
        except Exception:  # noqa: BLE001 (Lambda's edge: the test says what it was)
            wire.send(("failed", traceback.format_exc(), log.getvalue()))
        else:
            wire.send(("done", answer, log.getvalue()))


if __name__ == "__main__":
    main()
