"""An Iceberg REST catalog for one process, which DuckDB's Iceberg needs to write: pyiceberg's catalog in SQLite behind
the few requests that a table which exists is read and committed with.

`boringcatalog`, the one of the package index, asks for other versions of AWS's packages than the product has.
"""

from __future__ import annotations

import json
import os
import threading
import uuid
from collections.abc import Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.io import load_file_io
from pyiceberg.io.pyarrow import parquet_files_to_data_files
from pyiceberg.partitioning import UNPARTITIONED_PARTITION_SPEC
from pyiceberg.schema import Schema
from pyiceberg.serializers import ToOutputFile
from pyiceberg.table import CommitTableRequest, Table
from pyiceberg.table.metadata import TableMetadataV2
from pyiceberg.table.sorting import UNSORTED_SORT_ORDER

_TABLE = "/v1/{prefix}/namespaces/{namespace}/tables/{table}"
_ENDPOINTS = (
    "GET /v1/{prefix}/namespaces",
    "GET /v1/{prefix}/namespaces/{namespace}",
    "GET /v1/{prefix}/namespaces/{namespace}/tables",
    f"GET {_TABLE}",
    f"POST {_TABLE}",
)
NAMESPACE = "bench"


def open_catalog(folder: Path) -> SqlCatalog:
    """The catalog of a folder."""
    return SqlCatalog("bench", uri=f"sqlite:///{folder}/catalog.db", warehouse=f"file://{folder}")


def add_table(folder: Path, name: str, schema: Schema, files: Sequence[Path], properties: Mapping[str, str]) -> None:
    """Make a table of the files, linked below `folder/table`, with exactly the field ids of the schema: pyiceberg's own
    ways to make one assign others, by which columns of these files would be read as nulls."""
    metadata = TableMetadataV2.model_validate(
        {
            "location": f"{folder}/table",
            "table-uuid": uuid.uuid4(),
            "schemas": [schema],
            "last-column-id": schema.highest_field_id,
            "current-schema-id": schema.schema_id,
            "partition-specs": [UNPARTITIONED_PARTITION_SPEC],
            "default-spec-id": UNPARTITIONED_PARTITION_SPEC.spec_id,
            "last-partition-id": UNPARTITIONED_PARTITION_SPEC.last_assigned_field_id,
            "sort-orders": [UNSORTED_SORT_ORDER],
            "default-sort-order-id": UNSORTED_SORT_ORDER.order_id,
            "properties": dict(properties),
        }
    )
    location = f"{folder}/table/metadata/00000-{metadata.table_uuid}.metadata.json"
    ToOutputFile.table_metadata(metadata, load_file_io(location=location).new_output(location))
    catalog = open_catalog(folder)
    catalog.create_namespace(NAMESPACE)
    table = catalog.register_table((NAMESPACE, name), location)
    below = folder / "table" / "data"
    below.mkdir(parents=True)
    for path in files:
        os.link(path, below / path.name)
    if not files:
        return
    with table.transaction() as transaction, transaction.update_snapshot().fast_append() as append:
        addresses = [str(path) for path in sorted(below.glob("*.parquet"))]
        for file in parquet_files_to_data_files(table.io, transaction.table_metadata, iter(addresses)):
            append.append_data_file(file)


def serve(folder: Path) -> str:
    """Serve the catalog of a folder on loopback until the process ends; returns the address."""
    catalog = open_catalog(folder)

    class Answering(_Answering):
        served = catalog
        lock = threading.Lock()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_address[1]}"


class _Answering(BaseHTTPRequestHandler):
    served: SqlCatalog
    lock: threading.Lock
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        parts = self._parts()
        with self.lock:
            if parts == ["config"]:
                self._say({"defaults": {}, "overrides": {}, "endpoints": list(_ENDPOINTS)})
            elif parts == ["namespaces"]:
                self._say({"namespaces": [[NAMESPACE]]})
            elif len(parts) == 2:
                self._say({"namespace": [parts[1]], "properties": {}})
            elif len(parts) == 3:
                tables = self.served.list_tables(parts[1])
                self._say({"identifiers": [{"namespace": [space], "name": name} for space, name in tables]})
            else:
                self._table(self.served.load_table((parts[1], parts[3])))

    def do_HEAD(self) -> None:
        self._say({})

    def do_POST(self) -> None:
        _, namespace, _, name, *_ = self._parts()
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        identifier = {"namespace": [namespace], "name": name}
        request = CommitTableRequest.model_validate({**body, "identifier": identifier})
        with self.lock:
            table = self.served.load_table((namespace, name))
            try:
                self.served.commit_table(table, request.requirements, request.updates)
            except CommitFailedException as lost:
                error = {"message": str(lost), "type": "CommitFailedException", "code": 409}
                self._say({"error": error}, 409)
                return
            self._table(self.served.load_table((namespace, name)))

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the requests are not what is measured."""

    def _parts(self) -> list[str]:
        return self.path.partition("?")[0].strip("/").split("/")[1:]

    def _table(self, table: Table) -> None:
        metadata = json.loads(table.metadata.model_dump_json(by_alias=True, exclude_none=True))
        self._say({"metadata-location": table.metadata_location, "metadata": metadata, "config": {}})

    def _say(self, answer: dict[str, Any], code: int = 200) -> None:
        body = json.dumps(answer).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
