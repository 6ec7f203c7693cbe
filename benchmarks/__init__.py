"""Repeatable comparisons and measurements of speed. Results are written, never asserted; each package has a README."""
