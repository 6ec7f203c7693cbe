"""Deploys the real-time path to the emulator: the same template, bundles and landing tables that AWS gets.

Everything here may be repeated: a stack that is there already is updated in place. What CloudFormation cannot do on the
emulator (time to live) is done by API calls at the end; the reasons stand beside them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from botocore.exceptions import ClientError

from contracts import Contracts
from local.aws import REGION, Aws, lake_at
from local.home import REPOSITORY, Home, Stack
from local.housekeeping import bound_bundles
from local.processes import HANG_SECONDS
from ops.deployment.following import reasons
from ops.deployment.releases import releases

STACK_NAME = "gavel-local"
CODE_BUCKET = "gavel-local-code"
USER = "laptop@gavel.example"
PROVIDER = "gavel-local-tenants"
TEMPLATE = REPOSITORY / "realtime" / "template.yaml"

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how many parts of it are done, and how many there are."""


class DeployError(RuntimeError):
    """The deployment failed; says which resource, why, and what to do."""


def deploy(
    home: Home, stack: Stack, contracts: Contracts, progress: Progress = lambda what, done, total: None
) -> Stack:
    """Bring the emulator's real-time path to what the working copy says; returns the stack with its outputs."""
    aws = Aws(stack.endpoint)
    progress("building the Lambda bundles", 0, 1)
    bundles = _upload_bundles(aws, home, contracts)
    _deploy_landing_tables(aws, contracts, progress)
    parameters = {
        "Environment": "local",
        "Entities": ",".join(c.name for c in contracts.of_origin("stream")),
        "CodeBucket": CODE_BUCKET,
        **bundles,
        "LocalEndpoint": stack.endpoint,
        **_other_identity_provider(aws),
    }
    text = TEMPLATE.read_text()
    parameters |= releases(text, parameters)
    outputs = deploy_stack(aws, with_defaults(text, parameters), parameters, progress)
    _enable_time_to_live(aws, outputs["TableName"])
    _enable_time_to_live(aws, f"{outputs['TableName']}-requests")
    _create_user(aws, outputs["UserPoolId"], stack.password)
    return home.update(outputs=outputs)


def _upload_bundles(aws: Aws, home: Home, contracts: Contracts) -> dict[str, str]:
    """Build the bundles and upload those that are new; returns the template's parameters that name them."""
    from realtime.bundle import build_bundles

    s3 = aws.client("s3")
    try:
        s3.create_bucket(Bucket=CODE_BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
    except ClientError as error:
        if error.response["Error"]["Code"] not in ("BucketAlreadyOwnedByYou", "BucketAlreadyExists"):
            raise
    bundles = build_bundles(home.bundles, contracts=contracts)
    there = {o["Key"] for o in s3.list_objects_v2(Bucket=CODE_BUCKET).get("Contents", ())}
    for bundle in bundles.values():
        if bundle.key not in there:
            s3.put_object(Bucket=CODE_BUCKET, Key=bundle.key, Body=bundle.path.read_bytes())
    bound_bundles(home.bundles, [bundle.path for bundle in bundles.values()])
    return {bundle.parameter: bundle.key for bundle in bundles.values()}


def _deploy_landing_tables(aws: Aws, contracts: Contracts, progress: Progress) -> None:
    """Create or correct the landing tables: Firehose reads their columns, so they come before the stack."""
    from lakehouse import api

    bucket = data_bucket()
    lake = lake_at(bucket, aws.endpoint)
    for done, contract in enumerate(contracts.values()):
        progress("landing tables", done, len(contracts))
        api.refresh_landing(lake, contract)
    progress("landing tables", len(contracts), len(contracts))


def with_defaults(template: str, values: Mapping[str, str]) -> str:
    """The template with these values as the defaults of its parameters that have none. CloudFormation hands parameters
    to SAM, which makes the names of versions of them; the emulator hands over their defaults alone."""
    for name, value in values.items():
        declared = f"\n  {name}:\n    Type: String\n"
        head, found, rest = template.partition(declared)
        if found and not rest.startswith("    Default:"):
            template = f'{head}{declared}    Default: "{value}"\n{rest}'
    return template


def data_bucket() -> str:
    """The bucket that the template makes in the emulator's only account."""
    return "gavel-local-data-000000000000"


# ---- CloudFormation ------------------------------------------------------------------------------------------------


def deploy_stack(
    aws: Aws, template: str, parameters: Mapping[str, str], progress: Progress, name: str = STACK_NAME
) -> dict[str, str]:
    """Create the CloudFormation stack, or update it in place, and wait for it; returns its outputs.

    A stack that failed to be created is deleted and made again. Raises `DeployError` with the reasons of the resources.
    """
    cloudformation = aws.client("cloudformation")
    status = _status(cloudformation, name)
    if status in ("ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED", "DELETE_FAILED"):
        cloudformation.delete_stack(StackName=name)
        _wait(cloudformation, name, progress)
        status = None
    arguments = {
        "StackName": name,
        "TemplateURL": _upload_template(aws, template, name),
        "Parameters": [{"ParameterKey": k, "ParameterValue": v} for k, v in parameters.items()],
        "Capabilities": ["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"],
    }
    try:
        if status is None:
            cloudformation.create_stack(**arguments)
        else:
            cloudformation.update_stack(**arguments)
    except ClientError as error:
        if "No updates are to be performed" not in str(error):
            raise DeployError(f"CloudFormation refused the template of {name}: {error}") from error
    status = _wait(cloudformation, name, progress)
    if status not in ("CREATE_COMPLETE", "UPDATE_COMPLETE"):
        raise DeployError(f"CloudFormation ended with {status}:\n{reasons(cloudformation, name)}")
    description = cloudformation.describe_stacks(StackName=name)["Stacks"][0]
    return {o["OutputKey"]: o["OutputValue"] for o in description.get("Outputs", ())}


def _upload_template(aws: Aws, template: str, name: str) -> str:
    """Its address on S3: CloudFormation takes no more than 51,200 bytes in a request."""
    key = f"templates/{name}.yaml"
    aws.client("s3").put_object(Bucket=CODE_BUCKET, Key=key, Body=template.encode())
    return f"{aws.endpoint}/{CODE_BUCKET}/{key}"


def _status(cloudformation: Any, name: str) -> str | None:
    try:
        return str(cloudformation.describe_stacks(StackName=name)["Stacks"][0]["StackStatus"])
    except ClientError:
        return None


def _wait(cloudformation: Any, name: str, progress: Progress) -> str | None:
    """Wait until the stack is no longer in progress; returns its status, None if it is gone."""
    deadline = time.monotonic() + HANG_SECONDS
    pause = 0.05
    while (status := _status(cloudformation, name)) is not None and status.endswith("_IN_PROGRESS"):
        done, total = _count(_events(cloudformation, name))
        progress("CloudFormation resources", done, total)
        if time.monotonic() > deadline:
            raise DeployError(f"CloudFormation still says {status} after {HANG_SECONDS} s")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.5)
    if status is not None:
        done, total = _count(_events(cloudformation, name))
        progress("CloudFormation resources", done, total)
    return status


