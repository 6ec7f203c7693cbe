"""What runs with Superset's own Python: make its database, import the bundle twice, and query each chart.

The numbers of a chart come from the query that Superset makes of the imported chart, with the dashboard's filter.
"""

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

FOLDER = Path(sys.argv[1])
BUNDLE = FOLDER / "bundle.zip"


def superset(*arguments):
    command = [str(Path(sys.executable).with_name("superset")), *arguments]
    done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"superset {arguments[0]}: {done.stdout[-2000:]}{done.stderr[-4000:]}")


def as_text(value):
    return str(value)[:10]


def numbers(values):
    return [None if v is None or v != v else round(float(v), 9) for v in values]


def given(chart, user, mask):
    """What a chart gives: numbers by name or period."""
    from flask import g

    from superset.charts.schemas import ChartDataQueryContextSchema
    from superset.commands.chart.data.get_data_command import ChartDataCommand

    g.user = user
    context = json.loads(chart.query_context)
    context |= {"result_format": "json", "result_type": "full"}
    for query in context["queries"]:
        query["filters"] += mask["extraFormData"]["filters"]
    command = ChartDataCommand(ChartDataQueryContextSchema().load(context))
    command.validate()
    (answer,) = command.run()["queries"]
    if answer.get("error"):
        raise AssertionError(answer["error"])
    return answer["data"]


def main():
    superset("db", "upgrade")
    superset("fab", "create-admin", "--username", "admin", "--firstname", "a", "--lastname", "b", "--email",
             "admin@gavel.example", "--password", "admin")  # fmt: skip
    superset("init")
    superset("import-dashboards", "-p", str(BUNDLE), "-u", "admin")
    from superset.app import create_app

    app = create_app()
    with app.test_request_context():
        from superset import db, security_manager
        from superset.models.dashboard import Dashboard
        from superset.models.slice import Slice

        expected = json.loads((FOLDER / "expected.json").read_text())
        (dashboard,) = db.session.query(Dashboard).all()
        (chosen,) = json.loads(dashboard.json_metadata)["native_filter_configuration"]
        user = security_manager.find_user("admin")
        charts = {chart.slice_name: chart for chart in db.session.query(Slice).all()}
        assert {c.slice_name for c in dashboard.slices} == set(charts), "every chart is on the dashboard"
        problems = []
        for title, chart in charts.items():
            rows = given(chart, user, chosen["defaultDataMask"])
            if title not in expected:
                assert len(rows) == 1, title
                continue
            wanted, measures, dimension = expected[title]
            found = {period(row[dimension]): numbers(row[m] for m in measures) for row in rows}
            if found != wanted:
                problems.append(f"{title}: expected {wanted}, found {found}")
        if problems:
            sys.exit("\n".join(problems))
        import_again(user)
        assert db.session.query(Slice).count() == len(charts), "a second import makes nothing twice"


def period(value):
    """A name as it is, a moment as its day: Superset gives milliseconds."""
    if isinstance(value, (int, float)):
        return f"{datetime.fromtimestamp(value / 1000, UTC):%Y-%m-%d}"
    return as_text(value)


def import_again(user):
    """The import that changes what is there, which the API does."""
    from zipfile import ZipFile

    from flask import g

    from superset.commands.importers.v1.assets import ImportAssetsCommand
    from superset.commands.importers.v1.utils import get_contents_from_bundle

    g.user = user
    with ZipFile(BUNDLE) as file:
        ImportAssetsCommand(get_contents_from_bundle(file)).run()


main()
