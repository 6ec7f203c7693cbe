"""Lineage: what ran and what it read and wrote, as OpenLineage events."""
