"""The template is in step with the contracts, the functions and the laptop stack. Its rules: `test_policies`."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from contracts import Contracts, metrics, summaries
from contracts.model import VERSION
from ops.environment import LIVE
from realtime.bundle import FUNCTIONS
from tests.support.expanded import expanded

ROOT = Path(__file__).parents[3]
TEMPLATE = ROOT / "realtime" / "template.yaml"


def test_every_index_of_the_contracts_is_an_index_of_the_table(template: dict[str, Any], contracts: Contracts) -> None:
    table = template["Resources"]["Table"]["Properties"]
    defined = {
        index["IndexName"]: [k["AttributeName"] for k in index["KeySchema"]]
        for index in table["GlobalSecondaryIndexes"]
    }
    wanted = {
        i.name: [f"{i.prefix}_pk", VERSION if i.sk == VERSION else f"{i.prefix}_sk"]
        for c in contracts.of_origin("stream")
        if c.keys is not None
        for i in c.keys.indexes
    }
    assert defined == wanted


def test_summaries_have_the_table_that_the_pipeline_writes_and_echo_nowhere(template: dict[str, Any]) -> None:
    table = template["Resources"]["SummariesTable"]["Properties"]
    assert table["TableName"] == {"Sub": summaries.table("${Environment}")}
    assert "StreamSpecification" not in table


def test_the_table_keeps_both_images_and_can_be_restored(template: dict[str, Any]) -> None:
    table = template["Resources"]["Table"]["Properties"]
    assert table["StreamSpecification"] == {"StreamViewType": "NEW_AND_OLD_IMAGES"}
    assert table["TimeToLiveSpecification"] == {"AttributeName": "ttl", "Enabled": True}
    assert table["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert table["BillingMode"] == "PAY_PER_REQUEST"
    environments = template["Mappings"]["Environments"]
    assert [name for name, e in environments.items() if e["TableProtected"]] == ["prod"]


def test_no_entity_is_named_in_the_template(contracts: Contracts) -> None:
    # `orders` is a route of the API's own, `shipments` what the sample subscriber asks for; all others come through the
    # parameter.
    text = re.sub(r"#.*", "", TEMPLATE.read_text(encoding="utf-8"))
    named = [name for name in contracts if name not in ("orders", "shipments") and re.search(rf"\b{name}\b", text)]
    assert named == []


def test_every_bundle_is_a_function_with_a_name_a_role_and_a_log_of_its_own(template: dict[str, Any]) -> None:
    resources = template["Resources"]
    functions = {n: r for n, r in resources.items() if ":" not in n and r["Type"] == "AWS::Serverless::Function"}
    assert set(functions) == {f"{name.capitalize()}Function" for name in FUNCTIONS}
    for name, module in FUNCTIONS.items():
        logical = name.capitalize()
        properties = functions[f"{logical}Function"]["Properties"]
        assert properties["Handler"] == f"{module}.handle"
        assert properties["FunctionName"] == {"Sub": f"gavel-${{Environment}}-{name}"}
        assert properties["CodeUri"]["Key"] == {"Ref": f"{logical}Bundle"}
        assert properties["Role"] == {"GetAtt": f"{logical}Role.Arn"}
        assert properties["LoggingConfig"]["LogGroup"] == {"Ref": f"{logical}Logs"}
        log = resources[f"{logical}Logs"]["Properties"]
        assert log["LogGroupName"] == {"Sub": f"/gavel/${{Environment}}/{name}"}
        assert log["KmsKeyId"] == {"GetAtt": "Key.Arn"}
        assert "RetentionInDays" in log


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_gets_the_settings_that_it_reads_and_no_other(template: dict[str, Any], function: str) -> None:
    settings = (ROOT / "realtime" / function / "settings.py").read_text(encoding="utf-8")
    reported = template["Resources"][f"{function.capitalize()}Function"]["Properties"]["Environment"]["Variables"]
    assert set(reported) == set(re.findall(r'"(GAVEL_\w+)"', settings))


def test_what_functions_and_pipeline_count_is_on_the_dashboard(template: dict[str, Any]) -> None:
    shown = json.dumps(template["Resources"]["Dashboard"]["Properties"]["DashboardBody"])
    sources = [p.read_text(encoding="utf-8") for p in (ROOT / "realtime").rglob("*.py")]
    counted = {name for source in sources for name in re.findall(r'\bemit\([^{)]*\{"(\w+)"', source)}
    assert "TokensRefused" in counted
    assert {name for name in counted | {metrics.DATA_AGE} if name not in shown} == set()


def test_every_widget_says_what_it_shows_of_which_region_and_environment(template: dict[str, Any]) -> None:
    body = template["Resources"]["Dashboard"]["Properties"]["DashboardBody"]["Fn::ToJsonString"]
    for widget in body["widgets"]:
        properties = widget["properties"]
        assert properties["title"]
        assert properties["region"] == {"Ref": "AWS::Region"}
        assert all("Environment" in json.dumps(metric) for metric in properties["metrics"]), properties["title"]


def test_cloudformation_can_read_the_template() -> None:
    # It refuses YAML aliases; AWS says so below "template formats".
    aliases = [e for e in yaml.parse(TEMPLATE.read_text(encoding="utf-8")) if isinstance(e, yaml.AliasEvent)]
    assert aliases == []


def test_users_of_test_and_prod_sign_in_with_two_factors() -> None:
    """Whoever deploys it, and by whatever command: CloudFormation refuses the stack otherwise."""
    (rule,) = expanded("prod")["Rules"].values()
    assert rule["RuleCondition"] == {
        "Fn::Or": [{"Fn::Equals": [{"Ref": "Environment"}, name]} for name in ("test", "prod")]
    }
    assert [one["Assert"] for one in rule["Assertions"]] == [{"Fn::Equals": [{"Ref": "Mfa"}, "ON"]}]
    pool = expanded("prod")["Resources"]["UserPool"]["Properties"]
    assert pool["MfaConfiguration"] == {"Ref": "Mfa"}
    assert pool["EnabledMfas"]["Fn::If"][:2] == ["HasMfa", ["SOFTWARE_TOKEN_MFA"]]


@pytest.mark.parametrize("target", ["dev", "test", "prod"])
def test_athena_finds_its_workgroup_and_what_it_leaves_behind_is_removed(template: dict[str, Any], target: str) -> None:
    profiles = yaml.safe_load((ROOT / "dbt_project" / "profiles.yml").read_text(encoding="utf-8"))
    profile = profiles["gavel"]["outputs"][target]
    workgroup = template["Resources"]["Workgroup"]["Properties"]
    limits = workgroup["WorkGroupConfiguration"]
    assert f"'{workgroup['Name']['Sub'].replace('${Environment}', target)}'" in profile["work_group"]
    assert limits["BytesScannedCutoffPerQuery"] == {"Ref": "QueryLimitBytes"}
    assert template["Parameters"]["QueryLimitBytes"]["Default"] == 100 * 10**9
    assert limits["EngineVersion"] == {"SelectedEngineVersion": "Athena engine version 3"}
    rules = template["Resources"]["DataBucket"]["Properties"]["LifecycleConfiguration"]["Rules"]
    days = {rule["Prefix"]: rule["ExpirationInDays"] for rule in rules if "Prefix" in rule}
    for folder in ("s3_staging_dir", "s3_tmp_table_dir"):
        assert days[profile[folder].rpartition("}}/")[2]] == 1
    tables = profile["s3_data_dir"].rpartition("}}/")[2]
    assert not any(tables.startswith(prefix) for prefix in days)


def test_earlier_versions_of_objects_go_after_thirty_days(template: dict[str, Any]) -> None:
    bucket = template["Resources"]["DataBucket"]["Properties"]
    rules = [rule for rule in bucket["LifecycleConfiguration"]["Rules"] if "NoncurrentVersionExpiration" in rule]
    assert [(r["Status"], r["NoncurrentVersionExpiration"], "Prefix" in r) for r in rules] == [
        ("Enabled", {"NoncurrentDays": 30}, False)
    ]


def test_the_laptop_stack_reads_outputs_that_there_are(template: dict[str, Any]) -> None:
    sources = (p.read_text(encoding="utf-8") for p in (ROOT / "local").rglob("*.py"))
    read = {name for source in sources for name in re.findall(r'outputs\["(\w+)"\]', source)}
    assert {"ApiUrl", "TableName"} <= read <= set(template["Outputs"])


# ---- calls that go over to new versions ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made() -> dict[str, Any]:
    found: dict[str, Any] = expanded("prod")["Resources"]
    return found


def of(made: dict[str, Any], kind: str) -> dict[str, Any]:
    return {name: resource for name, resource in made.items() if resource["Type"] == kind}


def test_whoever_calls_a_function_calls_its_alias(made: dict[str, Any]) -> None:
    """What calls `$LATEST` would call what an update has brought, before anybody has looked whether it works."""
    aliases = of(made, "AWS::Lambda::Alias")
    assert {a["Properties"]["Name"] for a in aliases.values()} == {LIVE}
    assert {a["Properties"]["FunctionName"]["Ref"] for a in aliases.values()} == set(of(made, "AWS::Lambda::Function"))
    mappings = of(made, "AWS::Lambda::EventSourceMapping").values()
    permissions = of(made, "AWS::Lambda::Permission").values()
    named = [m["Properties"]["FunctionName"] for m in (*mappings, *permissions)]
    assert len(named) > 30
    assert {one.get("Ref") for one in named} <= set(aliases)
    for api in of(made, "AWS::ApiGateway::RestApi").values():
        called = re.findall(r"functions/\$\{(\w+)", json.dumps(api["Properties"]["Body"]))
        assert set(called) - {"__FunctionArn__"} == {"ApiFunctionAliaslive"}
    tenants = json.dumps(made["TenantApi"]["Properties"]["Body"])
    assert re.findall(r'"__FunctionArn__": (\{[^}]*\})', tenants) == ['{"Ref": "AuthorizerFunctionAliaslive"}']


def test_a_version_goes_with_the_update_that_replaces_it_or_is_taken_back(made: dict[str, Any]) -> None:
    """SAM would keep every version for ever; and one that was taken back would stand in the way of the same code, for
    Lambda publishes nothing that it has published last."""
    versions = of(made, "AWS::Lambda::Version")
    assert len(versions) == len(FUNCTIONS)
    assert {v["DeletionPolicy"] for v in versions.values()} == {"Delete"}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_an_alarm_of_the_new_version_alone_takes_calls_back(made: dict[str, Any], function: str) -> None:
    logical = f"{function.capitalize()}Function"
    policy = made[f"{logical}Aliaslive"]["UpdatePolicy"]["CodeDeployLambdaAliasUpdate"]
    group = made[policy["DeploymentGroupName"]["Ref"]]["Properties"]
    assert group["AutoRollbackConfiguration"]["Enabled"] is True
    assert "DEPLOYMENT_STOP_ON_ALARM" in group["AutoRollbackConfiguration"]["Events"]
    assert group["ServiceRoleArn"] == {"Fn::GetAtt": ["RolloutRole", "Arn"]}
    version = {"Fn::GetAtt": [f"{logical}Version{'0' * 10}", "Version"]}
    alarms = [made[alarm["Name"]["Ref"]]["Properties"] for alarm in group["AlarmConfiguration"]["Alarms"]]
    (errors,) = [alarm for alarm in alarms if alarm["MetricName"] == "Errors"]
    assert {d["Name"]: d["Value"] for d in errors["Dimensions"]} == {
        "FunctionName": {"Ref": logical},
        "Resource": {"Fn::Sub": f"${{{logical}}}:live"},
        "ExecutedVersion": version,
    }
    for alarm in alarms:  # a new version, a new alarm: what rings because of the old one keeps no cure out
        assert f"-{function}-version-${{{version['Fn::GetAtt'][0]}.Version}}-" in alarm["AlarmName"]["Fn::Sub"]
        assert alarm["Period"] == 60


def test_what_a_function_goes_on_after_takes_calls_back_too(made: dict[str, Any]) -> None:
    """Such a function sets aside what it cannot handle, or leaves it, so that Lambda counts no error of a version that
    handles nothing at all: it counts itself, by its name and version."""
    counting = {
        p.parts[-2] for p in (ROOT / "realtime").rglob("handler.py") if "count_unhandled" in p.read_text("utf-8")
    }
    catching = {
        p.parts[-2]
        for p in (ROOT / "realtime").glob("*/*.py")
        if p.parts[-2] in FUNCTIONS and re.search(r"batchItemFailures|partial_response", p.read_text("utf-8"))
    }
    assert counting == catching == {"relay", "fanout", "inbound", "tracking"}
    for function in counting:
        logical = f"{function.capitalize()}Function"
        group = made[f"{logical}DeploymentGroup"]["Properties"]
        alarms = [made[alarm["Name"]["Ref"]]["Properties"] for alarm in group["AlarmConfiguration"]["Alarms"]]
        (own,) = [alarm for alarm in alarms if alarm["MetricName"] == "Unhandled"]
        assert own["Namespace"] == metrics.NAMESPACE
        assert {d["Name"]: d["Value"] for d in own["Dimensions"]} == {
            "environment": {"Ref": "Environment"},
            "function": function,
            "version": {"Fn::GetAtt": [f"{logical}Version{'0' * 10}", "Version"]},
        }


def test_what_reads_a_change_is_new_before_what_writes_it(made: dict[str, Any]) -> None:
    assert set(made["InboundFunction"]["DependsOn"]) == {"RelayFunctionAliaslive", "FanoutFunctionAliaslive"}
    assert made["ApiFunction"]["DependsOn"] == "InboundFunctionAliaslive"


def test_on_a_laptop_no_codedeploy_shifts_calls() -> None:
    assert not [r for r in expanded("local")["Resources"].values() if r["Type"].startswith("AWS::CodeDeploy::")]
