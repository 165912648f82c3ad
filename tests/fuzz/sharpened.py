"""The OpenAPI document, read as strictly as it is meant: only the statuses and the fields that it names."""

import copy
import re
from typing import Any

import schemathesis
from flask import Flask
from schemathesis.config import GenerationConfig, ProjectConfig, ProjectsConfig, SchemathesisConfig
from schemathesis.schemas import BaseSchema

#: Members that every problem has; the others are facts of its own.
PROBLEM = ("type", "title", "status", "detail", "slug", "instance")


def read_document(app: Flask) -> BaseSchema:
    """What there is to draw from, for the app in this process. Access tokens are ours to send."""
    document = sharpened(app.test_client().get("/openapi.json").get_json())
    project = ProjectConfig(generation=GenerationConfig(with_security_parameters=False))
    config = SchemathesisConfig(projects=ProjectsConfig(default=project))
    schema = schemathesis.openapi.from_dict(document, config=config)
    schema.app = app
    return schema


def sharpened(document: dict[str, Any]) -> dict[str, Any]:
    """A copy in which an answer that no status names, or a field that no schema names, does not fit.

    The document itself must leave both open: clients have to take what a later release adds.
    """
    sharp = copy.deepcopy(document)
    for item in sharp["paths"].values():
        for operation in item.values():
            if isinstance(operation, dict):
                operation["responses"].pop("default", None)
    for name, schema in sharp["components"]["schemas"].items():
        if name == "Problem":
            schema["required"] = list(PROBLEM)
        elif name == "Money" or re.fullmatch(r".*(Out|Page)", name):
            schema.update(additionalProperties=False, required=sorted(schema["properties"]))
    return sharp


def named_slugs(operation: dict[str, Any], status: int) -> set[str]:
    """The slugs that the operation names for this status."""
    answer = operation["responses"].get(str(status), {})
    return set(re.findall(r"`([a-z-]+)`", answer.get("description", "")))
