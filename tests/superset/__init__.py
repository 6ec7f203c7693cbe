"""The bundle for Superset in a real Superset, which has an environment of its own: `make superset`."""
