"""Faults on demand, counted when they fire."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_provider_modelarts.emulator.http.messages import JSON_HEADERS, Reply
from airflow_provider_modelarts.emulator.state.json_text import dump_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_modelarts.emulator.http.messages import Call

# Each kind and the arguments it takes.
KINDS: dict[str, frozenset[str]] = {
    # Another answer instead of the service's; the request is not executed. `body` replaces the error body.
    "status": frozenset({"status", "code", "message", "headers", "body"}),
    "html": frozenset({"status"}),
    # The connection is reset: before the request is executed, or after it was and before the answer leaves.
    "reset": frozenset(),
    "reset_after": frozenset(),
    # Real seconds of waiting, before executing or (`applied=True`) between executing and answering.
    "delay": frozenset({"seconds", "applied"}),
    # The answer announces its length and ends half-way.
    "truncated": frozenset(),
    # One sample of a label write is not written; by position or by id (then only a write of that sample counts).
    "fail_sample": frozenset({"position", "sample_id", "code", "message"}),
    # The results of a label write in which something failed: "missing", "short" or "shuffled".
    "results": frozenset({"form"}),
    # The token of this request is forgotten (401 APIGW.0301), or every token is (401 APIGW.0307).
    "expired_token": frozenset(),
    "revoke": frozenset(),
    # The labeling task that this request starts will fail.
    "fail_task": frozenset({"code", "message", "detail"}),
}

HTML = b"<html><head><title>%d</title></head><body><h1>%d Bad Gateway</h1><hr>proxy</body></html>\n"
# What an injected status says when the rule does not: code and text by status (contract 7.2, 7.3).
DEFAULT_CODES = {
    400: ("ModelArts.0104", "Parameter error."),
    401: ("APIGW.0301", "Incorrect IAM authentication information."),
    403: ("ModelArts.0108", "No permission."),
    404: ("APIGW.0101", "The API does not exist or has not been published in the environment."),
    413: ("ModelArts.4104", "The request body is too large."),
    429: ("APIGW.0308", "The throttling threshold has been reached."),
    500: ("APIGW.0601", "Internal server error."),
    502: ("APIGW.0610", "No backend available."),
    503: ("APIGW.0613", "The IAM service is temporarily unavailable."),
    504: ("APIGW.0201", "Backend timeout."),
}


@dataclass(eq=False)
class Rule:
    """One fault that waits for its request.

    :param seen: how many requests matched.
    :param fired: how often it fired; read it, so that no test passes because its fault never happened.
    """

    method: str
    path_part: str
    kind: str
    times: int | None
    after: int
    match: Callable[[Call], bool] | None
    args: dict[str, Any]
    seen: int = 0
    fired: int = 0

    def wants(self, call: Call) -> bool:
        """Whether the request matches this rule."""
        if self.method not in ("*", call.method) or self.path_part not in call.path:
            return False
        sample_id = self.args.get("sample_id")
        if sample_id is not None and sample_id.encode() not in call.body:
            return False
        return self.match is None or self.match(call)

    def is_due(self) -> bool:
        """Whether it may fire now, after `after` spared requests and at most `times` times."""
        return self.seen > self.after and (self.times is None or self.fired < self.times)


@dataclass
class Faults:
    """The armed faults.

    :param rules: in the order in which they were added; of several that are due the first one fires.
    """

    rules: list[Rule] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(
        self,
        method: str,
        path_part: str,
        kind: str,
        *,
        times: int | None = 1,
        after: int = 0,
        match: Callable[[Call], bool] | None = None,
        **args: Any,
    ) -> Rule:
        """Arm a fault.

        :param method: HTTP method, or "*".
        :param path_part: text that the decoded path contains; "" for every path.
        :param kind: one of :data:`KINDS`, which also lists each kind's own arguments.
        :param times: how often it fires; None: always.
        :param after: how many matching requests are spared first.
        :param match: further condition on the request.
        :returns: the rule; its `fired` counts.
        :raises ValueError: unknown kind or argument.
        """
        if kind not in KINDS:
            raise ValueError(f"there is no fault {kind!r}; there are {', '.join(KINDS)}")
        unknown = set(args) - KINDS[kind]
        if unknown:
            raise ValueError(f"fault {kind} does not take {sorted(unknown)}; it takes {sorted(KINDS[kind])}")
        rule = Rule(method.upper(), path_part, kind, times, after, match, args)
        with self._lock:
            self.rules.append(rule)
        return rule

    def take(self, call: Call) -> Rule | None:
        """Return the rule that fires at this request, counted as fired, or None."""
        with self._lock:
            wanting = [rule for rule in self.rules if rule.wants(call)]
            for rule in wanting:
                rule.seen += 1
            due = next((rule for rule in wanting if rule.is_due()), None)
            if due is not None:
                due.fired += 1
            return due

    @property
    def fired(self) -> Counter[str]:
        """How often each kind fired; `fired.total()` over all. Per rule: :attr:`Rule.fired`."""
        counter: Counter[str] = Counter()
        with self._lock:
            for rule in self.rules:
                if rule.fired:
                    counter[rule.kind] += rule.fired
        return counter

    def clear(self) -> None:
        """Disarm everything and forget the counts."""
        with self._lock:
            self.rules.clear()


def replacement(call: Call) -> Reply | None:
    """Return what the fault of a request answers instead of the service; None: the request is executed."""
    args = call.fault_args
    if call.fault == "html":
        status = args.get("status", 502)
        return Reply(status, HTML % (status, status), (("Content-Type", "text/html"),))
    if call.fault != "status":
        return None
    status = args.get("status", 503)
    code, message = DEFAULT_CODES.get(status, ("ModelArts.0100", "Injected fault."))
    body = args.get("body")
    if body is None:
        code, message = args.get("code", code), args.get("message", message)
        body = dump_json({"error_code": code, "error_msg": message, "request_id": call.request_id})
    elif isinstance(body, str):
        body = body.encode()
    headers = dict(JSON_HEADERS) | dict(args.get("headers") or {})
    return Reply(status, body, tuple((name, str(value)) for name, value in headers.items()))
