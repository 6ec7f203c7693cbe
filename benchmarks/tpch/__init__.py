"""A yardstick that is not ours: TPC-H with the refresh pairs of `duckdb/duckdb-iceberg`, by ours and by its peers.

Results are written, never asserted. `README.md` says what is compared and how to run it.
"""
