"""The staff dashboard in a real browser, against a running stack: signing in, finding, and what a party may not see."""

from __future__ import annotations

import gzip
import io
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest
from rich.console import Console

from contracts import figures, health
from local.dashboard import serving
from local.dashboard.build import BUILT, SOURCE
from local.deploy import USER
from local.screen import Screen
from reporting import render
from tests.support import browsers
from tests.support.laptop import Laptop
from tests.support.report_warehouse import NOW, OF_ALL, warehouse

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]

AT = "2026-03-01T10:00:00Z"
PASSWORD = "Only-a-Test-1"
TITLE = "مزهرية زجاجية نادرة " * 9


@dataclass(frozen=True)
class Front:
    """The dashboard of a running stack, and a browser."""

    address: str
    browser: Browser
    password: str

    def page(self, width: int = 1280) -> tuple[Page, list[str]]:
        """A page of a new person's browser, and what goes wrong in it."""
        page = self.browser.new_context(
            viewport={"width": width, "height": 900}, locale="en-GB", timezone_id="Europe/Berlin"
        ).new_page()
        trouble: list[str] = []
        page.on("pageerror", lambda error: trouble.append(str(error)))
        page.on("console", lambda said: trouble.append(said.text) if "Content Security Policy" in said.text else None)
        return page, trouble

    def open(self, path: str, user: str = USER, width: int = 1280) -> tuple[Page, list[str]]:
        """A page at this path, signed in."""
        page, trouble = self.page(width)
        page.goto(self.address + path)
        browsers.sign_in(page, user, self.password if user == USER else PASSWORD)
        return page, trouble


