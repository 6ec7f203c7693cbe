"""Imports of an ERP's events: what an event says, which of two events is later, and what becomes of a batch."""
