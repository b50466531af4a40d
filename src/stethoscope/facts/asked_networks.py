"""What a file asks of a network of its project that the network does not have.

net = Classifier()          its constructor gives it `encoder` and `head`
opt = Adam(net.classifier.parameters())      ends with an error
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator

from stethoscope.facts.code import At, Call, Code
from stethoscope.facts.origins import bases, lineage, thing_of
from stethoscope.facts.parsed import Parsed
from stethoscope.facts.things import Thing
from stethoscope.facts.unset import GIVES_BY_NAME, OF_MODULES

_PLAIN = ("torch.nn.Module", "torch.nn.modules.module.Module")


def asked_of_networks(code: Code, whole: Parsed) -> Iterator[At]:
    """Where a file reads an attribute of a network that nothing in the project gives it."""
    networks = dict(_networks(code))
    for node in whole.nodes if networks else ():
        match node:
            case ast.Attribute(value=ast.Name(id=name), attr=attribute, ctx=ast.Load()) if name in networks:
                if _lacks(code, networks[name], attribute):
                    yield At(node.lineno, node.col_offset, node.end_lineno or 0, node.end_col_offset or 0)


def _networks(code: Code) -> Iterator[tuple[str, Thing]]:
    """The variables that the file binds once, to a network of a class that is seen as a whole."""
    count = Counter(one.name for one in code.bindings if one.how != "merge")
    for one in code.bindings:
        if one.how == "assign" and not one.item and isinstance(one.value, Call) and count[one.name] == 1:
            thing = thing_of(code, one.value)
            if thing.kind == "module" and thing.cls is not None and _is_whole(thing):
                yield one.name, thing


def _is_whole(thing: Thing) -> bool:
    named = bases(thing)
    return (
        bool(named)
        and all(one in _PLAIN for one in named)
        and not any(home.matches(GIVES_BY_NAME) or home.stars for home, _ in lineage(thing))
    )


def _lacks(code: Code, network: Thing, attribute: str) -> bool:
    if attribute in OF_MODULES or attribute.startswith("__"):
        return False
    if any(attribute in cls.methods or attribute in cls.attributes for _, cls in lineage(network)):
        return False
    said = re.compile(
        rf"\.{attribute}\s*(?::[^=\n]*|,[^=\n()]*)?=(?!=)|[\"']{attribute}[\"']|\b(?:for|as|def)\s+[\w.]*\b{attribute}\b"
    )
    text = code.linked.anywhere(attribute)
    return text is not None and not code.matches(said) and said.search(text) is None