@pytest.fixture(scope="module")
def front(laptop: Laptop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    with browsers.browser() as browser:
        said = io.StringIO()
        stack = serving.start(laptop.home, laptop.stack, laptop.contracts, Screen(Console(file=said)))
        assert stack.dashboard_url, said.getvalue()
        fill(laptop)
        folder = tmp_path_factory.mktemp("figures")
        rendered = render(warehouse(folder, OF_ALL), folder / "report.html", NOW)
        content = rendered.path.with_suffix(".json").read_bytes()
        laptop.aws.client("s3").put_object(Bucket=laptop.stack.outputs["DataBucketName"], Key=figures.KEY, Body=content)
        yield Front(stack.dashboard_url, browser, stack.password)


def fill(laptop: Laptop) -> None:
    """Two orders, of which the party d-ann is the buyer of the first, and a user who is that party."""
    api, cognito = laptop.client, laptop.aws.client("cognito-idp")
    for party, name in (("d-ann", "Ann"), ("d-bob", "Bob"), ("d-cem", "Cem")):
        api.replace("customers", party, {"name": name, "status": "active", "registered_at": AT})
    lot: dict[str, Any] = {"seller_id": "d-bob", "title": TITLE, "category": "glass", "currency": "EUR"}
    api.replace("lots", "d-lot", {**lot, "status": "sold", "listed_at": AT})
    order: dict[str, Any] = {"seller_id": "d-bob", "currency": "EUR", "status": "paid", "placed_at": AT}
    amounts = {"hammer_price": "1234567.10", "buyers_premium": "0.20", "sellers_commission": "61728.36"}
    api.replace("orders", "d-1", {**order, "buyer_id": "d-ann", "lot_id": "d-lot", **amounts})
    api.replace("orders", "d-2", {**order, "buyer_id": "d-cem", **amounts})
    invoice: dict[str, Any] = {"currency": "EUR", "status": "issued", "issued_at": AT}
    for invoice_id, order_id, party, role, total in (
        ("d-i1", "d-1", "d-ann", "buyer", "1234600.00"),
        ("d-i2", "d-1", "d-bob", "seller", "61728.36"),
        ("d-i3", "d-2", "d-cem", "buyer", "5.00"),
    ):
        body = {"order_id": order_id, "party_id": party, "role": role, "total_amount": total}
        api.replace("invoices", invoice_id, {**invoice, **body})
    paid: dict[str, Any] = {
        "kind": "capture",
        "method": "card",
        "currency": "EUR",
        "status": "settled",
        "created_at": AT,
    }
    api.replace("payments", "d-p1", {**paid, "order_id": "d-1", "invoice_id": "d-i1", "amount": "1234000.10"})
    pool = laptop.stack.outputs["UserPoolId"]
    for user, attributes, group in (
        ("ann@example.com", [{"Name": "custom:party_id", "Value": "d-ann"}], "party"),
        ("eve@example.com", [], "auditor"),
        ("nobody@example.com", [], None),
    ):
        cognito.admin_create_user(
            UserPoolId=pool, Username=user, MessageAction="SUPPRESS",
            UserAttributes=[{"Name": "email", "Value": user}, *attributes],
        )  # fmt: skip
        cognito.admin_set_user_password(UserPoolId=pool, Username=user, Password=PASSWORD, Permanent=True)
        if group:
            cognito.admin_add_user_to_group(UserPoolId=pool, Username=user, GroupName=group)


def test_staff_finds_an_order_by_an_invoice_and_its_amounts_add_up(front: Front) -> None:
    page, trouble = front.open("/")
    field = page.get_by_role("searchbox")
    assert field.evaluate("field => field === document.activeElement")
    page.keyboard.type("d-i1")
    page.keyboard.press("Enter")
    page.get_by_role("link", name="d-i1").press("Enter")
    page.get_by_role("heading", name="d-1", exact=True).wait_for()
    page.get_by_text("Billed to the buyer").wait_for()
    amounts = (
        page.get_by_role("region").or_(page.locator("section")).filter(has_text="The buyer owes").first.inner_text()
    )
    # 1,234,567.10 + 0.20; billed less paid.
    for amount in ("€1,234,567.30", "€1,172,838.74", "€1,234,600.00", "€599.90"):
        assert amount in amounts
    assert "1 Mar 2026, 11:00 CET" in page.locator("main").inner_text(), "the person's zone, named"
    page.get_by_role("link", name="d-ann").first.click()
    page.get_by_role("link", name="d-1").wait_for()
    assert trouble == []


def test_a_token_is_nowhere_but_in_memory(front: Front) -> None:
    page, _ = front.page()
    addresses: list[str] = []
    page.on("framenavigated", lambda frame: addresses.append(frame.url))
    page.goto(front.address + "/orders/d-1?kept=1")
    browsers.sign_in(page, USER, front.password)
    page.get_by_text("Billed to the buyer").wait_for()
    kept = page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie])")
    assert kept == '[{},{},""]'
    assert not any("eyJ" in address for address in addresses)
    assert page.url == front.address + "/orders/d-1?kept=1", "back where it began, without the code"
    page.reload()
    page.get_by_role("button", name="Sign in").wait_for()


def test_a_party_sees_its_own_and_nothing_of_others_also_by_address(front: Front) -> None:
    page, _ = front.open("/orders/d-1", "ann@example.com")
    page.get_by_text("Billed to the buyer").wait_for()
    assert "d-i2" not in page.content(), "the other side's invoice"
    assert page.get_by_role("link", name="Find", exact=True).count() == 0
    page.get_by_role("link", name="My orders").click()
    page.get_by_role("link", name="d-1").wait_for()
    for path, says in (
        ("/orders/d-2", "There is no such thing"),
        ("/parties/d-cem", "You may not see this"),
        ("/lots/d-lot", "You may not see this"),
        ("/figures", "You may not see this"),
        ("/health", "You may not see this"),
        ("/archive", "You may not see this"),
        ("/?id=d-i3", "Nothing has the id d-i3"),
        ("/?id=d-cem", "Nothing has the id d-cem"),
    ):
        other, _ = front.open(path, "ann@example.com")
        other.get_by_text(says).wait_for()
        assert not re.search("Cem|€", other.locator("main").inner_text())


