"""From resources and a load to US dollars a month. Plain arithmetic; what has no price is named, not guessed."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from contracts.prices import Price, load_prices

HOURS = 730
"""Of a month, as AWS's calculator has them."""
FIREHOSE_KB = 5
NEWS_SECONDS = 3
FOLDER = Path(__file__).parent
COUNTED = FOLDER.parent / "results" / "cost.json"

Resource = Mapping[str, Any]
Value = Callable[[Any], Any]
"""What a property is in the environment: its mappings looked up."""

FREE = frozenset(
    f"AWS::{name}"
    for name in """
    ApiGateway::Account ApiGateway::Deployment ApiGateway::RestApi ApiGateway::Stage ApiGateway::UsagePlan
    Athena::NamedQuery Athena::WorkGroup Budgets::Budget CloudFront::CachePolicy CloudFront::OriginAccessControl
    CloudFront::ResponseHeadersPolicy CodeDeploy::Application CodeDeploy::DeploymentGroup Cognito::UserPoolClient
    Cognito::UserPoolDomain Cognito::UserPoolGroup
    EC2::InternetGateway EC2::Route EC2::RouteTable EC2::SecurityGroup EC2::SecurityGroupEgress
    EC2::SecurityGroupIngress EC2::Subnet EC2::SubnetRouteTableAssociation EC2::VPC EC2::VPCGatewayAttachment
    ECS::Cluster ECS::TaskDefinition ElasticLoadBalancingV2::Listener ElasticLoadBalancingV2::ListenerRule
    ElasticLoadBalancingV2::TargetGroup Events::Rule Glue::Database Glue::Table IAM::ManagedPolicy
    IAM::OIDCProvider IAM::Role LakeFormation::DataLakeSettings LakeFormation::PrincipalPermissions
    LakeFormation::Resource LakeFormation::Tag LakeFormation::TagAssociation
    KMS::Alias Lambda::Alias Lambda::EventSourceMapping Lambda::Permission Lambda::Version Logs::LogStream
    Logs::QueryDefinition RDS::DBParameterGroup
    RDS::DBSubnetGroup S3::BucketPolicy SNS::Subscription SNS::TopicPolicy SQS::QueuePolicy
    WAFv2::WebACLAssociation
    """.split()
)
"""Types that cost nothing by being there; what goes through them is a line of its own, or not counted."""
NOT_COUNTED = {
    "AWS::CloudFront::Distribution": "CloudFront: requests and transfer of the dashboard",
    "AWS::CloudFront::Function": "CloudFront: requests and transfer of the dashboard",
    "AWS::CloudWatch::CompositeAlarm": "CloudWatch: alarms over other alarms",
    "AWS::Cognito::UserPool": "Cognito: users who sign in in a month",
    "AWS::SNS::Topic": "SNS: alerts and notices",
    "AWS::SQS::Queue": "SQS: inbound messages",
    "AWS::ServiceDiscovery::PrivateDnsNamespace": "Route 53: the private zone of the tasks",
    "AWS::ServiceDiscovery::Service": "Route 53: the private zone of the tasks",
}
"""Types whose use the load does not say, or whose price was not found, with what is left out."""
ALWAYS_LEFT_OUT = (
    "public IPv4 addresses of the load balancer",
    "Container Insights, X-Ray, RDS's enhanced monitoring",
    "requests of KMS",
    "transfer out of the region, and between zones",
    "PostgreSQL's backups beyond its size",
    "taxes, support, free amounts",
)


@dataclass(frozen=True)
class Load:
    """What an environment has to do; `load.yaml` says what each number is."""

    days: float
    hours: float
    writes_per_second: float
    reads_per_second: float
    pages_open: float
    write_units: float
    read_units: float
    read_units_of_news: float
    api_milliseconds: float
    changes_per_invocation: float
    stream_milliseconds: float
    busy_entities: float
    run_hours: float
    table_gb: float
    lake_gb: float
    log_gb: float
    image_gb: float
    athena_gb: float
    trail_events: float

    @property
    def seconds(self) -> float:
        """Of a month in which somebody works."""
        return self.days * self.hours * 3600

    @property
    def writes(self) -> float:
        """Of a month."""
        return self.writes_per_second * self.seconds

    @property
    def news(self) -> float:
        """Requests of a month for what is new."""
        return self.pages_open * self.seconds / NEWS_SECONDS

    @property
    def requests(self) -> float:
        """All requests of the API in a month."""
        return self.writes + self.reads_per_second * self.seconds + self.news


