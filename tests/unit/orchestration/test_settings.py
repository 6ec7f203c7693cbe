"""Settings are built once from the environment, and refuse what would reach the wrong place."""

from pathlib import Path

import pytest

from lakehouse.storage.athena import AthenaSettings
from orchestration.definitions import build_resources
from orchestration.lineage_settings import LineageSettings
from orchestration.settings import Pace, Settings, SettingsError


def test_a_laptop_needs_no_variable():
    settings = Settings.from_environment({})
    assert (settings.environment, settings.bucket, settings.published_database) == (
        "local",
        "gavel-local",
        "gavel_local",
    )


@pytest.mark.parametrize(
    ("variables", "key"),
    [
        ({}, None),
        ({"GAVEL_ENV": "prod", "GAVEL_BUCKET": "b"}, "alias/gavel-prod-erasures"),
        ({"GAVEL_ENV": "prod", "GAVEL_BUCKET": "b", "GAVEL_SIGNING_KEY": "alias/other"}, "alias/other"),
    ],
)
def test_proofs_are_signed_by_the_key_of_the_stack_unless_another_is_named(
    variables: dict[str, str], key: str | None
) -> None:
    assert Settings.from_environment(variables).signing_key == key


def test_variables_are_taken():
    settings = Settings.from_environment(
        {
            "GAVEL_ENV": "local",
            "AWS_ENDPOINT_URL": "http://127.0.0.1:4567",
            "AWS_REGION": "eu-central-1",
            "GAVEL_BUCKET": "b",
            "GAVEL_HOME": "/tmp/home",
            "GAVEL_CONTRACTS": "/tmp/contracts",
            "GAVEL_ALERT_TOPIC": "arn:aws:sns:eu-west-1:1:alerts",
            "GAVEL_LANDING_SECONDS": "2",
            "GAVEL_REPORTS_CRON": "* * * * *",
        }
    )
    assert settings == Settings(
        environment="local",
        region="eu-central-1",
        endpoint_url="http://127.0.0.1:4567",
        bucket="b",
        home=Path("/tmp/home"),
        contracts_folder=Path("/tmp/contracts"),
        alert_topic="arn:aws:sns:eu-west-1:1:alerts",
        pace=Pace(landing_seconds=2, reports_cron="* * * * *"),
    )


def test_entities_may_be_merged_on_athena_everywhere_but_on_a_laptop():
    prod = Settings.from_environment({"GAVEL_ENV": "prod", "GAVEL_BUCKET": "b", "GAVEL_SCAN_LIMIT_GB": "50"})
    assert (prod.workgroup, prod.scan_limit_gb) == ("gavel-prod", 50)
    athena = build_resources(prod)["lake"].lake.athena
    assert athena == AthenaSettings(workgroup="gavel-prod", scan_limit=50 * 10**9)
    laptop = Settings.from_environment({"GAVEL_WORKGROUP": "gavel"})
    assert build_resources(laptop)["lake"].lake.athena is None


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"GAVEL_SCAN_LIMIT_GB": "0"}, "GAVEL_SCAN_LIMIT_GB: expected a number of gigabytes, found '0'"),
        ({"GAVEL_ENV": "staging"}, "GAVEL_ENV: expected one of local, dev, test, prod, found 'staging'"),
        ({"GAVEL_ENV": "prod"}, "GAVEL_BUCKET: expected the data bucket of prod"),
        (
            {"GAVEL_ENV": "prod", "GAVEL_BUCKET": "b", "AWS_ENDPOINT_URL": "http://127.0.0.1:4566"},
            "AWS_ENDPOINT_URL: only GAVEL_ENV=local",
        ),
        ({"GAVEL_MARTS_SECONDS": "soon"}, "GAVEL_MARTS_SECONDS: expected a number of seconds, found 'soon'"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(variables: dict[str, str], message: str):
    with pytest.raises(SettingsError, match=message):
        Settings.from_environment(variables)


def test_the_defaults_keep_the_promises_of_freshness():
    pace = Pace()
    assert pace.landing_seconds <= 60
    assert pace.marts_seconds <= 5 * 60  # of ten minutes between publication and marts, half are left for the build
    assert pace.quiet_seconds <= 10 * 60


def test_lineage_goes_where_the_standards_variables_say(tmp_path: Path) -> None:
    def lineage(**variables: str) -> LineageSettings:
        return Settings.from_environment(variables).lineage

    assert lineage() == LineageSettings()
    assert lineage(OPENLINEAGE_DISABLED="True").off
    wanted = lineage(
        OPENLINEAGE_URL="https://lineage.example/", OPENLINEAGE_API_KEY="secret", OPENLINEAGE_NAMESPACE="n"
    )
    assert (wanted.url, wanted.api_key, wanted.namespace) == ("https://lineage.example/api/v1/lineage", "secret", "n")
    assert "secret" not in repr(wanted)
    assert lineage(OPENLINEAGE_URL="http://a:1", OPENLINEAGE_ENDPOINT="/x?y=1").url == "http://a:1/x?y=1"
    file = tmp_path / "openlineage.yml"
    file.write_text("transport: {type: http, url: 'http://a', auth: {type: api_key, apiKey: secret}}")
    assert lineage(OPENLINEAGE_CONFIG=str(file)) == LineageSettings(url="http://a/api/v1/lineage", api_key="secret")
    file.write_text(f"transport: {{type: file, log_file_path: {tmp_path}/events}}")
    assert lineage(OPENLINEAGE_CONFIG=str(file)).folder == tmp_path / "events"
    file.write_text("transport: {type: noop}")
    assert lineage(OPENLINEAGE_CONFIG=str(file)).off


@pytest.mark.parametrize(
    "url",
    ["lineage.example", "ftp://a", "http://", "https://user:pass@a"],  # pragma: allowlist secret
)
def test_an_address_for_lineage_that_cannot_be_used_is_refused_without_its_text(url: str) -> None:
    with pytest.raises(SettingsError, match="OPENLINEAGE_URL: expected") as refused:
        Settings.from_environment({"OPENLINEAGE_URL": url})
    assert "pass" not in str(refused.value).replace("a password", "")


@pytest.mark.parametrize("text", ["", "transport: 7", "transport: {type: kafka}", "transport: {type: http}", "{"])
def test_a_configuration_of_lineage_that_cannot_be_used_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "openlineage.yml"
    file.write_text(text)
    with pytest.raises(SettingsError, match="OPENLINEAGE_CONFIG: expected"):
        Settings.from_environment({"OPENLINEAGE_CONFIG": str(file)})
    with pytest.raises(SettingsError, match="OPENLINEAGE_CONFIG: expected"):
        Settings.from_environment({"OPENLINEAGE_CONFIG": str(tmp_path / "none.yml")})