def test_an_auditor_finds_the_archive_and_nothing_else(front: Front) -> None:
    page, trouble = front.page()
    page.route("**/api/archive/**", Archive())
    page.goto(front.address + "/")
    browsers.sign_in(page, "eve@example.com", PASSWORD)
    page.get_by_role("link", name="An order as it was").click()
    page.get_by_label("Order id").fill("007")
    page.get_by_label("At", exact=True).fill("noon")
    assert page.get_by_role("navigation", name="Pages").get_by_role("link").all_inner_texts() == ["Archive"]
    page.get_by_role("button", name="Put the question").click()
    page.get_by_role("region", name="Order", exact=True).get_by_text("d-ann").wait_for()
    assert page.get_by_role("region", name="Order", exact=True).get_by_role("link").count() == 0
    assert trouble == []
    for path in ("/orders/d-2", "/parties/d-cem", "/lots/d-lot", "/figures", "/health"):
        other, _ = front.open(path, "eve@example.com")
        other.get_by_text("You may not see this").wait_for()
        assert not re.search("Cem|€", other.locator("main").inner_text())


def test_whoever_is_in_no_group_sees_nothing(front: Front) -> None:
    page, _ = front.open("/orders/d-1", "nobody@example.com")
    page.get_by_text("You may not see this").wait_for()
    assert "€" not in page.locator("main").inner_text()


def test_a_token_that_expires_ends_the_session_and_takes_what_was_shown(front: Front) -> None:
    page, _ = front.page()
    page.clock.install()
    page.goto(front.address + "/orders/d-1")
    browsers.sign_in(page, USER, front.password)
    page.get_by_text("Billed to the buyer").wait_for()
    page.clock.fast_forward("01:00:01")
    page.get_by_role("heading", name="Your session has ended").wait_for()
    assert "€" not in page.content(), "nothing that was shown is left"


def test_the_session_of_who_works_goes_on_and_nothing_that_is_shown_is_lost(front: Front) -> None:
    """The emulator renews tokens without groups and with another time of signing in, which the protocol forbids; so its
    first answer serves again, as Cognito's would: the life of a token counts from when it comes."""
    page, trouble = front.page()
    page.clock.install()
    page.goto(front.address + "/orders/d-1")
    with page.expect_response("**/oauth2/token") as first:
        browsers.sign_in(page, USER, front.password)
    page.get_by_text("Billed to the buyer").wait_for()
    tokens = first.value.json()
    refresh = tokens.pop("refresh_token")
    page.route("**/oauth2/token", lambda route: route.fulfill(json=tokens))
    page.keyboard.press("Shift")
    with page.expect_response("**/oauth2/token") as renewed:
        page.clock.fast_forward("00:55:00")
    assert parse_qs(renewed.value.request.post_data or "")["refresh_token"] == [refresh]
    page.clock.fast_forward("00:30:00")  # more than the first token had
    page.get_by_text("Billed to the buyer").wait_for()
    with page.expect_response("**/api/orders/d-2*") as answer:
        page.get_by_role("link", name="Find", exact=True).click()
        page.get_by_role("searchbox").fill("d-2")
        page.keyboard.press("Enter")
    assert answer.value.status == 200
    assert page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie])") == '[{},{},""]'
    assert trouble == []


def test_a_token_that_the_api_refuses_ends_the_session_and_signing_in_goes_on_there(front: Front) -> None:
    page, _ = front.open("/")
    page.route("**/api/**", lambda route: route.fulfill(status=401, json={"message": "Unauthorized"}))
    page.get_by_role("searchbox").fill("d-1")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Your session has ended").wait_for()
    page.unroute("**/api/**")
    browsers.sign_in(page, USER, front.password)
    page.get_by_role("link", name="d-1").first.wait_for()
    assert page.url.endswith("/?id=d-1")


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (lambda route: route.abort(), "The service cannot be reached"),
        (lambda route: route.fulfill(status=500, json={"detail": "no", "instance": "urn:x"}), "Something went wrong"),
    ],
)
def test_what_fails_says_so_and_can_be_tried_again(front: Front, answer: Callable[[Any], None], says: str) -> None:
    page, _ = front.page()
    page.route("**/api/**", answer)
    page.goto(front.address + "/orders/d-1")
    browsers.sign_in(page, USER, front.password)
    page.get_by_text(says).wait_for()
    page.unroute("**/api/**")
    page.get_by_role("button", name="Try again").click()
    page.get_by_text("Billed to the buyer").wait_for()


