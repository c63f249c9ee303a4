"""Holds every exchange between the client and the emulator against ``docs/contract/modelarts-openapi.yaml``.

What the contract says of each side: requests are strict (documented names, ranges and enumerations), answers are
tolerant (nothing is required, null and extra fields are allowed). Three things are exempt, each by name: answers that
an injected fault made, labels that the emulator itself served (they go back as they came, B10), and the requests of
tests that are marked ``wrong_requests``.
"""

from __future__ import annotations

import functools
import json
import re
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import yaml
from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from demo.environment import REPOSITORY
from tests.support.quick_schema import QuickSchemas, UnknownKeywordError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from airflow_provider_modelarts.emulator import Record

CONTRACT = REPOSITORY / "docs" / "contract" / "modelarts-openapi.yaml"
MOST_KEPT = 16_000_000
"""Bytes of answers whose labels may still have to be read."""
METHODS = ("get", "put", "post", "delete", "patch")

# Contract section 0: documents list few statuses per call, the error chapter adds these to every one of them; 413 and
# 414 are its limits of body and address.
GENERAL_ERRORS = frozenset({400, 401, 403, 404, 413, 414, 429, 500, 501, 502, 503, 504})


@functools.cache
def document() -> dict[str, Any]:
    """Return the contract, read once."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times faster, where libyaml is there
    loaded: dict[str, Any] = yaml.load(CONTRACT.read_text(encoding="utf-8"), Loader=loader)  # both are safe
    return loaded


@functools.cache
def _registry() -> Registry[Any]:
    resource = Resource.from_contents(document(), default_specification=DRAFT202012)
    registry: Registry[Any] = Registry().with_resource("urn:contract", resource)
    return registry


@functools.cache
def validator(pointer: str) -> Draft202012Validator:
    """Return the validator of the schema at the JSON pointer ``pointer`` of the contract."""
    return Draft202012Validator({"$ref": f"urn:contract#{pointer}"}, registry=_registry())


def at(pointer: str) -> Any:
    """Return what stands at a JSON pointer of the contract."""
    target: Any = document()
    for part in pointer.removeprefix("/").split("/"):
        target = target[unquote(part).replace("~1", "/").replace("~0", "~")]
    return target


@functools.cache
def _quick_schemas() -> QuickSchemas:
    return QuickSchemas(lambda reference: at(reference.removeprefix("#")))


@functools.cache
def is_valid(pointer: str) -> Callable[[Any], bool]:
    """Return what tells as :func:`validator` whether a value is valid, only sooner, and not why."""
    try:
        return _quick_schemas().judge(at(pointer))
    except UnknownKeywordError:
        return validator(pointer).is_valid  # type: ignore[no-any-return]


def _problems(pointer: str, value: Any, what: str) -> list[str]:
    return [] if is_valid(pointer)(value) else _explain(validator(pointer).iter_errors(value), what)


def _escaped(part: str) -> str:
    return part.replace("~", "~0").replace("/", "~1").replace("{", "%7B").replace("}", "%7D")


def resolve(node: Any) -> Any:
    """Follow the ``$ref`` of a contract node, if it has one."""
    while isinstance(node, dict) and "$ref" in node:
        node = at(node["$ref"].removeprefix("#"))
    return node


@dataclass(frozen=True)
class Operation:
    """One call of the contract."""

    method: str
    template: str
    node: Mapping[str, Any]
    query: Mapping[str, Mapping[str, Any]]
    """Its documented query parameters."""

    @property
    def pointer(self) -> str:
        """Where it stands in the contract."""
        return f"/paths/{_escaped(self.template)}/{self.method.lower()}"

    @property
    def needs_authentication(self) -> bool:
        """Whether a token or a signature must come along; IAM's token call takes none."""
        return self.template.startswith("/v2/")


@functools.cache
def operations() -> tuple[tuple[re.Pattern[str], Operation], ...]:
    """Return every call with the pattern of its path; literal segments come before placeholders (contract 5.3)."""
    found = []
    for template, item in document()["paths"].items():
        parts = ("[^/]+" if part.startswith("{") else re.escape(part) for part in template.split("/"))
        pattern = re.compile("/".join(parts))
        for method in METHODS:
            if method not in item:
                continue
            parameters = [resolve(one) for one in [*item.get("parameters", ()), *item[method].get("parameters", ())]]
            query = {one["name"]: one for one in parameters if one["in"] == "query"}
            found.append((pattern, Operation(method.upper(), template, item[method], query)))
    return tuple(sorted(found, key=lambda pair: pair[1].template.count("{")))


