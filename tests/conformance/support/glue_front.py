"""Glue with what the emulator's lacks: table versions, of which it knows the present one. All else is passed on."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_PASSED_ON = ("Content-Type", "X-Amz-Target", "Authorization", "X-Amz-Date")


@contextmanager
def serving_glue(glue: Any, endpoint: str) -> Iterator[str]:
    """The address of a Glue before the emulator's at `endpoint`, which the client `glue` reaches."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("X-Amz-Target") == "AWSGlue.GetTableVersions":
                self._answer(200, json.dumps(_versions(glue, json.loads(body))).encode())
                return
            headers = {name: self.headers[name] for name in _PASSED_ON if name in self.headers}
            try:
                with urllib.request.urlopen(urllib.request.Request(endpoint, body, headers), timeout=60) as answer:
                    self._answer(answer.status, answer.read())
            except urllib.error.HTTPError as error:
                self._answer(error.code, error.read())

        def _answer(self, status: int, content: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/x-amz-json-1.1")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing: the tests say what they requested."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def _versions(glue: Any, request: dict[str, Any]) -> dict[str, Any]:
    table = glue.get_table(DatabaseName=request["DatabaseName"], Name=request["TableName"])["Table"]
    version = str(table.get("VersionId", "0"))
    location = table.get("StorageDescriptor", {}).get("Location", "")
    kept = {"Name": table["Name"], "VersionId": version, "StorageDescriptor": {"Location": location}}
    return {"TableVersions": [{"Table": kept, "VersionId": version}]}
