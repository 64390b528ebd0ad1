"""jmespath, made exact and bounded: numbers are Decimal, every step is charged, comparing text with a number is told.

jmespath itself reads `0.1` as a float, does not know Decimal, and lets `[@,@][]|[@,@][]|…` double a list at every
bar. Here every list, table and text that an expression builds is weighed when it is built.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from decimal import Decimal
from difflib import get_close_matches
from math import ceil, floor
from typing import Any

import orjson
from jmespath import exceptions, parser
from jmespath.functions import TYPES_MAP, Functions, signature
from jmespath.visitor import TreeInterpreter

from central.mapping.errors import Fault, TooMuch
from central.mapping.values import EXACT, copy_of, number_of
from central.mapping.work import CHARS_PER_STEP, TEXT_MAX, Work
from shared.errors import BadInput

EXPRESSION_MAX = 1_000
NODES_MAX = 200
DEPTH_MAX = 30
_OPEN, _CLOSE, _QUOTES = "([{", ")]}", "'\"`"
_LONG_DECIMAL = re.compile(r"`[^`]*?(?=[\d.]*\.)\d[\d.]{16,}[^`]*`")
Node = Any
"""A table of `type`, `children` and `value`, as jmespath parses it."""


def parse(text: str) -> Node:
    """The tree of an expression.

    Raises:
        BadInput: not an expression, too long or too deep, or an unknown function.
    """
    if len(text) > EXPRESSION_MAX:
        raise BadInput(f"the expression is longer than {EXPRESSION_MAX} characters")
    if _LONG_DECIMAL.search(text):
        raise BadInput("a decimal between backticks has at most 15 digits", hint="use to_number('…')")
    try:
        tree: Node = parser.Parser().parse(text).parsed
    except exceptions.JMESPathError as error:
        raise BadInput(f'"{text}" is no expression: {str(error).splitlines()[0]}') from None
    except RecursionError:
        raise BadInput("the expression nests too deep") from None
    _check(tree)
    return _exact(tree)


def _walk(tree: Node) -> Iterator[tuple[Node, int]]:
    stack = [(tree, 0)]
    while stack:
        node, depth = stack.pop()
        yield node, depth
        stack += [(child, depth + 1) for child in node.get("children", ()) if isinstance(child, dict)]


def _check(tree: Node) -> None:
    for count, (node, depth) in enumerate(_walk(tree)):
        if count >= NODES_MAX or depth >= DEPTH_MAX:
            raise BadInput("the expression is too large or nests too deep")
        if node["type"] == "function_expression":
            _check_call(node)


def _check_call(node: Node) -> None:
    known = ExactFunctions.FUNCTION_TABLE
    if node["value"] not in known:
        near = get_close_matches(node["value"], known, 1)
        raise BadInput(
            f"there is no function {node['value']}" + (f"; did you mean {near[0]}?" if near else "")
        )
    expected = known[node["value"]]["signature"]
    given, least = len(node["children"]), len(expected)
    if given < least or (given > least and not expected[-1].get("variadic")):
        raise BadInput(f"the function {node['value']} takes {least} arguments, not {given}")


def _exact(tree: Node) -> Node:
    return {
        key: [_exact(child) if isinstance(child, dict) else child for child in value]
        if key == "children"
        else _exact_literal(value)
        if key == "value" and tree["type"] == "literal"
        else value
        for key, value in tree.items()
    }


def _exact_literal(value: Any) -> Any:
    if isinstance(value, float):
        try:
            return number_of(repr(value))
        except Fault as fault:
            raise BadInput(fault.what) from None
    if isinstance(value, list):
        return [_exact_literal(part) for part in value]
    if isinstance(value, dict):
        return {key: _exact_literal(part) for key, part in value.items()}
    return value


def named_fields(tree: Node) -> Iterator[tuple[str, ...]]:
    """The fields of the record that an expression begins with, so that they can be checked before it runs."""
    kind, children = tree["type"], tree.get("children", [])
    if kind == "field":
        yield (tree["value"],)
    elif kind == "subexpression" and all(child["type"] == "field" for child in children):
        yield tuple(child["value"] for child in children)
    elif kind in {
        "subexpression", "index_expression", "pipe", "projection", "filter_projection", "value_projection", "flatten"
    }:  # fmt: skip
        yield from named_fields(children[0])
    elif kind not in {"literal", "current", "identity", "expref", "index", "slice"}:
        for child in children:
            yield from named_fields(child)


def evaluate(tree: Node, here: Any, work: Work) -> Any:
    """The value of an expression; None where there is none.

    Raises:
        Fault: a function was given what it does not take.
        TooMuch: it took more steps than one record may.
    """
    interpreter = work.interpreter
    if interpreter is None:
        interpreter = work.interpreter = Interpreter(work)
    try:
        return interpreter.visit(tree, here)
    except exceptions.JMESPathError as error:
        raise Fault(str(error).splitlines()[0]) from None
    except RecursionError:
        raise TooMuch("the record's lists and tables nest too deep") from None
    except (TypeError, ValueError, ArithmeticError) as error:
        # Some of jmespath's functions look at the types of their arguments too late.
        raise Fault(f"the expression does not fit this record: {error}") from None


def outside_quotes(text: str, start: int = 0) -> Iterator[tuple[int, str]]:
    """Positions and characters of *text* that stand in no quotes and no brackets."""
    quote, depth, skip = "", 0, False
    for position in range(start, len(text)):
        char = text[position]
        if skip:
            skip = False
        elif quote:
            skip = char == "\\"
            quote = "" if char == quote else quote
        elif char in _QUOTES:
            quote = char
        elif char in _CLOSE and depth:
            depth -= 1
        elif char in _OPEN:
            depth += 1
        elif not depth:
            yield position, char


class Interpreter(TreeInterpreter):
    """One per record that is mapped."""

    def __init__(self, work: Work) -> None:
        super().__init__()
        self._work = work
        self._functions = ExactFunctions()
        self._functions.work = work

    def visit(self, node: Node, value: Any) -> Any:
        self._work.spend(1)
        return super().visit(node, value)

    def visit_comparator(self, node: Node, value: Any) -> Any:
        if node["value"] in ("eq", "ne"):
            return super().visit_comparator(node, value)
        left, right = (self.visit(child, value) for child in node["children"])
        if left is None or right is None:
            return None
        if isinstance(left, str) != isinstance(right, str):
            text, number = (left, right) if isinstance(left, str) else (right, left)
            raise Fault(f'text "{text}" is compared with {number}; write to_number(…) around it', text)
        return TreeInterpreter.COMPARATOR_FUNC[node["value"]](
            *(part if isinstance(part, str) else number_of(part) for part in (left, right))
        )

    def visit_literal(self, node: Node, value: Any) -> Any:
        return self._weighed(node["value"])

    def visit_multi_select_list(self, node: Node, value: Any) -> Any:
        return self._weighed(super().visit_multi_select_list(node, value))

    def visit_multi_select_dict(self, node: Node, value: Any) -> Any:
        return self._weighed(super().visit_multi_select_dict(node, value))

    def visit_flatten(self, node: Node, value: Any) -> Any:
        merged = super().visit_flatten(node, value)
        self._work.spend(len(merged or ()))
        return merged

    def visit_slice(self, node: Node, value: Any) -> Any:
        part = super().visit_slice(node, value)
        self._work.spend(len(part or ()))
        return part

    def visit_function_expression(self, node: Node, value: Any) -> Any:
        result = super().visit_function_expression(node, value)
        if isinstance(result, str):
            self._work.spend(len(result) // CHARS_PER_STEP)
        elif isinstance(result, list | dict):
            self._work.spend(len(result))
        return result

    def _weighed(self, value: Any) -> Any:
        """Only what is built here can hold a part many times over: what is copied has been paid for."""
        return copy_of(value, self._work) if isinstance(value, list | dict) else value


_NUMBERS = {"Decimal", "int"}


class ExactFunctions(Functions):
    """jmespath's functions over Decimal."""

    work: Work

    def _get_allowed_pytypes(self, types: Iterable[str]) -> tuple[list[str], list[tuple[str, ...]]]:
        allowed, of_elements = super()._get_allowed_pytypes(types)  # type: ignore[misc]
        if "int" in allowed:
            allowed.append("Decimal")
        return allowed, [(*names, "Decimal") if "int" in names else names for names in of_elements]

    def _subtype_check(self, current: Any, allowed_subtypes: Any, types: Any, function_name: str) -> None:
        # A list of int and Decimal is one of numbers: jmespath looks at the names of the types only.
        if current and {type(element).__name__ for element in current} <= _NUMBERS:
            current = current[:1]
        super()._subtype_check(current, allowed_subtypes, types, function_name)  # type: ignore[misc]

    def _convert_to_jmespath_type(self, pyobject: str) -> str:
        return "number" if pyobject == "Decimal" else TYPES_MAP.get(pyobject, "unknown")

    @signature({"types": ["array-number"]})
    def _func_sum(self, arg: list[Any]) -> Any:
        total = Decimal(0)
        for part in arg:
            total = EXACT.add(total, number_of(part))
        return total

    @signature({"types": ["array-number"]})
    def _func_avg(self, arg: list[Any]) -> Any:
        return self._func_sum(arg) / len(arg) if arg else None

    @signature({"types": ["number"]})
    def _func_ceil(self, arg: Any) -> int:
        return ceil(number_of(arg))

    @signature({"types": ["number"]})
    def _func_floor(self, arg: Any) -> int:
        return floor(number_of(arg))

    @signature({"types": []})
    def _func_to_number(self, arg: Any) -> Any:
        if isinstance(arg, int | Decimal) and not isinstance(arg, bool):
            return arg
        try:
            return number_of(arg)
        except Fault:
            return None

    @signature({"types": []})
    def _func_to_string(self, arg: Any) -> str:
        if isinstance(arg, str):
            return arg
        try:
            return self.work.text(orjson.dumps(copy_of(arg, self.work), default=str).decode())
        except TypeError as error:
            raise Fault(f"to_string: {error}", arg) from None

    @signature({"types": ["string"]}, {"types": ["array-string"]})
    def _func_join(self, separator: str, array: list[str]) -> str:
        if sum(map(len, array)) + len(separator) * len(array) > TEXT_MAX:
            raise TooMuch(f"a text of more than {TEXT_MAX:,} characters would be built")
        return separator.join(array)

    @signature({"types": []})
    def _func_type(self, arg: Any) -> Any:
        return "number" if isinstance(arg, Decimal) else super()._func_type(arg)  # type: ignore[misc]
