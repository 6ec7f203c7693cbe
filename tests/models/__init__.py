"""The dbt models that changed, built and tested on a slice: `make models`."""
