"""The templates of production are in step with contracts, code and the real-time path."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from contracts import archive, load_contracts
from lakehouse.api import landing_table
from lakehouse.erasure.operational import QUEUES
from lakehouse.storage.lake import Lake
from ops.deployment.stacks import LAYERS
from ops.deployment.templates import FILES, landing_tables, parsed, template
from orchestration.alive import COMMANDS
from orchestration.settings import Settings
from retrieval.log import PREFIX
from tests.support.expanded import expanded, expanded_stack
from tests.support.rights import statements

ROOT = Path(__file__).parents[3]
STACKS = [stack for stack in FILES if stack != "realtime"]


@pytest.fixture(scope="module")
def pipeline() -> dict[str, Any]:
    return dict(expanded_stack("pipeline", "prod")["Resources"])


def of_type(resources: dict[str, Any], kind: str) -> dict[str, Any]:
    found = {name: r for name, r in resources.items() if r["Type"] == kind}
    assert found, kind
    return found


def test_every_entity_of_a_firehose_has_its_landing_table_before_it() -> None:
    contracts = load_contracts()
    assert [*FILES].index("lake") < [*FILES].index("realtime") < [*FILES].index("pipeline")
    root = "s3://gavel-prod-data-111122223333/landing"
    tables = [r["Properties"]["TableInput"] for r in landing_tables(contracts, "prod", "111122223333").values()]
    streamed = contracts.of_origin("stream")
    assert {t["Name"] for t in tables} == {c.name for c in streamed}
    assert tables == [landing_table(contract, f"{root}/{contract.name}/") for contract in streamed]
    firehoses = of_type(expanded("prod")["Resources"], "AWS::KinesisFirehose::DeliveryStream").values()
    read = {
        f["Properties"]["ExtendedS3DestinationConfiguration"]["DataFormatConversionConfiguration"][
            "SchemaConfiguration"
        ]["TableName"]
        for f in firehoses
    }
    assert read == {t["Name"] for t in tables}


def test_databases_are_those_that_lake_and_models_write() -> None:
    databases = of_type(expanded_stack("lake", "prod")["Resources"], "AWS::Glue::Database").values()
    names = {d["Properties"]["DatabaseInput"]["Name"]["Fn::Sub"] for d in databases}
    policy = json.dumps(expanded("prod")["Resources"]["BuildsPolicy"])
    built = set(re.findall(r":database/(\w+_\$\{Environment\})", policy))
    assert {n.replace("${Environment}", "prod") for n in names} == {
        *(b.replace("${Environment}", "prod") for b in built),
        Lake.of_environment("prod", "b", "r").landing_database,
    }
    assert LAYERS


def test_what_cloudformation_gets_is_what_is_written() -> None:
    """Short forms of functions, written out, mean the same as cfn-lint reads them; no entity is named in the file."""
    written = json.loads(template("lake", load_contracts(), "prod", "111122223333"))
    assert written["Resources"]["Landing"]["Properties"]["DatabaseInput"]["Name"] == {
        "Fn::Sub": "gavel_landing_${Environment}"
    }
    assert written["Transform"] == "AWS::LanguageExtensions"
    text = (ROOT / "deploy" / "lake.yaml").read_text("utf-8")
    assert [name for name in load_contracts() if re.search(rf"\b{name}\b", text)] == []


@pytest.mark.parametrize("stack", STACKS)
def test_cloudformation_can_read_the_template(stack: str) -> None:
    events = yaml.parse(FILES[stack].read_text("utf-8"))
    assert [event for event in events if isinstance(event, yaml.AliasEvent)] == []


def test_a_task_gets_the_variables_that_code_and_instance_read(pipeline: dict[str, Any]) -> None:
    instance = "".join((ROOT / "deploy" / name).read_text("utf-8") for name in ("dagster.yaml", "workspace.yaml"))
    wanted = set(re.findall(r"env: (\w+)", instance)) | {"GAVEL_ENV", "GAVEL_HOME", "GAVEL_ALERT_TOPIC", "GAVEL_UI_URL"}
    for name, task in of_type(pipeline, "AWS::ECS::TaskDefinition").items():
        (container,) = task["Properties"]["ContainerDefinitions"]
        given = {v["Name"]: v.get("Value") for v in (*container["Environment"], *container["Secrets"])}
        assert wanted <= set(given), name
        assert not {v["Name"] for v in container["Environment"]} & {"DAGSTER_DB_USER", "DAGSTER_DB_PASSWORD"}
        written = {k: v if isinstance(v, str) else json.dumps(v) for k, v in given.items() if k.startswith("GAVEL_")}
        plain = {k: v.replace("${Environment}", "prod") for k, v in written.items()}
        settings = Settings.from_environment({**plain, "GAVEL_ENV": "prod"})
        assert (settings.endpoint_url, settings.workgroup) == (None, "gavel-prod")
        source = (ROOT / "orchestration" / "settings.py").read_text("utf-8")
        assert {k for k in plain if f'"{k}"' not in source} == set()


def test_tasks_differ_in_command_role_and_size_and_in_nothing_else(pipeline: dict[str, Any]) -> None:
    tasks = of_type(pipeline, "AWS::ECS::TaskDefinition")
    assert set(tasks) == {f"Task{name}" for name in (*COMMANDS, "run")}
    for task in tasks.values():
        (container,) = task["Properties"]["ContainerDefinitions"]
        assert container["ReadonlyRootFilesystem"] is True
        assert container["Image"] == {"Ref": "Image"}
    text = FILES["pipeline"].read_text("utf-8")
    assert re.findall(r"orchestration\.alive, (\w+)", text) == [*COMMANDS]


def test_runs_write_the_prefixes_that_the_code_names_and_no_other() -> None:
    source = (ROOT / "tests" / "unit" / "structure" / "test_prefixes.py").read_text("utf-8")
    scope: dict[str, Any] = {"__file__": str(ROOT / "tests" / "unit" / "structure" / "test_prefixes.py")}
    exec(compile(source, "prefixes", "exec"), scope)
    named = {p.rstrip("/") for p in scope["named"]().keys() - scope["OF_SOMETHING_ELSE"].keys()} - {"aws"}
    named |= {archive.ANSWERS.partition("/")[0], PREFIX.rstrip("/")}
    tables = {"exports", "marts-builds", "parity_log", "publication_log", "dagster-logs", "aws/lambda"}
    (kept,) = (s for s in statements("runs", "prod") if s.get("Sid") == "KeepTheLake")
    assert {r.split("/", 1)[1].removesuffix("/*") for r in kept["Resource"]} == named | tables


def test_queues_and_names_are_those_of_the_real_time_path() -> None:
    resources = expanded("prod")["Resources"]
    names = {json.dumps(r["Properties"].get("QueueName")) for r in resources.values() if r["Type"] == "AWS::SQS::Queue"}
    for queue in QUEUES:
        assert json.dumps({"Fn::Sub": f"gavel-${{Environment}}-{queue}-dead-letters"}) in names
    assert resources["DataBucket"]["Properties"]["BucketName"] == {
        "Fn::Sub": "gavel-${Environment}-data-${AWS::AccountId}"
    }
    assert "gavel-${Environment}-alerts" in json.dumps(resources["AlertTopic"])


def test_a_notice_that_the_topic_does_not_take_waits_in_a_queue_that_is_watched(pipeline: dict[str, Any]) -> None:
    """EventBridge drops it otherwise, and tells nobody. The queue takes what the environment's rules hand over."""
    resources = expanded("prod")["Resources"]
    queue = resources["EventsDeadLetters"]["Properties"]["QueueName"]["Fn::Sub"]
    for rule in of_type(pipeline, "AWS::Events::Rule").values():
        assert rule["Properties"]["Name"]["Fn::Sub"].startswith("gavel-${Environment}-")
        for target in rule["Properties"]["Targets"]:
            assert target["DeadLetterConfig"]["Arn"]["Fn::Sub"].endswith(f":{queue}")
    assert ":rule/gavel-${Environment}-*" in json.dumps(resources["EventsDeadLettersPolicy"])


