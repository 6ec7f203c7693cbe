"""From landing to published through Dagster: how long a micro-batch of 1,000 changes over all entities takes.

    python -m benchmarks.tick              # starts a laptop stack of its own and its daemon, lands and waits

The time counts from the moment at which the sensor's tick begins until the last published pointer has moved. Results
are written to `benchmarks/results/tick.json`, never asserted.
"""
