"""Dagster on a laptop: its instance, its storage and run launcher, the history that it keeps, and one pass in process.

Production has an instance of its own and needs nothing of this.
"""
