"""packaging/azure/main.bicep: read by the grammar of tree-sitter, and held against the templates that it deploys."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import tree_sitter_bicep
from azure_templates import FOLDER, Template
from tree_sitter import Language, Node, Parser


def text(node: Node) -> str:
    assert node.text is not None
    return node.text.decode()


def below(node: Node, kind: str) -> Iterator[Node]:
    """All nodes of a kind below one, itself included."""
    if node.type == kind:
        yield node
    for child in node.children:
        yield from below(child, kind)


def value(node: Node) -> Any:
    """A literal as JSON has it."""
    if node.type == "string":
        return "".join(text(part) for part in node.children if part.type == "string_content")
    if node.type == "array":
        return [value(item) for item in node.named_children]
    return {"true": True, "false": False}.get(text(node), None) if node.type == "boolean" else int(text(node))


class Bicep:
    """The file, taken apart."""

    def __init__(self) -> None:
        source = (FOLDER / "main.bicep").read_bytes()
        self.root = Parser(Language(tree_sitter_bicep.language())).parse(source).root_node
        self.parameters: dict[str, dict[str, Any]] = {}
        self.modules: dict[str, dict[str, Any]] = {}
        self.outputs: dict[str, tuple[str, str]] = {}
        decorators: list[Node] = []
        for node in self.root.named_children:
            if node.type == "decorators":
                decorators = [node]
                continue
            if node.type == "parameter_declaration":
                self._parameter(node, decorators)
            elif node.type == "module_declaration":
                self._module(node)
            elif node.type == "output_declaration":
                name, kind, expression = node.named_children
                self.outputs[text(name)] = (text(kind), text(expression))
            else:
                assert node.type == "comment", node.type
            decorators = []

    def _parameter(self, node: Node, decorators: list[Node]) -> None:
        name, kind, *default = node.named_children
        allowed = [
            call for group in decorators for call in below(group, "call_expression") if text(call).startswith("allowed")
        ]
        self.parameters[text(name)] = {
            "type": text(kind),
            "default": default[0] if default else None,
            "allowed": value(next(below(allowed[0], "array"))) if allowed else None,
        }

    def _module(self, node: Node) -> None:
        name, file, body = node.named_children
        members = {text(item.named_children[0]): item.named_children[1] for item in body.named_children}
        self.modules[text(name)] = {
            "file": value(file),
            "params": {
                text(item.named_children[0]): item.named_children[1] for item in members["params"].named_children
            },
            "after": [text(item) for item in members["dependsOn"].named_children] if "dependsOn" in members else [],
        }


@pytest.fixture(scope="module")
def bicep() -> Bicep:
    return Bicep()


def test_its_syntax_is_bicep(bicep):
    assert not bicep.root.has_error


def test_it_deploys_every_template_in_their_order(bicep):
    assert {name: (module["file"], module["after"]) for name, module in bicep.modules.items()} == {
        "account": ("account.json", []),
        "pool": ("pool.json", ["account"]),
        "factory": ("factory.json", ["account", "pool"]),
    }


def test_each_template_gets_parameters_that_it_has_and_all_that_it_needs(bicep):
    for module in bicep.modules.values():
        declared = Template(module["file"]).parameters
        assert module["params"].keys() <= declared.keys()
        needed = {name for name, parameter in declared.items() if "defaultValue" not in parameter}
        assert needed <= module["params"].keys()


def test_each_parameter_is_used_and_has_the_type_default_and_choices_of_the_templates(bicep):
    used = set()
    for module in bicep.modules.values():
        declared = Template(module["file"]).parameters
        for name, given in module["params"].items():
            if given.type != "identifier":
                continue
            used.add(text(given))
            own, theirs = bicep.parameters[text(given)], declared[name]
            assert own["type"] == theirs["type"], name
            assert own["allowed"] == theirs.get("allowedValues"), name
            if name == "location":
                assert text(own["default"]) == "resourceGroup().location"
            elif name != "name":
                assert value(own["default"]) == theirs["defaultValue"], name
    assert used == set(bicep.parameters)


def test_the_pool_is_resized_by_the_pipeline_exactly_if_it_is_made_so(bicep):
    assert text(bicep.modules["factory"]["params"]["resizePool"]) == "scaling == 'pipeline'"


def test_it_passes_on_every_output(bicep):
    expected = {
        name: (output["type"], f"{module}.outputs.{name}")
        for module, about in bicep.modules.items()
        for name, output in Template(about["file"]).document["outputs"].items()
    }
    assert bicep.outputs == expected
