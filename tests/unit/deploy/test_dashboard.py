"""The dashboard's home on AWS answers as the laptop's server does, and nobody else reads its files."""

from __future__ import annotations

from typing import Any

import pytest

from local.dashboard import server, serving
from local.dashboard.build import SOURCE
from tests.support.expanded import expanded, expanded_stack


@pytest.fixture(scope="module")
def resources() -> dict[str, Any]:
    return dict(expanded_stack("dashboard", "prod")["Resources"])


@pytest.fixture(scope="module")
def distribution(resources: dict[str, Any]) -> dict[str, Any]:
    return dict(resources["Distribution"]["Properties"]["DistributionConfig"])


def test_every_answer_has_the_headers_of_the_laptops_server(
    resources: dict[str, Any], distribution: dict[str, Any]
) -> None:
    config = resources["Headers"]["Properties"]["ResponseHeadersPolicyConfig"]
    secured = config["SecurityHeadersConfig"]
    custom = {item["Header"]: item for item in config["CustomHeadersConfig"]["Items"]}
    given = {
        "Content-Security-Policy": secured["ContentSecurityPolicy"]["ContentSecurityPolicy"]["Fn::Sub"],
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": secured["FrameOptions"]["FrameOption"],
        "Referrer-Policy": secured["ReferrerPolicy"]["ReferrerPolicy"],
        **{name: item["Value"] for name, item in custom.items()},
    }
    sign_in = expanded_stack("dashboard", "prod")["Outputs"]["SignInUrl"]["Value"]["Fn::Sub"]
    policy = server.POLICY.replace("connect-src 'self'", f"connect-src 'self' {sign_in}")
    assert policy != server.POLICY
    assert given == {"Content-Security-Policy": policy, "Cache-Control": "no-store", **server._EVERYWHERE}
    assert "ContentTypeOptions" in secured
    assert [name for name, item in custom.items() if not item["Override"]] == ["Cache-Control"], "files have their own"
    assert all(one["Override"] for one in secured.values())
    assert secured["StrictTransportSecurity"]["AccessControlMaxAgeSec"] >= 31536000, (
        "over TLS alone, so not on a laptop"
    )
    for behaviour in (distribution["DefaultCacheBehavior"], *distribution["CacheBehaviors"]):
        assert behaviour["ResponseHeadersPolicyId"] == {"Ref": "Headers"}


def test_no_answer_of_the_api_is_kept_and_it_gets_what_it_decides_by(distribution: dict[str, Any]) -> None:
    (api,) = distribution["CacheBehaviors"]
    assert (api["PathPattern"], api["TargetOriginId"]) == ("/api/*", "api")
    assert api["CachePolicyId"] == "4135ea2d-6df8-44a3-9df3-4b5a84be39ad", "CachingDisabled"
    assert api["OriginRequestPolicyId"] == "b689b0a8-53d0-40ab-baf2-68738e2966ac", "AllViewerExceptHostHeader"
    assert {"GET", "POST", "PUT", "PATCH", "DELETE"} <= set(api["AllowedMethods"])
    assert api["Compress"] is False, "a compressed answer's ETag is a weak one"
    # CloudFront keeps errors of these codes for ten seconds, for everybody, unless its settings say no.
    kept = {400, 403, 404, 405, 414, 500, 501, 502, 503, 504}
    errors = distribution["CustomErrorResponses"]
    assert {error["ErrorCode"] for error in errors if error["ErrorCachingMinTTL"] == 0} == kept
    assert [error for error in errors if "ResponsePagePath" in error or "ResponseCode" in error] == []


def test_nobody_but_the_distribution_reads_the_files(resources: dict[str, Any]) -> None:
    policy = resources["SitePolicy"]["Properties"]["PolicyDocument"]["Statement"]
    granted = {s["Sid"]: s for s in policy if s["Effect"] == "Allow"}
    assert {s["Action"] for s in granted.values()} == {"s3:GetObject", "s3:ListBucket"}
    ours = "arn:${AWS::Partition}:cloudfront::${AWS::AccountId}:distribution/${Distribution}"
    for statement in granted.values():
        assert statement["Principal"] == {"Service": "cloudfront.amazonaws.com"}
        assert statement["Condition"] == {"StringEquals": {"aws:SourceArn": {"Fn::Sub": ours}}}
    for bucket in ("Site", "AccessLogs"):
        assert set(resources[bucket]["Properties"]["PublicAccessBlockConfiguration"].values()) == {True}


def test_only_modern_tls_reaches_it_and_rules_stand_before_it(distribution: dict[str, Any]) -> None:
    assert distribution["ViewerCertificate"]["MinimumProtocolVersion"] == "TLSv1.2_2021"
    assert distribution["WebACLId"] == {"Ref": "WebAclArn"}
    firewall = expanded_stack("firewall", "prod")
    rules = firewall["Resources"]["WebAcl"]["Properties"]["Rules"]
    (limit,) = (rule for rule in rules if "RateBasedStatement" in rule["Statement"])
    assert limit["Statement"]["RateBasedStatement"]["AggregateKeyType"] == "IP"
    assert limit["Action"]["Block"]["CustomResponse"]["ResponseCode"] == 429, "which the pages take for busy"
    for rule in rules:
        assert rule is limit or rule["OverrideAction"] == {"None": {}}, "a rule that only counts protects nothing"


def test_what_the_stack_takes_from_others_they_give(resources: dict[str, Any]) -> None:
    parameters = expanded_stack("dashboard", "prod")["Parameters"]
    assert "ApiUrl" in parameters
    given = set(expanded("prod")["Outputs"]) | set(expanded_stack("firewall", "prod")["Outputs"])
    by_hand = {"Environment", "Domain", "CertificateArn", "SignInPrefix"}
    assert set(parameters) - by_hand <= given


def test_the_client_may_do_what_the_laptops_may_and_a_session_lasts_a_day_at_most(resources: dict[str, Any]) -> None:
    own = dict(resources["Client"]["Properties"])
    laptop = serving.allowed("https://${Domain}")
    assert own.pop("GenerateSecret") is False
    for name in ("CallbackURLs", "LogoutURLs"):
        assert own[name] == [{"Fn::Sub": address} for address in laptop.pop(name)]
    assert {name: own[name] for name in own if name in laptop} == laptop
    rest = set(own) - set(laptop) - {"CallbackURLs", "LogoutURLs", "ClientName", "UserPoolId"}
    assert rest == {"AccessTokenValidity", "IdTokenValidity", "RefreshTokenValidity", "TokenValidityUnits"}
    assert own["TokenValidityUnits"] == {"AccessToken": "minutes", "IdToken": "minutes", "RefreshToken": "days"}
    assert (own["AccessTokenValidity"], own["IdTokenValidity"], own["RefreshTokenValidity"]) == (60, 60, 1)


def test_the_files_that_are_no_pages_are_listed(resources: dict[str, Any]) -> None:
    """What lies beside the assets, and is not below them: the function answers all else with the page."""
    code = resources["Pages"]["Properties"]["FunctionCode"]
    beside = {f"/{path.relative_to(SOURCE / 'public')}" for path in (SOURCE / "public").rglob("*") if path.is_file()}
    wanted = beside | {"/index.html", "/config.json"}
    (line,) = (line for line in code.splitlines() if line.startswith("const FILES"))
    assert line == f"const FILES = [{', '.join(repr(name) for name in sorted(wanted))}];"
