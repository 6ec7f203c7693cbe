"""Drift: where an environment is not what its contracts, templates and models say. Comparisons on plain data, what they
find, who did it, and the reports in the data bucket. Whoever looks (a nightly run, an operator) uses the same ones."""