def test_a_page_whose_code_did_not_come_says_so_and_can_be_tried_again(front: Front) -> None:
    page, _ = front.page()
    page.route("**/assets/order-*.js", lambda route: route.abort())
    page.goto(front.address + "/orders/d-1")
    browsers.sign_in(page, USER, front.password)
    page.get_by_text("The service cannot be reached").wait_for()
    page.unroute("**/assets/order-*.js")
    page.get_by_role("button", name="Try again").click()
    page.get_by_text("Billed to the buyer").wait_for()


def test_what_was_not_opened_yet_opens_without_a_connection_to_its_code(front: Front) -> None:
    page, trouble = front.open("/")
    page.get_by_role("heading", name="Written last, by anybody").wait_for()
    page.wait_for_load_state("networkidle")
    page.route("**/assets/*", lambda route: route.abort())
    page.get_by_role("link", name="Health").click()
    page.get_by_role("heading", name="Health", exact=True).wait_for()
    assert trouble == []


def test_a_slow_answer_is_announced_while_it_is_awaited(front: Front) -> None:
    page, _ = front.page()
    waiting: list[Any] = []
    page.route("**/api/**", lambda route: waiting.append(route))
    page.goto(front.address + "/orders/d-1")
    browsers.sign_in(page, USER, front.password)
    page.get_by_role("status").filter(has_text="Loading order d-1").wait_for()
    for route in waiting:
        route.continue_()
    page.get_by_text("Billed to the buyer").wait_for()


def test_health_says_what_waits_what_is_late_and_what_could_not_be_seen(front: Front, laptop: Laptop) -> None:
    alert = {"kind": "dead-letters", "what": "3 dead letter(s) wait: inbound", "why": "nobody took them",
        "severity": "critical", "since": AT, "reported": True}  # fmt: skip
    found: health.Health = {
        "version": health.VERSION,
        "looked_at": "2026-03-01T10:00:00Z",
        "alerts": [alert, {**alert, "kind": "marts-are-late", "what": "Marts are late", "reported": False}],  # type: ignore[list-item]
        "more": 2,
        "waiting": {"dead-letters": 3, "firehose-errors": None, "relay-failures": 0},
        "budgets": [{"name": "orders", "judged": True, "late_seconds": 7200, "allowed_seconds": 3600}],
        "comparisons": [{"name": "orders: parity", "outcome": "different", "text": "2 keys differ.", "at": AT}],
    }
    laptop.aws.client("s3").put_object(
        Bucket=laptop.stack.outputs["DataBucketName"], Key=health.KEY, Body=json.dumps(found).encode()
    )
    page, trouble = front.open("/health")
    page.get_by_role("cell", name="3 dead letter(s) wait: inbound").wait_for(timeout=60_000)
    text = " ".join(page.locator("main").inner_text().split())
    for said in (
        "last looked at", "(follows from another)", "And 2 more.", "Dead letters 3", "deliver not known",
        "hand over none", "2 keys differ.", "200%",
    ):  # fmt: skip
        assert said in text, said
    assert violations(page) == []
    assert trouble == []


def test_a_party_has_what_the_reports_say_beside_its_orders(front: Front) -> None:
    page, _ = front.page()
    row = {"currency": "EUR", "party_group": "large", "first_sale_at": AT, "last_sale_at": AT, "sales": 7,
        "net_sales": "1200.50", "recent_net_sales": "100.00", "open_invoices": 1, "open_amount": "9.00",
        "overdue_amount": "0.00"}  # fmt: skip
    summary = {"party_id": "d-ann", "data_time": AT, "as_buyer": [row], "as_seller": []}
    page.route("**/api/parties/d-ann/summary", lambda route: route.fulfill(json=summary))
    page.goto(front.address + "/parties/d-ann")
    browsers.sign_in(page, "ann@example.com", PASSWORD)
    page.get_by_role("cell", name="€1,200.50").wait_for()
    assert "No sale and no open invoice as seller." in page.locator("main").inner_text()
    page.get_by_role("link", name="d-1").wait_for()
    other, _ = front.page()  # the answer of a stack without summaries: another test of this one may have written some
    other.route("**/api/parties/d-cem/summary", lambda route: route.fulfill(status=404, json={"status": 404}))
    other.goto(front.address + "/parties/d-cem")
    browsers.sign_in(other, USER, front.password)
    other.get_by_text("No summaries of parties have been written yet.").wait_for()
    other.get_by_role("link", name="d-2").wait_for()


