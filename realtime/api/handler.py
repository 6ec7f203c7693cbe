"""Entry of the API function: HTTP in, HTTP out.

It reads a request of API Gateway's Lambda proxy integration, calls the service and writes the answer. Every request
leaves one log line, without keys and values; it says by pseudonyms what was written, and what staff and auditors were
shown.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping
from functools import cache, cached_property
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, unquote

import orjson

from contracts import figures, health
from contracts.compact import load_compact
from contracts.model import Contract
from realtime.api import idempotency, openapi, payloads, problems, requests, shown, writes
from realtime.api.caller import Caller
from realtime.api.entities import Entities
from realtime.api.idempotency import Receipts
from realtime.api.items import Values
from realtime.api.order_pages import MAX_BELONGINGS, MAX_PAGE, OrderPages
from realtime.api.problems import ApiError
from realtime.api.reads import Reads
from realtime.api.routes import DATA_TIME, Answer, Event, Parameter, Route, Shape
from realtime.api.settings import Settings
from realtime.api.store import Contended, Store, Unavailable
from realtime.api.summaries import Summaries
from realtime.api.summaries import routes as summary_routes
from realtime.api.trail import Trail
from realtime.api.writer import AlreadyDone, Together, Writer
from realtime.api.writes import Written
from realtime.api.written import noting
from realtime.archive.routes import routes as archive_routes
from realtime.archive.service import Archive
from realtime.clients import client
from realtime.documents import Documents
from realtime.environment import read_settings
from realtime.imports.queue import Outbox
from realtime.imports.routes import routes as import_routes
from realtime.imports.service import Imports
from realtime.imports.status import Statuses
from realtime.listing.lists import Lists
from realtime.listing.routes import routes as list_routes
from realtime.logs import log, where
from realtime.metrics import emit
from realtime.pipeline_status.figures import routes as figure_routes
from realtime.pipeline_status.pressure import stream_of
from realtime.pipeline_status.routes import routes as status_routes
from realtime.pipeline_status.status import Status
from realtime.quick_dynamodb import QuickDynamoDB

CONTRACTS = Path(__file__).parents[1] / "contracts.json"  # the bundle puts it there
DEFAULT_PAGE = 50


def handle(event: Event, context: object) -> dict[str, Any]:
    """The Lambda handler. It counts server errors by its version, so that those of a new one take its calls back."""
    answer = _api().answer(event)
    if answer["statusCode"] >= 500:
        settings = _settings()
        emit(settings.environment, {"ServerErrors": (1, "Count")}, version=settings.version)
    return answer


@cache
def _settings() -> Settings:
    return read_settings(Settings)


@cache
def _api() -> Api:
    settings = _settings()
    dynamodb = client("dynamodb", attempts=2, read_timeout=2, quick=QuickDynamoDB)
    contracts = load_compact(CONTRACTS.read_bytes())
    writer = Writer(Entities(contracts), Store(dynamodb, settings.table))
    requests_store = Store(dynamodb, settings.requests)
    outbox = Outbox(
        lambda: client("sqs", attempts=2, read_timeout=2),
        lambda: client("s3", attempts=2, read_timeout=3),
        settings.inbound_queue,
        settings.bucket,
    )
    imports = Imports(writer, Statuses(requests_store), outbox)
    documents = Documents(lambda: client("s3", attempts=2, read_timeout=3), settings.bucket)
    status = Status(
        settings.environment,
        list(contracts),
        {c.name: stream_of(settings.environment, c.name) for c in contracts.of_origin("stream")},
        lambda: client("cloudwatch", attempts=1, read_timeout=2),
        lambda: documents.read(health.KEY),
    )
    lists = list_routes(Lists(writer.entities, writer.store), writer.entities)
    summaries = summary_routes(Summaries(Store(dynamodb, settings.summaries)))
    archive = Archive(documents, requests_store)
    reports = (*status_routes(status), *figure_routes(lambda: documents.read(figures.KEY)), *summaries)
    more = (*import_routes(imports), *reports, *lists, *archive_routes(archive))
    is_laptop = settings.environment == "local"
    return Api(
        writer,
        Receipts(requests_store),
        more,
        data_time=status.data_time,
        decodes_paths=is_laptop,
        trail=Trail(requests_store),
    )


Result = TypeVar("Result")


class Api:
    """The routes to the items of `writer`'s table, and those of other modules (`more`).

    `data_time` gives, as text and at once, what the reports are true for, so that whoever shows a report beside an
    answer can tell how far apart they are. `decodes_paths` says that the gateway decodes paths before it hands them
    over: the laptop's does, a REST API on AWS does not. `trail` says in the log what was written and shown."""

    def __init__(
        self,
        writer: Writer,
        receipts: Receipts,
        more: Iterable[Route] = (),
        *,
        data_time: Callable[[], str | None] = lambda: None,
        decodes_paths: bool = False,
        trail: Trail | None = None,
    ) -> None:
        self._writer = writer
        self._entities = writer.entities
        self._reads = Reads(writer.entities, writer.store)
        self._pages = OrderPages(writer.entities, writer.store)
        self._decodes_paths = decodes_paths
        self._data_time = data_time
        self._receipts = receipts
        self._trail = trail
        self.routes: tuple[Route, ...] = (*self._own_routes(), *more)
        self._by_resource: dict[str, dict[str, Route]] = {}
        for route in self.routes:
            self._by_resource.setdefault(route.resource, {})[route.method] = route

    def _own_routes(self) -> tuple[Route, ...]:
        one, many = "/{entity}/{key+}", "/{entity}"
        key = (_IDEMPOTENCY_KEY,)
        both = (_IF_MATCH, *key)
        return (
            Route(
                "GET", "/openapi.json", "Read this description", self._describe,
                answers={200: {"type": "object", "required": ["openapi", "paths"]}},
                groups=("staff", "auditor", "party"),
            ),
            Route(
                "POST", many, "Create an item", self._create,
                answers={201: Shape.ITEM}, body=Shape.WHOLE, headers=key, errors=(409, 413, 422),
            ),
            Route(
                "GET", one, "Read an item as last written", self._read,
                answers={200: Shape.READ}, query=_belongings(self._entities.orders.name), errors=(404,),
                groups=("staff", "party"),
            ),
            Route(
                "PUT", one, "Create an item, or replace it whole", self._replace,
                answers={200: Shape.ITEM, 201: Shape.ITEM}, body=Shape.REST, headers=both, errors=(409, 413, 422),
            ),
            Route(
                "PATCH", one, "Change fields: absent ones keep their value, null clears", self._change,
                answers={200: Shape.ITEM}, body=Shape.PARTIAL, headers=both, errors=(404, 409, 413, 422),
            ),
            Route(
                "DELETE", one, "Delete an item", self._delete,
                answers={204: None}, headers=both, errors=(404, 409, 422),
            ),
            Route(
                "GET", "/parties/{party_id}/orders", "List a party's orders, newest first", self._party_orders,
                answers={200: Shape.PAGE}, query=_page(tuple(self._entities.roles)), groups=("staff", "party"),
            ),
        )  # fmt: skip

    def answer(self, event: Event) -> dict[str, Any]:
        """The proxy answer to a proxy event; never raises for what a client sent."""
        started, cpu = time.perf_counter(), time.thread_time()
        request_id = str((event.get("requestContext") or {}).get("requestId", ""))
        caller = _caller(event)
        with noting() as wrote, shown.showing() as seen:  # what fails in the middle may have written as well
            result, said = self._answered(event, request_id)
        is_of_desk = caller is not None and caller.group != "party"  # what a party reads is its own by rule
        if self._trail is not None:
            found = self._shown(event, seen) if is_of_desk and result["statusCode"] < 300 else {}
            said |= self._trail.said(wrote, found)
        log(
            "INFO",
            "request",
            request_id=request_id,
            method=event.get("httpMethod"),
            route=event.get("resource"),
            entity=self._logged_entity(event),
            by=caller.by if caller else None,
            group=caller.group if caller else None,
            status=result["statusCode"],
            ms=round((time.perf_counter() - started) * 1000, 2),
            cpu_ms=round((time.thread_time() - cpu) * 1000, 2),
            **said,
        )
        return result

    def _answered(self, event: Event, request_id: str) -> tuple[dict[str, Any], dict[str, object]]:
        """The proxy answer, and what the log says of it."""
        try:
            answer = self._dispatch(self._as_sent(event))
            body = b"" if answer.body is None else orjson.dumps(answer.body)
            return _proxy(answer.status, body.decode(), "application/json", answer.headers), _said(answer)
        except ApiError as problem:
            return _problem(problem, request_id), {}
        except (Unavailable, Contended) as error:
            log("WARN", "the table is unavailable", request_id=request_id, **where(error))
            return _problem(problems.unavailable(), request_id), {}
        except Exception as error:  # noqa: BLE001 (the edge: a client gets 500, the log gets the place)
            log("ERROR", "request failed", request_id=request_id, **where(error))
            return _problem(problems.failed(), request_id), {}

    def _as_sent(self, event: Event) -> Event:
        return requests.encoded_again(event, self._entities.key_parts) if self._decodes_paths else event

    def _dispatch(self, event: Event) -> Answer:
        methods = self._by_resource.get(str(event.get("resource")))
        if methods is None:
            raise problems.unknown_route()
        route = methods.get(str(event.get("httpMethod")))
        if route is None:
            raise problems.wrong_method(str(event.get("httpMethod")), list(methods))
        caller = Caller.of(event)
        if caller.group not in route.groups:
            raise problems.forbidden(
                f"expected a caller of the group {' or '.join(route.groups)}, found {caller.group}"
            )
        return route.serve(event, caller)

    def _describe(self, event: Event, caller: Caller) -> Answer:
        requests.only_parameters(event)
        return Answer(200, self._description)

    @cached_property
    def _description(self) -> orjson.Fragment:
        return orjson.Fragment(orjson.dumps(openapi.describe(self.routes, self._entities)))

    # ---- writes -----------------------------------------------------------------------------------------------------

    def _create(self, event: Event, caller: Caller) -> Answer:
        contract = self._entities.contract(requests.parameter(event, "entity"))
        requests.only_parameters(event)
        payload = requests.payload(event)

        def answer(written: Written) -> Answer:
            key = "/".join(quote(str(written.body[n]), safe="") for n in contract.primary_key)
            return _item_answer(201, written.body, {"Location": f"/{contract.name}/{key}"})

        return self._once(
            event, caller, answer, lambda together: writes.create(self._for(caller), contract, payload, together)
        )

    def _replace(self, event: Event, caller: Caller) -> Answer:
        contract, key = self._named(event)
        payload, version = requests.payload(event), requests.if_match(event)
        return self._once(
            event,
            caller,
            lambda written: _item_answer(201 if written.created else 200, written.body),
            lambda together: writes.replace(self._for(caller), contract, key, payload, version, together),
        )

    def _change(self, event: Event, caller: Caller) -> Answer:
        contract, key = self._named(event)
        payload, version = requests.payload(event), requests.if_match(event)
        return self._once(
            event,
            caller,
            lambda body: _item_answer(200, body),
            lambda together: writes.change(self._for(caller), contract, key, payload, version, together),
        )

    def _delete(self, event: Event, caller: Caller) -> Answer:
        contract, key = self._named(event)
        version = requests.if_match(event)
        return self._once(
            event,
            caller,
            lambda _: Answer(204, None),
            lambda together: writes.delete(self._for(caller), contract, key, version, together),
        )

    def _once(
        self,
        event: Event,
        caller: Caller,
        answer: Callable[[Result], Answer],
        write: Callable[[Together[Result] | None], Result],
    ) -> Answer:
        """Do a write and answer it; with an idempotency key, once, and with the first answer whenever it is sent again.

        The receipt's condition finds out whether the request came before. It can also be refused because of itself (the
        item exists now), so a problem counts only when there is no receipt.
        """
        request = idempotency.Request.of(event, caller)
        if request is None:
            return answer(write(None))
        try:
            return answer(write(lambda result: self._receipts.put(request, answer(result))))
        except (AlreadyDone, ApiError) as error:
            receipt = error.receipt if isinstance(error, AlreadyDone) else None
            if (first := self._receipts.find(request, receipt)) is not None:
                return first
            if isinstance(error, ApiError):
                raise
            raise Unavailable("the receipt of an earlier request was there, and is gone") from error

    # ---- reads ------------------------------------------------------------------------------------------------------

    def _read(self, event: Event, caller: Caller) -> Answer:
        contract, key = self._named(event, ("limit", "cursor"))
        if contract is not self._entities.orders:
            requests.only_parameters(event)
            return _item_answer(200, self._reads.read(contract, key, caller.party_id), self._true_for())
        query = requests.only_parameters(event, ("limit", "cursor"))
        limit = requests.count(query, "limit", MAX_BELONGINGS, MAX_BELONGINGS)
        body = self._pages.order(key, caller.party_id, limit=limit, cursor=query.get("cursor"))
        return Answer(200, body, self._true_for())

    def _party_orders(self, event: Event, caller: Caller) -> Answer:
        query = requests.only_parameters(event, ("role", "limit", "cursor"))
        limit = requests.count(query, "limit", DEFAULT_PAGE, MAX_PAGE)
        party_id = requests.parameter(event, "party_id")
        caller.check_party(party_id)
        page = self._pages.of_party(party_id, query.get("role"), limit, query.get("cursor"))
        return Answer(200, page, self._true_for())

    # ---- inside -----------------------------------------------------------------------------------------------------

    def _for(self, caller: Caller) -> Writer:
        return self._writer.acting_for(caller.by)

    def _true_for(self) -> Mapping[str, str]:
        moment = self._data_time()
        return {} if moment is None else {DATA_TIME: moment}

    def _named(self, event: Event, query: tuple[str, ...] = ()) -> tuple[Contract, Values]:
        """Contract and key of a request for one item."""
        contract = self._entities.contract(requests.parameter(event, "entity"))
        requests.only_parameters(event, query)
        parts = requests.raw_parameter(event, "key").split("/")
        return contract, payloads.path_key(contract, tuple(unquote(part) for part in parts))

    def _shown(self, event: Event, seen: list[tuple[Contract, Mapping[str, Any]]]) -> shown.Shown:
        """The items that an answer shows, with the party that it is about."""
        found, path = shown.keys_of(seen), self._as_sent(event).get("pathParameters") or {}
        if "party_id" in path:
            found[self._entities.party, shown.key_text([unquote(str(path["party_id"]))])] = None
        return found

    def _logged_entity(self, event: Event) -> str | None:
        """The entity's name if there is one of that name: what a client invented is not logged."""
        name = (event.get("pathParameters") or {}).get("entity")
        try:
            return self._entities.contract(str(name)).name
        except ApiError:
            return None


