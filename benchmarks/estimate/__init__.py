"""What an environment costs in a month, from its templates and a load: `python -m benchmarks.estimate`."""