def violations(page: Page) -> list[str]:
    """What axe finds wrong with a page. It runs beside the page's own scripts, which the policy still binds."""
    page.evaluate((SOURCE / "node_modules" / "axe-core" / "axe.min.js").read_text())
    found = page.evaluate("axe.run().then(done => done.violations)")
    return [f"{v['id']}: {node['html'][:160]}" for v in found for node in v["nodes"]]


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize(
    "path",
    [
        *("/", "/?id=d-1", "/?list=lots&status=sold", "/orders/d-1", "/parties/d-bob?role=seller", "/lots/d-lot"),
        *("/figures", "/health", "/archive"),
    ],
)
def test_pages_fit_and_no_script_fails(front: Front, width: int, path: str) -> None:
    page, trouble = front.open(path, width=width)
    page.wait_for_load_state("networkidle")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator("h1").count() == 1
    assert trouble == []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        assert violations(page) == [], scheme


def test_figures_are_those_of_the_report_with_charts_and_all_values(front: Front) -> None:
    page, trouble = front.open("/figures")
    page.get_by_role("heading", name="What sells").first.wait_for()
    assert page.get_by_role("img").count() > 10
    panel = page.get_by_role("article", name="What sells").first
    assert "75%" in panel.inner_text()
    assert panel.locator("svg rect").count() > 1
    panel.get_by_text("All values").press("Enter")
    panel.get_by_role("columnheader").first.wait_for()
    assert trouble == []


def test_a_correction_shows_what_another_person_changed_and_overwrites_nothing(front: Front, laptop: Laptop) -> None:
    page, _ = front.open("/orders/d-2")
    page.get_by_role("button", name="Correct the order").click()
    page.get_by_label("Status").select_option("shipped")
    laptop.client.patch("orders", "d-2", {"status": "cancelled", "hammer_price": "7.00"})
    page.get_by_role("button", name="Write the correction").click()
    conflict = page.get_by_role("alert").filter(has_text="Somebody else has changed this order")
    conflict.wait_for()
    assert "cancelled" in conflict.inner_text()
    assert laptop.client.get("orders", "d-2")["order"]["status"] == "cancelled"
    page.get_by_role("button", name="Go on over what is there now").click()
    page.get_by_role("button", name="Write the correction").click()
    page.get_by_text("The correction is written.").wait_for()
    order = laptop.client.get("orders", "d-2")["order"]
    assert (order["status"], order["hammer_price"]) == ("shipped", "7.00"), "mine, and all else as the other wrote it"


def test_a_change_by_anybody_is_seen_within_five_seconds_and_nothing_is_read_while_paused(
    front: Front, laptop: Laptop
) -> None:
    page, trouble = front.page()
    page.clock.install()
    page.goto(front.address + "/")
    browsers.sign_in(page, USER, front.password)
    page.get_by_role("region", name="Written last").get_by_role("link", name="d-1", exact=True).wait_for()
    order = {**laptop.client.get("orders", "d-1")["order"], "status": "placed"}
    keep = ("buyer_id", "seller_id", "currency", "status", "placed_at", "hammer_price")
    laptop.client.replace("orders", "d-new", {name: order[name] for name in keep})
    page.get_by_role("link", name="d-new").wait_for(timeout=5_000)
    page.get_by_role("button", name="Pause").click()
    requested: list[str] = []
    page.on("request", lambda request: requested.append(request.url))
    laptop.client.patch("orders", "d-new", {"status": "paid"})
    page.clock.run_for(60_000)
    assert requested == []
    page.get_by_role("button", name="Go on").click()
    page.get_by_role("row").filter(has_text="d-new").get_by_text("paid").wait_for(timeout=5_000)
    assert trouble == []


def test_lists_by_status_and_by_name_lead_to_what_they_list(front: Front) -> None:
    page, _ = front.open("/")
    page.get_by_label("List", exact=True).select_option("lots")
    page.get_by_label("Or title begins with").fill("مزهرية")
    page.get_by_role("button", name="List").click()
    page.get_by_role("link", name="d-lot").wait_for()
    page.get_by_label("Or title begins with").fill("")
    page.get_by_label("Status", exact=True).select_option("sold")
    page.get_by_role("button", name="List").click()
    page.get_by_role("heading", name="Lots that are sold").wait_for()
    page.get_by_role("link", name="d-lot").click()
    page.get_by_role("heading", name="d-lot", exact=True).wait_for()


