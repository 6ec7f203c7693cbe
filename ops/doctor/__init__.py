"""`gavel-ops doctor`: what is misconfigured in an environment, and what to do about it.

A module for each part of an environment, each with its looks; `looking` runs them all.
"""