def test_nothing_of_the_network_is_open_but_the_way_to_the_sign_in(pipeline: dict[str, Any]) -> None:
    groups = of_type(pipeline, "AWS::EC2::SecurityGroup")
    inbound = {name: g["Properties"].get("SecurityGroupIngress") for name, g in groups.items()}
    assert {name for name, rules in inbound.items() if rules} == {"BalancerGroup"}
    assert [rule["CidrIp"] for rule in inbound["BalancerGroup"]] == [{"Ref": "AllowedCidr"}]
    for name, rule in of_type(pipeline, "AWS::EC2::SecurityGroupIngress").items():
        assert "SourceSecurityGroupId" in rule["Properties"], name
    first, second = pipeline["Listener"]["Properties"]["DefaultActions"]
    assert (first["Type"], second["Type"]) == ("authenticate-cognito", "forward")
    assert pipeline["Operators"]["Properties"]["AdminCreateUserConfig"] == {"AllowAdminCreateUserOnly": True}
    for service in of_type(pipeline, "AWS::ECS::Service").values():
        placed = service["Properties"]["NetworkConfiguration"]["AwsvpcConfiguration"]
        assert placed["AssignPublicIp"] == "DISABLED"
        assert placed["Subnets"] == [{"Ref": "Private0"}, {"Ref": "Private1"}]
    assert {r["Properties"]["RouteTableId"]["Ref"] for r in of_type(pipeline, "AWS::EC2::Route").values()} == {
        "PublicRoutes"
    }