def test_an_order_says_who_wrote_what_last(front: Front) -> None:
    page, _ = front.open("/orders/d-1")
    page.get_by_role("region", name="Who wrote order d-1").get_by_text("user:").first.wait_for()


class Archive:
    """The archive in the API's place: what was put, and an answer of two pages that is there at the second look."""

    def __init__(self) -> None:
        self.put: list[Any] = []
        self.looks = 0

    def __call__(self, route: Any) -> None:
        address, query = urlsplit(route.request.url).path, urlsplit(route.request.url).query
        if route.request.method == "POST":
            self.put.append((address.rpartition("/")[2], route.request.post_data_json))
            route.fulfill(status=202, json={"id": "a-1", "status": "waiting"})
        elif address.endswith("/questions"):
            route.fulfill(json={"questions": {"order_as_of": AS_OF, "orders_placed": PLACED}})
        else:
            self.looks += 1
            number = int(query.removeprefix("page="))
            route.fulfill(json=answer(number) if self.looks > 1 else {"id": "a-1", "status": "waiting"})


AS_OF: dict[str, Any] = {
    "title": "An order as it was",
    "text": "What did {order_id} say at {at}?",
    "roles": ["staff"],
    "parameters": {"order_id": "the order", "at": "the moment"},
}
PLACED = {**AS_OF, "title": "Orders placed", "parameters": dict.fromkeys(("currency", "from", "until"), "what it is")}


def answer(number: int) -> dict[str, Any]:
    """One page of it."""
    order = {"order_id": "d-1", "buyer_id": "d-ann", "note": "•••", "hammer_price": "10.00"}
    return {
        "id": "a-1", "status": "answered", "question": "What did 007 say at noon?", "put_at": AT, "true_for": AT,
        "pages": 2, "page_number": number, "page": "https://bucket.example.com/page.html?signed",
        "sections": [{"heading": "Order", "rows": 1, "more": False}, {"heading": "Lines", "rows": 2, "more": True}],
        "rows": [{"section": 0, "row": order}] if number == 1 else 2 * [{"section": 1, "row": {"lot_id": "d-lot"}}],
    }  # fmt: skip


def test_a_question_to_the_archive_is_awaited_and_its_answer_can_be_come_back_to(front: Front) -> None:
    page, trouble = front.page()
    archive = Archive()
    page.route("**/api/archive/**", archive)
    page.clock.install()
    page.goto(front.address + "/archive?question=order_as_of&order_id=007")
    browsers.sign_in(page, USER, front.password)
    assert page.get_by_label("Order id").input_value() == "007"
    page.get_by_label("At", exact=True).fill("noon")
    assert archive.put == [], "an address alone puts nothing"
    page.get_by_label("At", exact=True).press("Enter")
    page.get_by_role("status").filter(has_text="Waiting for the pipeline").wait_for()
    assert archive.put == [("order_as_of", {"order_id": "007", "at": "noon"})]
    page.clock.run_for(3_000)
    page.get_by_role("status").filter(has_text="The answer is there: 3 rows").wait_for()
    page.get_by_role("region", name="Order", exact=True).get_by_role("link", name="d-ann").wait_for()
    page.get_by_text("Rows are left out").wait_for()
    page.get_by_role("button", name="Show more").click()
    lots = page.get_by_role("region", name="Lines").get_by_role("link", name="d-lot")
    lots.first.wait_for()
    assert lots.count() == 2
    printed = page.get_by_role("link", name="Page to print or keep")
    assert (printed.get_attribute("target"), printed.get_attribute("rel")) == ("_blank", "noopener noreferrer")
    assert violations(page) == []
    page.get_by_role("link", name="d-ann").click()
    page.get_by_role("heading", name="d-ann", exact=True).wait_for()
    page.go_back()
    page.get_by_text("What did 007 say at noon?").wait_for()
    assert (len(archive.put), trouble) == (1, [])


