"""From landing to published through Dagster: how long a micro-batch of 1,000 changes over all entities takes.

    python -m benchmarks.tick                  # starts a laptop stack of its own and its daemon, lands and waits
    python -m benchmarks.tick --delay-ms 30 --label "30 ms"    # the same, and each request of S3 and Glue waits
    python -m benchmarks.tick --report         # shows in docs/benchmarks.md what was measured

The time counts from the moment at which the sensor's tick begins until the last published pointer has moved. Results
are written to `benchmarks/results/tick.json`, never asserted.
"""
