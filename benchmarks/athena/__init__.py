"""What a merge on Athena scans, which is what it costs: measured on a Trino, see `docs/athena.md`."""
