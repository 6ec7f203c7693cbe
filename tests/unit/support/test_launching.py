"""What daemon and web server call is said as IAM decides about it."""

from __future__ import annotations

import pytest

from tests.support.launching import lines


def test_an_operation_that_nobody_mapped_raises() -> None:
    with pytest.raises(KeyError, match=r"ecs\.ListClusters"):
        lines("ecs", "ListClusters", {})
    with pytest.raises(KeyError):
        lines("kms", "Decrypt", {})
