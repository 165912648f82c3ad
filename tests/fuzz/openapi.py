"""Sends requests that are drawn from the OpenAPI document, and collects every answer that does not keep it."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from random import Random
from typing import Any

import schemathesis.specs.openapi.checks as openapi_checks
from flask import Flask
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis import GenerationMode, Response
from schemathesis.checks import CheckContext, not_a_server_error
from schemathesis.core.failures import Failure, FailureGroup
from schemathesis.core.result import Ok
from schemathesis.schemas import APIOperation

from tests.api import Api
from tests.fuzz.drawing import AnyCase, credentials, fill
from tests.fuzz.sharpened import named_slugs, read_document
from tests.fuzz.targets import Targets

Operation = APIOperation[Any, Any, Any, Any]
#: So many are drawn for one operation, fitting or not, before the next has its turn.
BATCH = 11
#: What is drawn is sent so often, with other things put into it each time: drawing costs more than sending.
SENT = 3
#: A fault shows itself again and again; so many of its kind are kept.
KEPT_OF_A_KIND = 3


class UnnamedSlug(Failure):
    """A problem whose slug the operation does not name for its status."""


@dataclass
class Findings:
    """How many cases were sent and how they were answered; what was wrong, in words, by its kind."""

    seed: int
    statuses: Counter[tuple[str, int]] = field(default_factory=Counter)
    wrong: dict[tuple[str, str], list[str]] = field(default_factory=dict)

    @property
    def cases(self) -> int:
        return self.statuses.total()

    def note(self, operation: str, failures: FailureGroup) -> None:
        """Keeps the report, which says how to ask again by curl."""
        for failure in failures.exceptions:
            kept = self.wrong.setdefault((operation, failure.title), [])
            if len(kept) < KEPT_OF_A_KIND:
                kept.append(str(failures))

    def report(self) -> str:
        """All that was wrong."""
        return f"seed {self.seed}\n\n" + "\n\n".join(text for kept in self.wrong.values() for text in kept)


def fuzz(
    app: Flask,
    api: Api,
    *,
    cases: int,
    seed: int,
    only: Collection[str] = (),
    sent: int = SENT,
    progress: Callable[[Findings], None] = lambda _: None,
) -> Findings:
    """Sends at least `cases` requests over all operations in turn (or `only` some), half drawn not to fit the document.

    The same seed draws the same requests, but for identifiers, which are new each time. Each is `sent` so often.
    """
    operations = [found.ok() for found in read_document(app).get_all_operations() if isinstance(found, Ok)]
    found, targets, chance = Findings(seed), Targets(api), Random(seed)
    while found.cases < cases:
        for operation in operations:
            if not only or operation.label in only:
                _send_batch(operation, GenerationMode.POSITIVE, targets, found, chance, sent)
                _send_batch(operation, GenerationMode.NEGATIVE, targets, found, chance, sent)
        progress(found)
    return found


def _send_batch(
    operation: Operation, mode: GenerationMode, targets: Targets, found: Findings, chance: Random, sent: int
) -> None:
    @seed(chance.getrandbits(64))
    @settings(
        max_examples=BATCH,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(operation.as_strategy(generation_mode=mode))
    def send(case: AnyCase) -> None:
        for _ in range(sent):
            _send(_copy(case), targets, found, chance)

    send()


def _send(case: AnyCase, targets: Targets, found: Findings, chance: Random) -> None:
    fill(case, chance, targets)
    headers = credentials(case, chance, targets.api)
    answer = case.call(headers=headers)
    found.statuses[operation_name(case), answer.status_code] += 1
    try:
        case.validate_response(answer, CHECKS, headers=headers)
    except FailureGroup as failures:
        found.note(operation_name(case), failures)


def _copy(case: AnyCase) -> AnyCase:
    """With a judgement of its own on whether it fits, which is made anew when something else is put into it."""
    copy = case.derive()
    return AnyCase(
        case.operation,
        case.method,
        case.path,
        path_parameters=copy.path_parameters,
        headers=copy.headers,
        cookies=copy.cookies,
        query=copy.query,
        body=copy.body,
        media_type=case.media_type,
        meta=deepcopy(case.meta),
    )


def operation_name(case: AnyCase) -> str:
    """Its method and path."""
    name: str = case.operation.label
    return name


def no_bug(context: CheckContext, response: Response, case: AnyCase) -> bool | None:
    """No status of a bug. 503 is none: a busy machine may say so, and `slug_conformance` sees that it does."""
    return None if response.status_code == 503 else not_a_server_error(context, response, case)


def unfit_is_refused(context: CheckContext, response: Response, case: AnyCase) -> bool | None:
    """What the document does not allow is refused. A bill is received first and read afterwards: what is wrong with its
    lines is listed with it."""
    if (case.operation.label, response.status_code) == ("POST /v1/bills", 202) and _is_headed(case, response.json()):
        return None
    return openapi_checks.negative_data_rejection(context, response, case)


def _is_headed(case: AnyCase, bill: Mapping[str, object]) -> bool:
    """Whether a bill is for the month and under the reference that were sent."""
    sent = {**(case.query or {}), **(case.body if isinstance(case.body, dict) else {})}
    return all(sent.get(name) == bill[name] for name in ("period", "reference"))


def slug_conformance(_context: object, response: Response, case: AnyCase) -> None:
    """A problem has a slug that the operation names for its status."""
    if response.status_code < 400:
        return
    slug = response.json().get("slug")
    if slug not in named_slugs(case.operation.definition.raw, response.status_code):
        raise UnnamedSlug(
            operation=case.operation.label,
            title="Slug that is not documented",
            message=f"{response.status_code} {slug}",
        )


CHECKS = [
    no_bug,
    openapi_checks.status_code_conformance,
    openapi_checks.content_type_conformance,
    openapi_checks.response_headers_conformance,
    openapi_checks.response_schema_conformance,
    unfit_is_refused,
    slug_conformance,
]