@functools.lru_cache(maxsize=4096)
def find_operation(method: str, path: str) -> Operation | None:
    """Return the call that ``method`` and ``path`` belong to, or None."""
    for pattern, operation in operations():
        if operation.method == method.upper() and pattern.fullmatch(path):
            return operation
    return None


def _refuse_constant(text: str) -> Any:
    raise ValueError(f"{text} is not JSON")


def _parse(body: bytes) -> Any:
    return json.loads(body, parse_constant=_refuse_constant)


def _parse_or_none(body: bytes) -> Any:
    try:
        return _parse(body)
    except ValueError:
        return None


def _explain(errors: Iterable[Any], what: str) -> list[str]:
    found = []
    for error in errors:
        where = "".join(f"[{step!r}]" for step in error.absolute_path)
        found.append(f"{what}{where}: {error.message[:300]}")
    return found


def _from_text(text: str, types: Any) -> Any:
    """Read a query value the way its schema means it: in a query everything is text."""
    wanted = {types} if isinstance(types, str) else set(types or ())
    if "boolean" in wanted and text in ("true", "false"):
        return text == "true"
    if "integer" in wanted and re.fullmatch(r"-?\d+", text):
        return int(text)
    if "number" in wanted and re.fullmatch(r"-?\d+(\.\d+)?", text):
        return float(text)
    return text


def _canonical(label: Any) -> str:
    return json.dumps(label, sort_keys=True)


