"""What a stack needs in the bucket of templates and bundles: each thing under its content's hash, so that what did not
change has the same name, and is no change."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from contracts import Contracts
from ops.deployment.change_sets import DeploymentError
from ops.deployment.stacks import ROOT
from realtime.bundle import FUNCTIONS, BundleError, Target, build_bundles

TARGET = Target("3.13", "arm64")
"""What functions run on; the template's parameters say the same to Lambda."""
OUTPUT = ROOT / "build" / "bundles"
IN_A_REQUEST = 51_200
"""Bytes of a template that CloudFormation takes without a bucket."""

BUNDLE, RELEASE = "Bundle", "Release"
"""How the parameters end that name a function's bundle, and what its version pins (`ops.deployment.releases`)."""
OF_THE_BUILD = frozenset(f"{name.capitalize()}{ending}" for name in FUNCTIONS for ending in (BUNDLE, RELEASE))
"""Parameters whose values follow from what is built."""
FUNCTION_PARAMETERS = OF_THE_BUILD | {"Entities", "PythonRuntime", "Architecture"}


def function_bundles(s3: Any, bucket: str, contracts: Contracts, upload: bool = True) -> dict[str, str]:
    """Build the functions' bundles, upload those that are not there; returns the parameters that name them.

    Raises `DeploymentError`.
    """
    try:
        bundles = build_bundles(OUTPUT, target=TARGET, contracts=contracts)
    except BundleError as error:
        raise DeploymentError(str(error)) from error
    for bundle in bundles.values():
        if upload and not _there(s3, bucket, bundle.key):
            s3.put_object(Bucket=bucket, Key=bundle.key, Body=Path(bundle.path).read_bytes())
    return {**function_settings(contracts), **{bundle.parameter: bundle.key for bundle in bundles.values()}}


def function_settings(contracts: Contracts) -> dict[str, str]:
    """The parameters of functions that need no bundle to be known."""
    return {
        "Entities": ",".join(c.name for c in contracts.of_origin("stream")),
        "PythonRuntime": f"python{TARGET.python}",
        "Architecture": TARGET.architecture,
    }


def template_argument(s3: Any, bucket: str | None, text: str, dry: bool = False) -> dict[str, str] | None:
    """A template as CloudFormation's requests take it; None for a large one as long as there is no bucket.

    A dry run has a folder of its own: who may only plan may not write what a deployment is made of.
    """
    body = text.encode("utf-8")
    if len(body) <= IN_A_REQUEST:
        return {"TemplateBody": text}
    if bucket is None:
        return None
    key = f"{'plans' if dry else 'templates'}/{hashlib.sha256(body).hexdigest()[:32]}"
    s3.put_object(Bucket=bucket, Key=key, Body=body)  # each time: templates expire
    return {"TemplateURL": f"{s3.meta.endpoint_url}/{bucket}/{key}"}


def _there(s3: Any, bucket: str, key: str) -> bool:
    try:
        s3.head_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if error.response["Error"]["Code"] in ("404", "NoSuchKey", "NotFound"):
            return False
        raise
    return True
