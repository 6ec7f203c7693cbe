"""Alerts: what watches look at and say, how a problem is raised, repeated and resolved, and how people hear of it."""