def refused(pipeline: dict[str, Any], method: str, site: str, mode: str) -> bool:
    """Whether the load balancer refuses a request: what a browser says of where it comes from, and of its kind."""
    request = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": mode}

    def holds(condition: dict[str, Any]) -> bool:
        if condition["Field"] == "http-request-method":
            return method in condition["HttpRequestMethodConfig"]["Values"]
        config = condition["HttpHeaderConfig"]
        return request[config["HttpHeaderName"]] in config["Values"]

    rules = of_type(pipeline, "AWS::ElasticLoadBalancingV2::ListenerRule").values()
    assert {rule["Properties"]["Actions"][0]["FixedResponseConfig"]["StatusCode"] for rule in rules} == {"403"}
    assert all(sum(len(c.get("HttpHeaderConfig", c.get("HttpRequestMethodConfig"))["Values"])
                   for c in rule["Properties"]["Conditions"]) <= 5 for rule in rules), "ALB takes no more"  # fmt: skip
    return any(all(holds(c) for c in rule["Properties"]["Conditions"]) for rule in rules)


@pytest.mark.parametrize(
    ("method", "site", "mode", "expected"),
    [
        ("POST", "same-origin", "cors", False),  # what the UI does
        ("GET", "same-origin", "websocket", False),
        ("GET", "none", "navigate", False),  # an address that was typed
        ("GET", "cross-site", "navigate", False),  # a link of an alert, and back from Cognito
        ("POST", "cross-site", "navigate", True),  # a form
        ("POST", "cross-site", "no-cors", True),  # fetch with text/plain
        ("POST", "same-site", "cors", True),
        ("GET", "cross-site", "no-cors", True),  # an image, a script
        ("GET", "cross-site", "cors", True),
        ("GET", "cross-site", "websocket", True),
    ],
)
def test_a_page_of_another_site_starts_nothing_in_dagsters_ui(
    pipeline: dict[str, Any], method: str, site: str, mode: str, expected: bool
) -> None:
    """Dagster executes the mutation of any POST, and of any GET that does not want HTML, if the cookie is there."""
    assert refused(pipeline, method, site, mode) is expected


def test_the_page_names_the_processors_that_fargate_has_to_sell(pipeline: dict[str, Any]) -> None:
    """As many as runs at once and a change of all services take: ECS starts new tasks before it stops the old ones."""
    document = parsed(FILES["pipeline"].read_text("utf-8"))
    size = {task: int(of["Cpu"]) / 1024 for task, of in document["Mappings"]["Tasks"].items()}
    instance = yaml.safe_load((ROOT / "deploy" / "dagster.yaml").read_text("utf-8"))
    runs = instance["concurrency"]["runs"]["max_concurrent_runs"] * size["run"]
    services = sum(size[task] for task in COMMANDS) + size["web"]  # prod has two of web
    (named,) = re.findall(r"(\d+) vCPUs of Fargate", (ROOT / "docs" / "deploy.md").read_text("utf-8"))
    assert int(document["Mappings"]["Environments"]["prod"]["Web"]) == 2
    assert runs + 2 * services <= int(named) < runs + 2 * services + 1


def test_every_alarm_of_the_pipeline_is_in_the_runbook() -> None:
    runbook = (ROOT / "docs" / "deploy.md").read_text("utf-8").lower()
    names = re.findall(r"AlarmName: !Sub \"?gavel-\$\{Environment\}-([^\"\s]+)", FILES["pipeline"].read_text("utf-8"))
    assert len(names) == 2
    written = [re.sub(r"\$\{(\w+)\}", r"<\1>", name).lower() for name in names]
    assert [n for n in written if f"alarm `{n}`" not in runbook] == []


@pytest.mark.parametrize("environment", ["dev", "test", "prod"])
def test_parameters_of_an_environment_are_those_of_its_templates(environment: str) -> None:
    given = json.loads((ROOT / "deploy" / "parameters" / f"{environment}.json").read_text("utf-8"))
    assert set(given.pop("aws")) == {"account", "region"}
    assert set(given) <= set(FILES)
    for stack, values in given.items():
        text = re.sub(r"!\w+", "", FILES[stack].read_text("utf-8"))
        assert set(values) <= set(yaml.safe_load(text)["Parameters"]), stack
