"""Deliberate faults, and what catches them."""