def _caller(event: Event) -> Caller | None:
    """Who calls, for the log; None for whom the gateway names nobody, or nobody who may call."""
    try:
        return Caller.of(event)
    except ApiError:
        return None


def _said(answer: Answer) -> dict[str, object]:
    """What the log says of an answer: the import that it names, and the request that got it first."""
    import_id = answer.body.get("import") if isinstance(answer.body, Mapping) else None
    known = {"import_id": import_id, "repeats": answer.repeats}
    return {name: value for name, value in known.items() if value}


# ---- what requests carry --------------------------------------------------------------------------------------------

_IF_MATCH = Parameter(
    "If-Match",
    "Do it only if the item has this version, bare or quoted; otherwise 409.",
    {"type": "string", "pattern": '^("[0-9]{1,18}"|[0-9]{1,18})$'},
)
_IDEMPOTENCY_KEY = Parameter(
    idempotency.HEADER,
    "Whoever sends a write again with the same key gets the first answer, and nothing is written twice.",
    {"type": "string", "pattern": "^[!-~]{1,255}$"},
)


def _page(roles: tuple[str, ...]) -> tuple[Parameter, ...]:
    size = {"type": "integer", "minimum": 1, "maximum": MAX_PAGE, "default": DEFAULT_PAGE}
    return (
        Parameter(
            "role", "As what the party is in the orders.", {"type": "string", "enum": list(roles)}, required=True
        ),
        Parameter("limit", "How many orders a page has at most.", size),
        Parameter("cursor", "Where the page begins: the cursor of the page before it.", {"type": "string"}),
    )


def _belongings(orders: str) -> tuple[Parameter, ...]:
    size = {"type": "integer", "minimum": 1, "maximum": MAX_BELONGINGS, "default": MAX_BELONGINGS}
    return (
        Parameter("limit", "How many items that belong to the order a page has at most.", size, entity=orders),
        Parameter(
            "cursor", "Where the page begins: the cursor of the one before it.", {"type": "string"}, entity=orders
        ),
    )


# ---- writing an answer ----------------------------------------------------------------------------------------------


def _item_answer(status: int, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Answer:
    return Answer(status, body, {"ETag": f'"{body["_version"]}"', **(headers or {})})


def _problem(problem: ApiError, request_id: str) -> dict[str, Any]:
    # json escapes what is no Unicode text, such as half of a surrogate pair in a name that a client invented.
    body = json.dumps(problem.document(request_id))
    return _proxy(problem.status, body, "application/problem+json", problem.headers)


def _proxy(status: int, body: str, content_type: str, headers: Mapping[str, str]) -> dict[str, Any]:
    if body:
        headers = {"Content-Type": content_type, **headers}
    return {"statusCode": status, "headers": headers, "body": body, "isBase64Encoded": False}
