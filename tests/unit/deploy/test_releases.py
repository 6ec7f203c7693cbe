"""A function gets a new version when anything changes that a version pins, and no other function gets one."""

from __future__ import annotations

import pytest

from ops.deployment.parts import OF_THE_BUILD
from ops.deployment.releases import releases
from ops.deployment.templates import FILES, declared
from realtime.bundle import FUNCTIONS

TEMPLATE = FILES["realtime"].read_text("utf-8")
GIVEN = {"Environment": "prod", "ApiBundle": "bundles/api-1.zip", "TenantIssuer": "https://id.example"}


@pytest.fixture(scope="module")
def before() -> dict[str, str]:
    return releases(TEMPLATE, GIVEN)


def test_each_function_has_a_parameter_that_takes_its_digest(before: dict[str, str]) -> None:
    assert set(before) == {f"{name.capitalize()}Release" for name in FUNCTIONS}
    assert set(before) <= OF_THE_BUILD <= set(declared("realtime"))
    assert {len(digest) for digest in before.values()} == {64}
    assert len(set(before.values())) == len(FUNCTIONS)
    assert releases(TEMPLATE, GIVEN) == before


@pytest.mark.parametrize(
    ("given", "changed"),
    [
        ({"ApiBundle": "bundles/api-2.zip"}, {"Api"}),
        ({"TenantIssuer": "https://other.example"}, {"Authorizer"}),  # SAM alone would see no change
        ({"PythonRuntime": "python3.12"}, {name.capitalize() for name in FUNCTIONS}),
        ({"AlertEmail": "ann@example.org", "Rollout": "CodeDeployDefault.LambdaAllAtOnce"}, set()),
    ],
)
def test_another_value_of_what_it_names_is_another_release(
    before: dict[str, str], given: dict[str, str], changed: set[str]
) -> None:
    after = releases(TEMPLATE, GIVEN | given)
    assert {name.removesuffix("Release") for name in before if after[name] != before[name]} == changed


@pytest.mark.parametrize(
    ("old", "new", "changed"),
    [
        ("      Timeout: 29", "      Timeout: 28", {"Api"}),
        ("GAVEL_TRACKING_TOPIC: ", "GAVEL_TRACKING_THEME: ", {"Tracking"}),
        ("TableName: !Sub gavel-${Environment}-tracking", "TableName: !Sub gavel-${Environment}-parcels", {"Tracking"}),
        ("Path: /figures, Method: GET", "Path: /numbers, Method: GET", set()),
    ],
)
def test_another_text_of_what_it_pins_is_another_release(
    before: dict[str, str], old: str, new: str, changed: set[str]
) -> None:
    assert old in TEMPLATE
    after = releases(TEMPLATE.replace(old, new), GIVEN)
    assert {name.removesuffix("Release") for name in before if after[name] != before[name]} == changed


@pytest.mark.parametrize(
    ("setting", "old", "new", "given"),
    [
        ("!FindInMap [Sizes, all, Memory]", "Memory: 512", "Memory: 1024", {}),
        ("!If [IsLarge, 1024, 512]", "IsLarge: !Equals [a, b]", "IsLarge: !Equals [a, a]", {}),
        ("!If [IsLarge, 1024, 512]", "IsLarge: !Condition HasMfa", "IsLarge: !Condition HasAlertEmail", {}),
        ("!If [HasMfa, 1024, 512]", "", "", {"Mfa": "ON"}),
    ],
)
def test_another_mapping_or_condition_behind_a_setting_is_another_release(
    setting: str, old: str, new: str, given: dict[str, str]
) -> None:
    """The function's text stays as it is then, and so does the name that SAM gives its version."""
    text = TEMPLATE.replace("Conditions:\n", f"Conditions:\n  {old or 'IsOld: !Equals [a, b]'}\n", 1)
    text = text.replace("Mappings:\n", "Mappings:\n  Sizes: {all: {Memory: 512}}\n", 1)
    head, function, tail = text.partition("  TrackingFunction:\n")
    tail = tail.replace("MemorySize: 512", f"MemorySize: {setting}", 1)
    before = releases(head + function + tail, GIVEN)
    after = releases(head.replace(old, new, 1) + function + tail, GIVEN | given)
    assert {name for name in before if after[name] != before[name]} == {"TrackingRelease"}
