"""Deploys the templates of packaging/azure/ on paper: what Azure would be sent, with all expressions evaluated.

Stands in for Azure Resource Manager: strict where it is (unknown names, run-time functions among the variables, values
out of their limits), and knows only the functions that the templates use. What Azure tells at run time alone, such as
an account's key, is a `Runtime` text that shows where it came from.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Optional

from azure_expressions import Call, ExpressionFault, Literal, Node, evaluate, nodes, parse

FOLDER = Path(__file__).resolve().parent.parent / "packaging" / "azure"
SUBSCRIPTION = "/subscriptions/00000000-0000-0000-0000-000000000000"
GROUP = f"{SUBSCRIPTION}/resourceGroups/data"
# What each type of a parameter or an output may hold.
TYPES = {"string": str, "int": int, "bool": bool, "array": list, "object": dict}

# Every way to deploy a template that changes what it makes.
WAYS: dict[str, list[dict[str, Any]]] = {
    "account.json": [{}, {"operatorObjectId": "22222222-2222-2222-2222-222222222222"}],
    "pool.json": [
        {},
        {"scaling": "schedule", "warmOnWeekends": True},
        {"scaling": "pipeline"},
        {"nodeKind": "spot", "installOdbcDriver": True},
    ],
    "factory.json": [
        {},
        {"resizePool": True, "nodes": 3},
        {"resizePool": True, "nodeKind": "spot", "createFactory": False, "factoryName": "theirs"},
        {"databaseLinkedServices": ["SalesDb", "Warehouse"]},
    ],
}


class Runtime(str):
    """A text that only a real deployment knows; its parts are such texts as well."""

    def __getitem__(self, key: object) -> Runtime:
        return Runtime(f"{self}.{key}")


class Template:
    """One template file."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.document: dict[str, Any] = json.loads((FOLDER / name).read_text("utf-8"))
        self.parameters: dict[str, Any] = self.document["parameters"]
        self.variables: dict[str, Any] = self.document["variables"]

    def expressions(self) -> Iterator[tuple[str, Node]]:
        """Every expression of the file with the path to it; fails on one that cannot be read."""
        for path, text in texts(self.document):
            if is_expression(text):
                try:
                    yield path, parse(text[1:-1])
                except ExpressionFault as error:
                    raise ExpressionFault(f"{self.name}: {path}: {error}") from error

    def uses(self, function: str) -> set[str]:
        """The names that the file's expressions give to `parameters` or `variables`."""
        return {
            str(node.arguments[0].value)
            for _path, expression in self.expressions()
            for node in nodes(expression)
            if isinstance(node, Call) and node.name == function and isinstance(node.arguments[0], Literal)
        }

    def deploy(self, **parameters: Any) -> Deployment:
        """What Azure would make of the file with these parameters."""
        return Deployment(self, parameters)


