"""Starts and stops the dashboard's server beside the stack, and lets its sign-in begin and end at its address."""

from __future__ import annotations

import http.client
import json
import sys
import time
from typing import Any
from urllib.parse import urlsplit

from contracts import Contracts
from local import emulator, ports, stack
from local.aws import Aws
from local.dashboard.build import NotBuilt, build
from local.deploy import USER
from local.home import REPOSITORY, Home, Stack
from local.processes import HANG_SECONDS, marked, spawn, stop
from local.screen import Screen

PORT = 8400
CLIENT = "gavel-local-dashboard"


class NotServed(RuntimeError):
    """The dashboard's server did not start; says why."""


def start(home: Home, current: Stack, contracts: Contracts, screen: Screen) -> Stack:
    """Build the dashboard if it is not, and serve it; what cannot be done is said in a sentence, and stops nothing."""
    try:
        with screen.step("Build and serve the staff dashboard") as step:
            folder = build(contracts, lambda text: step.update(text=text))
            stop(marked(f"{current.identity}.{stack.DASHBOARD}"), timeout=5)
            with ports.claimed(p for p in (urlsplit(current.dashboard_url or "").port, PORT) if p) as port:
                address = f"http://127.0.0.1:{port}"
                client = sign_in_client(current, address)
                current = home.update(dashboard_url=address)
                _spawn(home, current, str(folder), _settings(current, client))
                step.note = address
    except (NotBuilt, NotServed) as error:
        screen.say_all(f"The staff dashboard is not served: {error}")
        return home.update(dashboard_url=None)
    return current


def sign_in_client(current: Stack, address: str) -> str:
    """The pool's client for the dashboard: a public one (no secret) that may only use the code flow with PKCE, and only
    from its own address. Returns its id."""
    cognito = Aws(current.endpoint).client("cognito-idp")
    pool = current.outputs["UserPoolId"]
    wanted = {"ClientName": CLIENT, "UserPoolId": pool, **allowed(address)}
    pages = cognito.get_paginator("list_user_pool_clients").paginate(UserPoolId=pool)
    found = [c["ClientId"] for page in pages for c in page["UserPoolClients"] if c["ClientName"] == CLIENT]
    if found:
        cognito.update_user_pool_client(ClientId=found[0], **wanted)
        return str(found[0])
    return str(cognito.create_user_pool_client(GenerateSecret=False, **wanted)["UserPoolClient"]["ClientId"])


def allowed(address: str) -> dict[str, Any]:
    """What the client at an address may do, as Cognito takes it; deploy/dashboard.yaml says the same."""
    return {
        "CallbackURLs": [f"{address}/signed-in"],
        "LogoutURLs": [f"{address}/"],
        "AllowedOAuthFlows": ["code"],
        "AllowedOAuthScopes": ["openid"],
        "AllowedOAuthFlowsUserPoolClient": True,
        "SupportedIdentityProviders": ["COGNITO"],
        "ExplicitAuthFlows": ["ALLOW_REFRESH_TOKEN_AUTH"],
        "ReadAttributes": ["email", "email_verified", "custom:party_id"],
        "WriteAttributes": ["email"],
        "PreventUserExistenceErrors": "ENABLED",
        "EnableTokenRevocation": True,
    }


def _settings(current: Stack, client: str) -> dict[str, Any]:
    address = current.dashboard_url or ""
    return {
        "environment": "local",
        "api": f"{address}/api",
        "signIn": {
            "authority": address,
            "clientId": client,
            "authorize": f"{address}/oauth2/authorize",
            "token": f"{address}/oauth2/token",
            "signOut": f"{address}/logout",
        },
    }


def _spawn(home: Home, current: Stack, folder: str, settings: dict[str, Any]) -> None:
    """Start the server, and wait until it answers."""
    port = urlsplit(current.dashboard_url or "").port or 0
    log = home.logs / "dashboard.log"
    process = spawn(
        [sys.executable, "-m", "local.dashboard.server", "--port", str(port), "--folder", folder,
         "--api", current.outputs["ApiUrl"], "--emulator", current.endpoint, "--settings", json.dumps(settings)],
        stack.environment(home, current), log, f"{current.identity}.{stack.DASHBOARD}", REPOSITORY,
    )  # fmt: skip
    deadline = time.monotonic() + HANG_SECONDS
    while not _answers(port):
        if not process.alive or time.monotonic() > deadline:
            raise NotServed(f"its server does not answer; its log ({log}):\n{emulator.tail(log)}")
        time.sleep(0.05)


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", "/config.json")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def how_to_open(current: Stack) -> list[str]:
    """What a person needs to open it: its address, and as whom to sign in. Nothing where it is not served."""
    if current.dashboard_url is None:
        return []
    return [f"Staff dashboard  {current.dashboard_url}", f"  sign in as {USER} with {current.password}"]