@dataclass
class ContractCheck:
    """An observer for ``emulator.observers`` that collects what does not agree with the contract."""

    problems: list[str] = field(default_factory=list)
    exchanges: int = 0
    check_requests: bool = True
    """Off for a test that sends wrong requests on purpose."""
    check_answers: bool = True
    """Off for a test whose emulator serves on purpose what is not documented."""
    _answers: list[bytes] = field(default_factory=list)
    _answered: int = 0
    _served: set[int] = field(default_factory=set)
    _valid: set[int] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def forget(self) -> None:
        """Begin from nothing, as a test does that has an emulator of its own."""
        with self._lock:
            self.problems.clear()
            self._answers.clear()
            self._answered = 0
            self._served.clear()
            self._valid.clear()

    def __call__(self, record: Record) -> None:
        """Check one exchange; called from the emulator's threads."""
        found = self.request_problems(record) if self.check_requests else []
        if record.fault is None and self.check_answers:
            found += self.response_problems(record)
        with self._lock:
            self.exchanges += 1
            self.problems += [f"{record.method} {record.path} -> {record.status}: {problem}" for problem in found]

    def request_problems(self, record: Record) -> list[str]:
        """Return what is wrong with the request of ``record``."""
        operation = find_operation(record.method, record.path)
        if operation is None:
            return ["request: the contract has no such call"]
        return [
            *self._header_problems(record, operation),
            *self._query_problems(record, operation),
            *self._body_problems(record, operation),
        ]

    def response_problems(self, record: Record) -> list[str]:
        """Return what is wrong with the answer in ``record``."""
        operation = find_operation(record.method, record.path)
        if operation is None:
            return [] if record.status == 404 else [f"answer: status {record.status} to an unknown call"]
        status = str(record.status)
        documented = operation.node["responses"].get(status)
        if documented is None and record.status not in GENERAL_ERRORS:
            return [f"answer: status {status} is not documented"]
        if not record.response_headers.get("x-request-id"):
            return ["answer: no X-Request-Id"]
        if record.status == 204:
            # Quirk 28: published examples show these two bodies.
            return [] if record.response in (b"", b"{}", b'{"success":true}') else ["answer: a body with status 204"]
        if documented is not None and not {"$ref", "content"} & set(documented):
            return [] if record.response in (b"", b"{}") else ["answer: a body where none is documented"]
        self._remember(record)
        schema = self._response_schema(operation, status)
        seen = hash((schema, record.response))
        if seen in self._valid:  # the same page, read again
            return []
        try:
            answer = _parse(record.response)
        except ValueError as error:
            return [f"answer: not JSON: {error}"]
        problems = _problems(schema, answer, "answer")
        if not problems:
            self._valid.add(seen)
        return problems

    def _response_schema(self, operation: Operation, status: str) -> str:
        node = operation.node["responses"].get(status)
        if node is None:
            return "/components/schemas/ServiceError"
        if "$ref" in node:
            return f"{node['$ref'].removeprefix('#')}/content/application~1json/schema"
        return f"{operation.pointer}/responses/{status}/content/application~1json/schema"

    def _header_problems(self, record: Record, operation: Operation) -> list[str]:
        headers = record.headers
        found = []
        if operation.needs_authentication and "x-auth-token" not in headers and "authorization" not in headers:
            found.append("request: neither X-Auth-Token nor Authorization")
        if record.body and "json" not in headers.get("content-type", ""):
            found.append("request: a body that is not called application/json")
        if not record.body and "content-type" in headers:
            found.append("request: Content-Type without a body")
        if record.method == "GET" and (record.body or "content-length" in headers):
            found.append("request: GET carries neither body nor Content-Length")
        return found

    def _query_problems(self, record: Record, operation: Operation) -> list[str]:
        found = []
        for name, text in record.query.items():
            if name not in operation.query:
                found.append(f"request: no query parameter {name!r}")
                continue
            found += _query_value_problems(_canonical(operation.query[name]["schema"]), name, text)
        return found + [
            f"request: query parameter {name!r} is missing"
            for name, parameter in operation.query.items()
            if parameter.get("required") and name not in record.query
        ]

    def _body_problems(self, record: Record, operation: Operation) -> list[str]:
        node = operation.node.get("requestBody")
        if node is None:
            return ["request: this call takes no body"] if record.body.strip() not in (b"", b"{}") else []
        if not record.body:
            return ["request: the body is missing"] if node.get("required") else []
        try:
            body = _parse(record.body)
        except ValueError as error:
            return [f"request: not strict JSON: {error}"]
        schema = f"{operation.pointer}/requestBody/content/application~1json/schema"
        if is_valid(schema)(body):
            return []
        return _problems(schema, self._without_served_labels(body), "request: body")

    def _remember(self, record: Record) -> None:
        """Keep an answer with labels: which these are is read when it matters."""
        if record.method != "GET" or "-annotations/samples" not in record.path:
            return
        with self._lock:
            self._answers.append(record.response)
            self._answered += len(record.response)
            if self._answered > MOST_KEPT:
                self._read_labels()

    def _read_labels(self) -> None:
        for answer in map(_parse_or_none, self._answers):
            if not isinstance(answer, dict):
                continue
            for sample in answer.get("samples", [answer]):
                for label in (isinstance(sample, dict) and sample.get("labels")) or ():
                    self._served.add(hash(_canonical(label)))
        self._answers.clear()
        self._answered = 0

    def _without_served_labels(self, body: Any) -> Any:
        """Return ``body`` without the labels that the emulator served, which go back however odd they are (B10)."""
        if not isinstance(body, dict) or not isinstance(body.get("samples"), list):
            return body
        with self._lock:
            self._read_labels()
        samples = []
        for sample in body["samples"]:
            if isinstance(sample, dict) and isinstance(sample.get("labels"), list):
                own = [label for label in sample["labels"] if hash(_canonical(label)) not in self._served]
                samples.append({**sample, "labels": own})
            else:
                samples.append(sample)
        return {**body, "samples": samples}


@functools.lru_cache(maxsize=4096)
def _query_value_problems(schema: str, name: str, text: str) -> list[str]:
    """Return what is wrong with a value of a query; the same few come thousands of times."""
    value = _from_text(text, resolve(json.loads(schema)).get("type"))
    return _explain(_inline_validator(schema).iter_errors(value), f"request: query {name!r}")


@functools.cache
def _inline_validator(schema: str) -> Draft202012Validator:
    """Return the validator of a parameter's schema, whose references are meant within the contract."""
    absolute = schema.replace('"#/', '"urn:contract#/')
    return Draft202012Validator(json.loads(absolute), registry=_registry())
