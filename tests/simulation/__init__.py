"""Histories of the whole way of a change, without a process or a network: the product's own code between a simulated
table, stream, Firehose, bucket, catalog and clock, where everything goes wrong by a seed.

`python -m tests.simulation --seeds 0..100` plays histories; docs/testing.md says what is known of them.
"""