class Deployment:
    """A template with its parameters: the resources whose condition holds, and the outputs, all evaluated."""

    def __init__(self, template: Template, given: Mapping[str, Any]) -> None:
        self._template = template
        self._given = given
        self._variables: dict[str, Any] = {}
        # Ids of resources whose properties or keys are asked for.
        self.asked: set[str] = set()
        unknown = given.keys() - template.parameters.keys()
        if unknown:
            raise ExpressionFault(f"{template.name} has no parameter {sorted(unknown)}")
        self.parameters = {name: self._parameter(name) for name in template.parameters}
        self.resources = [
            self.value({key: part for key, part in resource.items() if key != "condition"})
            for resource in template.document["resources"]
            if self.value(resource.get("condition", True))
        ]
        self.outputs = {}
        for name, output in template.document.get("outputs", {}).items():
            value = self.value(output["value"])
            if type(value) not in (TYPES[output["type"]], Runtime):
                raise ExpressionFault(f"the output `{name}` is no {output['type']}: {value!r}")
            self.outputs[name] = value

    def of_type(self, kind: str) -> list[dict[str, Any]]:
        """The resources of one type, in their order."""
        return [resource for resource in self.resources if resource["type"] == kind]

    def ids(self) -> set[str]:
        """The ids of all resources of the deployment."""
        return {resource_id(item["type"], *item["name"].split("/")) for item in self.resources if "scope" not in item}

    def value(self, part: Any, *, runtime: bool = True, loop: Optional[Mapping[str, int]] = None) -> Any:
        """`part` of the template, evaluated at any depth. `runtime` says whether `reference` and `listKeys` may be
        used, `loop` holds the positions of the running copy loops.
        """

        def inner(below: Any) -> Any:
            return self.value(below, runtime=runtime, loop=loop)

        if isinstance(part, dict):
            return {inner(key): inner(value) for key, value in part.items()}
        if isinstance(part, list):
            return [inner(item) for item in part]
        if not isinstance(part, str):
            return part
        if is_expression(part):
            return evaluate(parse(part[1:-1]), self._functions(runtime, loop or {}))
        return part[1:] if part.startswith("[[") else part

    def _parameter(self, name: str) -> Any:
        declared = self._template.parameters[name]
        if name in self._given:
            value = self._given[name]
        elif "defaultValue" in declared:
            value = self.value(declared["defaultValue"], runtime=False)
        else:
            raise ExpressionFault(f"{self._template.name} needs the parameter `{name}`")
        fault = None
        size = len(value) if isinstance(value, (str, list)) else 0
        if type(value) is not TYPES[declared["type"]]:
            fault = f"is no {declared['type']}"
        elif "allowedValues" in declared and value not in declared["allowedValues"]:
            fault = f"is none of {declared['allowedValues']}"
        elif "minLength" in declared and not declared["minLength"] <= size <= declared["maxLength"]:
            fault = "is too short or too long"
        elif not declared.get("minValue", value) <= value <= declared.get("maxValue", value):
            fault = "is too small or too large"
        if fault:
            raise ExpressionFault(f"the parameter `{name}` {fault}: {value!r}")
        return value

    def _variable(self, name: str) -> Any:
        if name not in self._variables:
            declared = self._template.variables
            loops = {item["name"]: item for item in declared.get("copy", [])}
            if name in loops:
                count = self.value(loops[name]["count"], runtime=False)
                value = [self.value(loops[name]["input"], runtime=False, loop={name: at}) for at in range(count)]
            elif name in declared:
                value = self.value(declared[name], runtime=False)
            else:
                raise ExpressionFault(f"there is no variable `{name}`")
            self._variables[name] = value
        return self._variables[name]

    def _functions(self, runtime: bool, loop: Mapping[str, int]) -> dict[str, Any]:
        def parameters(name: str) -> Any:
            if name not in self._template.parameters:
                raise ExpressionFault(f"there is no parameter `{name}`")
            # The default of a parameter may use another one.
            return self.__dict__.get("parameters", {}).get(name, None) or self._parameter(name)

        def reference(identifier: str, version: str, full: str = "") -> Runtime:
            self.asked.add(identifier)
            return Runtime(f"<{identifier} {version} {full}>")

        functions: dict[str, Any] = {
            "parameters": parameters,
            "variables": self._variable,
            "copyIndex": lambda name: loop[name],
            "concat": concat,
            "createArray": lambda *items: list(items),
            "createObject": lambda *items: dict(zip(items[::2], items[1::2])),
            "empty": lambda value: not value,
            "environment": lambda: {"suffixes": {"storage": "core.windows.net"}},
            "equals": lambda left, right: type(left) is type(right) and left == right,
            "format": lambda text, *items: re.sub(r"\{(\d+)\}", lambda match: str(items[int(match[1])]), text),
            "guid": lambda *items: hashlib.sha256("-".join(items).encode()).hexdigest()[:32],
            "join": lambda items, between: between.join(items),
            "length": len,
            "not": lambda value: not value,
            "null": lambda: None,
            "resourceGroup": lambda: {"id": GROUP, "location": "westeurope"},
            "resourceId": resource_id,
            "subscription": lambda: {"tenantId": "11111111-1111-1111-1111-111111111111"},
            "subscriptionResourceId": lambda kind, name: f"{SUBSCRIPTION}/providers/{kind}/{name}",
            "take": lambda value, count: value[:count],
            "union": lambda left, right: {**left, **right},
            "uniqueString": lambda *items: hashlib.sha256("".join(items).encode()).hexdigest()[:13],
        }
        if runtime:
            functions |= {"reference": reference, "listKeys": reference}
        return functions


def concat(*items: Any) -> Any:
    """Joins texts, or arrays."""
    if all(isinstance(item, list) for item in items):
        return [part for item in items for part in item]
    if not all(isinstance(item, (str, int)) for item in items):
        raise ExpressionFault(f"`concat` of {items!r}")
    return "".join(str(item) for item in items)


def resource_id(kind: str, *names: str) -> str:
    """The id of a resource of the group; a type `A/b/c` takes the names of its `b` and its `c`."""
    provider, *types = kind.split("/")
    if len(types) != len(names):
        raise ExpressionFault(f"`{kind}` takes {len(types)} names, not {names!r}")
    return f"{GROUP}/providers/{provider}" + "".join(f"/{part}/{name}" for part, name in zip(types, names))


def is_expression(text: str) -> bool:
    """Whether Azure evaluates a text of a template."""
    return text.startswith("[") and not text.startswith("[[") and text.endswith("]")


def texts(part: Any, path: str = "$") -> Iterator[tuple[str, str]]:
    """All texts of a JSON document, also its keys, each with the path to it."""
    if isinstance(part, str):
        yield path, part
    elif isinstance(part, dict):
        for key, value in part.items():
            yield f"{path}.{key}", key
            yield from texts(value, f"{path}.{key}")
    elif isinstance(part, list):
        for position, value in enumerate(part):
            yield from texts(value, f"{path}[{position}]")


def deploy(name: str, way: Mapping[str, Any]) -> Deployment:
    """Deploys a template under the name `sales`, with the parameters of `way` besides."""
    return Template(name).deploy(**{"name": "sales", **way})


def pipeline(way: Mapping[str, Any]) -> dict[str, Any]:
    """The pipeline of factory.json."""
    properties: dict[str, Any] = deploy("factory.json", way).of_type("Microsoft.DataFactory/factories/pipelines")[0][
        "properties"
    ]
    return properties


def activities(way: Mapping[str, Any]) -> dict[str, Any]:
    """The activities of the pipeline, by name."""
    return {activity["name"]: activity for activity in pipeline(way)["activities"]}


def parts(part: Any, path: str = "$") -> Iterator[tuple[str, Any]]:
    """All parts of a JSON document, itself included, each with the path to it."""
    yield path, part
    if isinstance(part, dict):
        for key, value in part.items():
            yield from parts(value, f"{path}.{key}")
    elif isinstance(part, list):
        for at, value in enumerate(part):
            yield from parts(value, f"{path}[{at}]")