def _events(cloudformation: Any, name: str) -> list[dict[str, Any]]:
    pages = cloudformation.get_paginator("describe_stack_events").paginate(StackName=name)
    return [event for page in pages for event in page["StackEvents"]]


def _count(events: Sequence[Mapping[str, Any]]) -> tuple[int, int]:
    """How many resources are complete, and how many were begun."""
    begun = {e["LogicalResourceId"] for e in events}
    complete = {e["LogicalResourceId"] for e in events if e["ResourceStatus"].endswith("_COMPLETE")}
    return len(complete), len(begun)


# ---- what belongs to others on AWS ---------------------------------------------------------------------------------


def _other_identity_provider(aws: Aws) -> dict[str, str]:
    """A user pool that stands for the tenants' identity provider; returns the parameters that open the partner API.

    A tenant is a user of the pool by its name.
    """
    cognito = aws.client("cognito-idp")
    pages = cognito.get_paginator("list_user_pools").paginate(MaxResults=60)
    found = [p["Id"] for page in pages for p in page["UserPools"] if p["Name"] == PROVIDER]
    pool = found[0] if found else cognito.create_user_pool(PoolName=PROVIDER)["UserPool"]["Id"]
    clients = cognito.list_user_pool_clients(UserPoolId=pool, MaxResults=1)["UserPoolClients"]
    client = clients[0] if clients else _create_client(cognito, pool)
    return {
        "TenantIssuer": f"https://cognito-idp.{REGION}.amazonaws.com/{pool}",
        "TenantAudience": client["ClientId"],
        "TenantKeysUrl": f"{aws.endpoint}/{pool}/.well-known/jwks.json",
        "TenantClaim": "cognito:username",
    }


def _create_client(cognito: Any, pool: str) -> dict[str, Any]:
    flows = ["ALLOW_ADMIN_USER_PASSWORD_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"]
    answer = cognito.create_user_pool_client(UserPoolId=pool, ClientName=PROVIDER, ExplicitAuthFlows=flows)
    return dict(answer["UserPoolClient"])


# ---- what the emulator's CloudFormation leaves out -----------------------------------------------------------------


def _enable_time_to_live(aws: Aws, table: str) -> None:
    """The emulator ignores `TimeToLiveSpecification` in a template."""
    dynamodb = aws.client("dynamodb")
    if dynamodb.describe_time_to_live(TableName=table)["TimeToLiveDescription"]["TimeToLiveStatus"] != "ENABLED":
        dynamodb.update_time_to_live(TableName=table, TimeToLiveSpecification={"Enabled": True, "AttributeName": "ttl"})


def _create_user(aws: Aws, pool: str, password: str) -> None:
    """The user as whom the laptop signs in; made by an administrator, as the pool asks for."""
    cognito = aws.client("cognito-idp")
    try:
        cognito.admin_create_user(
            UserPoolId=pool,
            Username=USER,
            MessageAction="SUPPRESS",
            UserAttributes=[{"Name": "email", "Value": USER}, {"Name": "email_verified", "Value": "true"}],
        )
    except ClientError as error:
        if error.response["Error"]["Code"] != "UsernameExistsException":
            raise
    cognito.admin_set_user_password(UserPoolId=pool, Username=USER, Password=password, Permanent=True)
    cognito.admin_add_user_to_group(UserPoolId=pool, Username=USER, GroupName="staff")


def sign_in(aws: Aws, stack: Stack) -> tuple[str, float]:
    """An identity token of the laptop's user, and for how many seconds it is valid."""
    answer = aws.client("cognito-idp").admin_initiate_auth(
        UserPoolId=stack.outputs["UserPoolId"],
        ClientId=stack.outputs["UserPoolClientId"],
        AuthFlow="ADMIN_USER_PASSWORD_AUTH",
        AuthParameters={"USERNAME": USER, "PASSWORD": stack.password},
    )
    result = answer["AuthenticationResult"]
    return str(result["IdToken"]), float(result["ExpiresIn"])
