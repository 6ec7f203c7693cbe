"""The commands of operators: `gavel-ops`, which needs AWS credentials alone, and `gavel ops` beside the laptop stack.

Each is in the module of `commands` that its name says; a new one is added here, where help shows it.
"""

from __future__ import annotations

import typer

from ops.commands import (
    access,
    archive,
    backfill,
    bi,
    dashboard,
    dead_letters,
    deploy,
    doctor,
    drift,
    erasure,
    follow,
    governance,
    models,
    parity,
    planning,
    recovery,
    redrive,
    serving,
    smoke,
    tenants,
    work,
)

app = typer.Typer(
    name="gavel-ops",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    add_completion=False,
    help="""Operate an environment of Gavel: find what is misconfigured, put back what failed, count dead letters,
manage tenants.

It works on the AWS account of your credentials (`AWS_PROFILE`, SSO, a role), in the environment that `--environment` or
`GAVEL_ENV` names. After `eval "$(gavel env)"` both lead to the laptop stack.
""",
)

for command in (
    deploy.deploy,
    redrive.redrive,
    backfill.backfill,
    doctor.doctor,
    drift.drift,
    follow.follow,
    parity.parity,
    serving.serve,
    smoke.smoke,
    erasure.erase,
    work.replay,
    work.rebuild,
    work.requeue,
    work.roll_back,
):
    app.command()(command)

for name, group in {
    "tenant": tenants.tenants,
    "dead-letters": dead_letters.dead_letters,
    "erasure": erasure.erasure,
    "access": access.access,
    "archive": archive.questions,
    "bi": bi.bi,
    "dashboard": dashboard.dashboard,
    "governance": governance.governance,
    "models": models.models,
    "plan": planning.planning,
    "recover": recovery.recovery,
}.items():
    app.add_typer(group, name=name)
