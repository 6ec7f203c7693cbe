"""A code location of this test's own: settings and a small manifest."""

from tests.support.code_location import document, settings

__all__ = ["document", "settings"]
