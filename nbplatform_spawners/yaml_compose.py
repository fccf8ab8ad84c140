"""From YAML text to nodes, in bounded time and depth.

``yaml.compose`` is recursive: on libyaml, 100,000 brackets end the whole process with a segmentation fault,
and an alias lets a few lines unfold into gigabytes.  So the nodes are made here, from the parser's events.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

try:
    from yaml import CBaseLoader as _Loader
except ImportError:  # PyYAML without libyaml: slower, the same result
    from yaml import BaseLoader as _Loader  # type: ignore[assignment]

MAX_DEPTH = 32
"""How deep lists and mappings may be nested; the language itself needs 8."""
_TOO_DEEP = f"nested more than {MAX_DEPTH} deep"
MAX_NODES = 500_000
"""How many values one file may hold; a site of 1,000 rules has about 30,000."""
_TEXT, _LIST, _MAP = (f"tag:yaml.org,2002:{kind}" for kind in ("str", "seq", "map"))
_DEPTH_OF_LIBYAML = "exceeded maximum nesting depth"
"""The problem that libyaml itself names from 1,000 on; it reads ahead, so it may come before ours."""
_NODELESS = (yaml.AliasEvent, yaml.DocumentStartEvent)


def compose_text(text: str) -> yaml.Node | None:
    """Return the root node of the only document of a text; None when it is empty.

    Raises:
        yaml.YAMLError: not YAML, several documents, an alias, or more or deeper nodes than allowed.
    """
    loader = _Loader(text)
    try:
        return _compose(loader)
    except yaml.MarkedYAMLError as error:
        if error.problem != _DEPTH_OF_LIBYAML:
            raise
        raise yaml.MarkedYAMLError(problem=_TOO_DEEP, problem_mark=error.problem_mark) from None
    finally:
        loader.dispose()


def _compose(loader: _Loader) -> yaml.Node | None:
    """Walk the events with a stack of its own: ``outer`` holds the lists of children that are still open."""
    children: list[yaml.Node] = []
    outer: list[list[yaml.Node]] = []
    open_nodes: list[yaml.Node] = []
    left = MAX_NODES
    scalar, begin, end = yaml.ScalarEvent, yaml.CollectionStartEvent, yaml.CollectionEndEvent
    for event in _events(loader):
        mark = event.start_mark
        if isinstance(event, scalar):
            children.append(yaml.ScalarNode(event.tag or _TEXT, event.value, mark, style=event.style))
        elif isinstance(event, end):
            _close(open_nodes.pop(), children)
            children = outer.pop()
            continue
        elif isinstance(event, begin):
            node = _open(event, mark)
            children.append(node)
            open_nodes.append(node)
            outer.append(children)
            children = []
        elif isinstance(event, _NODELESS):
            _refuse(event, left, bool(children))
        left -= 1
        if left < 0 or len(outer) > MAX_DEPTH:
            _refuse(event, left, bool(children))
    return children[0] if children else None


def _events(loader: _Loader) -> Iterator[Any]:
    """Yield the parser's events; as Any, since the stubs give libyaml's marks a type that no node takes."""
    while not isinstance(event := loader.get_event(), yaml.StreamEndEvent):
        yield event


def _refuse(event: Any, left: int, second: bool) -> None:
    """Raise for what is too large, too deep, an alias or a second document."""
    if isinstance(event, yaml.AliasEvent):
        problem = 'aliases (*name) are not allowed; put a text that begins with * in quotes: "*name"'
    elif isinstance(event, yaml.DocumentStartEvent) and second:
        problem = "a second document (---) begins"
    elif left < 0:
        problem = f"more than {MAX_NODES} values"
    elif isinstance(event, yaml.CollectionStartEvent):
        problem = _TOO_DEEP
    else:
        return
    raise yaml.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)


def _open(event: yaml.CollectionStartEvent, mark: Any) -> yaml.Node:
    if isinstance(event, yaml.SequenceStartEvent):
        return yaml.SequenceNode(event.tag or _LIST, [], mark)
    return yaml.MappingNode(event.tag or _MAP, [], mark)


def _close(node: yaml.Node, children: list[yaml.Node]) -> None:
    """Put the children into their node: as they are, or as pairs of key and value."""
    pairs = iter(children)
    node.value = list(zip(pairs, pairs, strict=True)) if isinstance(node, yaml.MappingNode) else children
