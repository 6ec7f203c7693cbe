"""Discovery with a year of landed objects in the ledger: twelve streams with buffers of 60 s, 6.3 million objects.

    python -m benchmarks.ledger            # a lake in a folder, then one on the emulator's S3 and Glue

Results are written to `benchmarks/results/ledger.json`, never asserted.
"""