@dataclass(frozen=True)
class Line:
    """A line of the estimate: what is paid for, how much of it, US dollars a month, and whether no load changes it."""

    what: str
    amount: str
    usd: float
    fixed: bool


def load_of(environment: str, file: Path) -> Load:
    """The load of an environment in a file; raises `ValueError` that says what is missing or too much."""
    try:
        written = yaml.safe_load(file.read_text("utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"{file}: expected YAML, found {error}") from error
    found = written.get(environment) if isinstance(written, dict) else None
    names = {one.name for one in fields(Load)}
    if not isinstance(found, dict) or set(found) != names:
        wrong = sorted(map(str, names ^ set(found if isinstance(found, dict) else ())))
        raise ValueError(f"{file}: {environment}: expected {len(names)} numbers, look at {', '.join(wrong)}")
    if bad := [name for name, value in found.items() if not _is_amount(value)]:
        raise ValueError(f"{file}: {environment}: expected numbers from 0, found others: {', '.join(bad)}")
    return Load(**found)


def _is_amount(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf


def all_prices() -> dict[str, Price]:
    """Prices by name: those that reports compute with, and those of an environment."""
    return {**load_prices().prices, **load_prices(FOLDER / "prices.yaml").prices}


def estimate(resources: list[tuple[Resource, Value]], load: Load, prices: Mapping[str, Price]) -> list[Line]:
    """The lines of an environment's month. Raises `KeyError` for a price that is not listed, and `ValueError` for
    types of resources of which nobody has said what they cost."""
    types = Counter(resource["Type"] for resource, _ in resources)
    lines = [*_fixed(resources, types, prices), *_of_load(load, prices)]
    if unknown := types.keys() - PRICED - FREE - NOT_COUNTED.keys():
        raise ValueError(f"expected a price, or a word that there is none, for {', '.join(sorted(unknown))}")
    return lines


def left_out(resources: list[tuple[Resource, Value]]) -> list[str]:
    """What the estimate does not count."""
    types = {resource["Type"] for resource, _ in resources}
    return [*dict.fromkeys(text for type_, text in NOT_COUNTED.items() if type_ in types), *ALWAYS_LEFT_OUT]


PRICED = frozenset(
    f"AWS::{name}"
    for name in """
    CloudTrail::Trail CloudWatch::Alarm CloudWatch::Dashboard DynamoDB::Table EC2::VPCEndpoint ECR::Repository
    ECS::Service ElasticLoadBalancingV2::LoadBalancer Events::EventBus KMS::Key KinesisFirehose::DeliveryStream
    Lambda::Function Logs::LogGroup RDS::DBInstance S3::Bucket WAFv2::WebACL
    """.split()
)


def _fixed(
    resources: list[tuple[Resource, Value]], types: Mapping[str, int], prices: Mapping[str, Price]
) -> Iterator[Line]:
    """What is paid for whether anybody works or not."""

    def line(what: str, amount: float, unit: str, *name_and_units: tuple[str, float]) -> Line:
        return Line(what, f"{amount:g} {unit}", sum(prices[n].of_one * units for n, units in name_and_units), True)

    def of(type_: str) -> list[tuple[Mapping[str, Any], Value]]:
        return [(r.get("Properties", {}), value) for r, value in resources if r["Type"] == f"AWS::{type_}"]

    zones = sum(len(p["SubnetIds"]) for p, _ in of("EC2::VPCEndpoint") if p.get("VpcEndpointType") == "Interface")
    yield line("VPC endpoints", zones, "in a zone", ("endpoint_hour", zones * HOURS))
    tasks = {str(p["Family"]): (p, value) for p, value in of("ECS::TaskDefinition")}
    vcpus = memory = 0.0
    for service, value in of("ECS::Service"):
        name = str(value(service["TaskDefinition"])).removeprefix("Task")
        task, of_task = next(found for family, found in tasks.items() if family.endswith(f"-{name}'}}"))
        count = float(value(service["DesiredCount"]))
        vcpus += count * float(of_task(task["Cpu"])) / 1024
        memory += count * float(of_task(task["Memory"])) / 1024
    yield line(
        "Fargate: web server, daemon, code server",
        vcpus,
        "vCPU",
        ("vcpu_hour", vcpus * HOURS),
        ("memory_gb_hour", memory * HOURS),
    )
    for database, value in of("RDS::DBInstance"):
        copies = 2 if value(database["MultiAZ"]) in (True, "true") else 1
        kind, size = str(value(database["DBInstanceClass"])), float(database["AllocatedStorage"])
        yield line(
            f"PostgreSQL {kind} with {size:g} GB",
            copies,
            "zones" if copies > 1 else "zone",
            (f"database_{kind}", copies * HOURS),
            ("database_gb", copies * size),
        )
    balancers = types.get("AWS::ElasticLoadBalancingV2::LoadBalancer", 0)
    yield line(
        "Load balancer, one capacity unit",
        balancers,
        "",
        ("balancer_hour", balancers * HOURS),
        ("balancer_unit", balancers),
    )
    acls = of("WAFv2::WebACL")
    rules = sum(len(p["Rules"]) for p, _ in acls)
    yield line(
        "WAF: ACLs with their rules",
        len(acls),
        f"with {rules} rules",
        ("firewall", len(acls)),
        ("firewall_rule", rules),
    )
    watched = sum(
        sum("MetricStat" in metric for metric in alarm.get("Metrics", ())) or 1 for alarm, _ in of("CloudWatch::Alarm")
    )
    yield line("Alarms, by metric", watched, "", ("alarm", watched))
    for what, type_, name in (
        ("Dashboard of CloudWatch", "CloudWatch::Dashboard", "dashboard"),
        ("Keys", "KMS::Key", "key"),
    ):
        yield line(what, types.get(f"AWS::{type_}", 0), "", (name, types.get(f"AWS::{type_}", 0)))
    secrets = types.get("AWS::RDS::DBInstance", 0) + 1  # the database's, and that of erasures
    yield line("Secrets", secrets, "", ("secret", secrets))


def _of_load(load: Load, prices: Mapping[str, Price]) -> Iterator[Line]:
    """What is paid for as much as is done."""

    def line(what: str, amount: str, *name_and_units: tuple[str, float]) -> Line:
        return Line(what, amount, sum(prices[n].of_one * units for n, units in name_and_units), False)

    def millions(number: float) -> str:
        return f"{number / 1e6:.2f} million"

    invocations = 2 * load.writes / load.changes_per_invocation
    seconds = (load.requests * load.api_milliseconds + invocations * load.stream_milliseconds) / 1000
    reads = load.reads_per_second * load.seconds * load.read_units + load.news * load.read_units_of_news
    landed = load.writes * FIREHOSE_KB / 1e6
    counted = json.loads(COUNTED.read_text("utf-8"))["ways"]["steadily over 30 days"]["batch"]
    batches = load.seconds / 120 * load.busy_entities
    hours = load.run_hours * load.days
    yield line(
        "Gateway, firewall",
        f"{millions(load.requests)} requests",
        ("gateway_request", load.requests),
        ("firewall_request", load.requests),
    )
    yield line(
        "Functions, 1 GB each",
        millions(load.requests + invocations),
        ("lambda_request", load.requests + invocations),
        ("lambda_gb_second", seconds),
    )
    units = load.writes * load.write_units
    yield line("DynamoDB: writes", f"{millions(units)} units", ("write_unit", units))
    yield line("DynamoDB: reads", f"{millions(reads)} units", ("read_unit", reads))
    yield line(
        "DynamoDB: stored, restorable",
        f"{load.table_gb:g} GB",
        ("table_gb", load.table_gb),
        ("restorable_gb", load.table_gb),
    )
    yield line(
        "Firehose, 5 KB for each change",
        f"{landed:.2f} GB",
        ("firehose_gb", landed),
        ("firehose_conversion_gb", landed),
    )
    yield line("Events of the bus", millions(load.writes), ("event", load.writes))
    yield line(
        "Fargate: runs, 2 vCPU and 8 GB", f"{hours:g} hours", ("vcpu_hour", 2 * hours), ("memory_gb_hour", 8 * hours)
    )
    yield line(
        "S3 and Glue: requests of batches",
        f"{batches:,.0f} batches",
        ("s3_put", batches * (1 + counted["put_requests"])),
        ("s3_get", batches * counted["get_requests"]),
        ("glue_request", batches * counted["glue_requests"]),
    )
    yield line("S3: stored", f"{load.lake_gb:g} GB", ("s3_gb", load.lake_gb))
    yield line("Athena", f"{load.athena_gb * load.days:g} GB", ("athena_byte", load.athena_gb * load.days * 1e9))
    yield line("Logs", f"{load.log_gb:g} GB", ("log_gb", load.log_gb))
    yield line("CloudTrail: data events", millions(load.trail_events), ("trail_event", load.trail_events))
    yield line("Images", f"{load.image_gb:g} GB", ("image_gb", load.image_gb))