@pytest.mark.parametrize(
    ("path", "status", "body", "says"),
    [
        ("answers/a-1", 200, {"id": "a-1", "status": "refused", "problem": "at: no moment"}, "at: no moment"),
        ("answers/a-1", 404, {"detail": "no"}, "It is older than a day"),
        ("questions/order_as_of", 429, {"type": "urn:gavel:problem:too-many-questions"}, "Too many of your questions"),
    ],
)
def test_a_question_without_an_answer_says_what_to_do(
    front: Front, path: str, status: int, body: dict[str, Any], says: str
) -> None:
    page, _ = front.page()
    page.route("**/api/archive/**", Archive())
    page.route(f"**/api/archive/{path}*", lambda route: route.fulfill(status=status, json=body))
    page.goto(front.address + "/archive?question=order_as_of&order_id=007&at=noon")
    browsers.sign_in(page, USER, front.password)
    page.get_by_role("button", name="Put the question").click()
    page.get_by_role("alert").filter(has_text=says).wait_for()


def test_a_bar_and_its_period_lead_to_the_orders_that_were_placed_in_it(front: Front) -> None:
    page, trouble = front.page()
    archive = Archive()
    page.route("**/api/archive/**", archive)
    page.goto(front.address + "/figures?currency=EUR")
    browsers.sign_in(page, USER, front.password)
    panel = page.get_by_role("article", name="Quarters against the year before")
    panel.get_by_text("All values").press("Enter")
    link = panel.get_by_role("link").last
    quarter = link.inner_text().partition(":")[0].strip()
    year, month = int(quarter[-4:]), 3 * int(quarter[1]) - 2
    until = (year + 1, 1) if month == 10 else (year, month + 3)
    bars = panel.locator("rect.leads")
    assert 0 < bars.count() < panel.locator("rect.fill").count(), "none of the year before"
    for follow in (lambda: bars.last.click(), lambda: link.press("Enter")):
        follow()
        page.get_by_role("heading", name="Orders placed").wait_for()
        fields = [page.get_by_label(name, exact=True).input_value() for name in ("Currency", "From", "Until")]
        assert fields == ["EUR", f"{year}-{month:02}-01T00:00:00Z", f"{until[0]}-{until[1]:02}-01T00:00:00Z"]
        page.go_back()
        panel.get_by_text("All values").press("Enter")
    assert (archive.put, trouble) == ([], [])


def test_ten_thousand_rows_scroll_and_are_all_in_the_file(front: Front) -> None:
    page, _ = front.page()
    item = {"status": "paid", "currency": "EUR", "hammer_price": "-5.00", "buyer_id": "=1+1", "seller_id": "ب"}
    row = {"entity": "orders", "version": 1_795_222_923_456_789, "by": None, "deleted": False, "item": item}
    rows = [{**row, "key": f"o-{number:05}"} for number in range(10_000)]
    page.route("**/api/lists/**", lambda route: route.fulfill(json={"rows": rows, "cursor": None}))
    page.goto(front.address + "/?list=orders&status=paid")
    browsers.sign_in(page, USER, front.password)
    page.get_by_role("link", name="o-00000").wait_for()
    table = page.get_by_role("region", name="Orders that are paid").last
    assert table.get_by_role("row").count() < 100
    table.evaluate("box => { box.scrollTop = box.scrollHeight }")
    page.get_by_role("link", name="o-09999").wait_for()
    with page.expect_download() as download:
        page.get_by_role("button", name="Save as CSV").click()
    lines = download.value.path().read_text("utf-8-sig").splitlines()
    assert len(lines) == 10_001
    assert '"\'=1+1 · ب"' in lines[1]
    assert '"-5.00"' in lines[1]


def test_the_first_page_is_small(front: Front) -> None:
    files = [file for file in (BUILT / "site").rglob("*") if file.suffix in (".js", ".css", ".html")]
    sizes = {file.name: len(gzip.compress(file.read_bytes())) for file in files}
    assert sum(sizes.values()) <= 180_000
    first = sum(size for name, size in sizes.items() if name.startswith("index"))
    assert first <= 120_000, "what the page needs on which one signs in"
