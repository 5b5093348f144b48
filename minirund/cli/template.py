"""Go templates, as much of them as people write behind --format. Pure: a template and values in, text out.

Understood: fields (``.State.Running``), variables, pipes, parentheses, strings and numbers; ``if``, ``else if``,
``else``, ``range`` (with one or two variables), ``with``, ``end``; trimming (``{{-``), comments; the functions below.
Values are what JSON gives, or objects whose ``field(name)`` answers (a table's row). ``define``, ``template``,
``block``, ``break`` and ``continue`` are refused by name.

A template is compiled to closures: every node is a function from a scope (the dot and the variables) to a value.
https://pkg.go.dev/text/template describes the language.
"""

from __future__ import annotations

from minirund.cli import template_functions as functions
from minirund.cli.failure import Failure
from minirund.cli.template_lexer import TemplateSyntaxError, Token, scan, tokens

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    Value = Callable[["Scope"], Any]
    Node = Callable[["Scope"], str]

_REFUSED = ("define", "template", "block", "break", "continue")
MISSING = functions.MISSING


class TemplateError(Failure):
    """The template is wrong, or does not fit what it was given."""


class Scope:
    """The dot and the variables that one place in the template sees. A variable is a list of one: ``=`` reaches out."""

    def __init__(self, dot: Any, variables: dict[str, list[Any]]) -> None:
        self.dot = dot
        self.variables = variables

    def inner(self, dot: Any, variables: dict[str, Any]) -> Scope:
        """A scope within: another dot, and more variables, which end with it."""
        return Scope(dot, self.variables | {name: [value] for name, value in variables.items()})


class Template:
    """A compiled template; ``TemplateError`` when the text is none."""

    def __init__(self, text: str) -> None:
        try:
            self._node = _Parser(list(scan(text))).whole()
        except TemplateSyntaxError as error:
            raise TemplateError(f"template parsing error: template: :{error.line}: {error}", 64) from None

    def render(self, data: Any) -> str:
        """The text for this data; ``TemplateError`` when a field or an argument does not fit."""
        try:
            return self._node(Scope(data, {"$": [data]}))
        except functions.CallError as error:
            raise TemplateError(f'template parsing error: template: :1: executing "" {error}', 1) from None


class _Parser:
    """Recursive descent over the pieces of ``scan``: texts and actions."""

    def __init__(self, pieces: list[tuple[bool, str, int]]) -> None:
        self._pieces = pieces
        self._at = 0

    def whole(self) -> Node:
        node, ending = self._block(())
        if ending:
            raise TemplateSyntaxError(f"unexpected {{{{{ending[0].text}}}}}", ending[0].line)
        return node

    def _block(self, endings: tuple[str, ...]) -> tuple[Node, list[Token]]:
        """Nodes up to an action that starts with one of ``endings``, and that action's tokens."""
        nodes: list[Node] = []
        line = 1
        while self._at < len(self._pieces):
            is_action, text, line = self._pieces[self._at]
            self._at += 1
            if not is_action:
                nodes.append(_text(text))
                continue
            words = tokens(text, line)
            if words and words[0].kind == "name" and words[0].text in ("end", "else"):
                return _sequence(nodes), words
            if words:
                nodes.append(self._action(words))
        if endings:
            raise TemplateSyntaxError("unexpected EOF", line)
        return _sequence(nodes), []

    def _action(self, words: list[Token]) -> Node:
        first = words[0]
        if first.kind == "name" and first.text in _REFUSED:
            raise TemplateSyntaxError(f"{{{{{first.text}}}}} is not understood by minirun", first.line)
        if first.kind == "name" and first.text in ("if", "with", "range"):
            return self._control(first.text, words[1:], first.line)
        expression = _Expression(words)
        name, assign = expression.assignment()
        value = expression.all()
        return _assign(name, value, declare=assign == ":=") if assign else lambda scope: functions.shown(value(scope))

    def _control(self, kind: str, words: list[Token], line: int) -> Node:
        expression = _Expression(words)
        names = expression.range_names() if kind == "range" else expression.assignment()[:1]
        if not words:
            raise TemplateSyntaxError(f"missing value for {kind}", line)
        value = expression.all()
        body, ending = self._block(("end", "else"))
        otherwise: Node = _sequence([])
        if ending[0].text == "else" and len(ending) > 1:
            otherwise = self._control(ending[1].text, ending[2:], line)
        elif ending[0].text == "else":
            otherwise, _ = self._block(("end",))
        make = {"if": _if, "with": _with, "range": _range}[kind]
        return make([name for name in names if name], value, body, otherwise)


def _text(text: str) -> Node:
    return lambda _: text


def _sequence(nodes: list[Node]) -> Node:
    return lambda scope: "".join([node(scope) for node in nodes])


def _assign(name: str, value: Value, *, declare: bool) -> Node:
    def node(scope: Scope) -> str:
        if declare:
            scope.variables[name] = [value(scope)]
        else:
            _cell(scope, name)[0] = value(scope)
        return ""

    return node


def _if(names: list[str], value: Value, body: Node, otherwise: Node) -> Node:
    def node(scope: Scope) -> str:
        found = value(scope)
        chosen = body if functions.truth(found) else otherwise
        return chosen(scope.inner(scope.dot, dict.fromkeys(names, found)))

    return node


def _with(names: list[str], value: Value, body: Node, otherwise: Node) -> Node:
    def node(scope: Scope) -> str:
        found = value(scope)
        if functions.truth(found):
            return body(scope.inner(found, dict.fromkeys(names, found)))
        return otherwise(scope.inner(scope.dot, {}))

    return node


def _range(names: list[str], value: Value, body: Node, otherwise: Node) -> Node:
    def turns(scope: Scope) -> Iterator[str]:
        for key, item in functions.items(value(scope)):
            given = dict(zip(names[-2:], (key, item), strict=False)) if len(names) == 2 else dict.fromkeys(names, item)
            yield body(scope.inner(item, given))

    def node(scope: Scope) -> str:
        text = list(turns(scope))
        return "".join(text) if text else otherwise(scope.inner(scope.dot, {}))

    return node


class _Expression:
    """The tokens of one action, read as a pipeline."""

    def __init__(self, words: list[Token]) -> None:
        self._words = words
        self._at = 0

    def _peek(self, ahead: int = 0) -> Token:
        place = self._at + ahead
        return self._words[place] if place < len(self._words) else Token("end", "", True, self._line())

    def _line(self) -> int:
        return self._words[-1].line if self._words else 1

    def _next(self) -> Token:
        token = self._peek()
        self._at += 1
        return token

    def assignment(self) -> tuple[str, str]:
        """(``$x``, ``:=``) when the action starts with an assignment, else ("", "")."""
        if self._peek().kind == "variable" and self._peek(1).text in (":=", "="):
            return self._next().text, self._next().text
        return "", ""

    def range_names(self) -> tuple[str, ...]:
        """The variables that a range declares."""
        if self._peek(1).text == "," and self._peek(3).text in (":=", "="):
            first, _, second, _ = (self._next() for _ in range(4))
            return first.text, second.text
        return self.assignment()[:1]

    def all(self) -> Value:
        """The pipeline; nothing may follow it."""
        value = self._pipeline()
        if (left := self._peek()).kind != "end":
            raise TemplateSyntaxError(f"unexpected {left.text!r} in operand", left.line)
        return value

    def _pipeline(self) -> Value:
        value = self._command(None)
        while self._peek().text == "|":
            self._next()
            value = self._command(value)
        return value

    def _command(self, piped: Value | None) -> Value:
        """One function or value with its arguments; what is piped in is its last argument."""
        head = self._peek()
        if head.kind == "name" and head.text in functions.TABLE:
            self._next()
            return _call(head.text, self._arguments(piped))
        value = self._operand()
        arguments = self._arguments(piped)
        return _invoke(value, head.text, arguments) if arguments else value

    def _arguments(self, piped: Value | None) -> list[Value]:
        found = []
        while self._peek().kind != "end" and self._peek().text not in ("|", ")"):
            found.append(self._operand())
        return found if piped is None else [*found, piped]

    def _operand(self) -> Value:
        value = self._primary()
        while self._peek().kind == "field" and not self._peek().spaced:
            value = _field(value, self._next().text)
        return value

    def _primary(self) -> Value:
        token = self._next()
        if token.kind == "field":
            return _field(lambda scope: scope.dot, token.text)
        if token.kind == "dot":
            return lambda scope: scope.dot
        if token.kind == "variable":
            return _variable(token)
        if token.kind == "constant":
            return lambda _: token.value
        if token.text == "(":
            return self._parenthesis(token)
        if token.kind == "name":
            return self._bare_function(token)
        raise TemplateSyntaxError(
            "missing value for command" if token.kind == "end" else f"unexpected {token.text!r}", token.line
        )

    def _parenthesis(self, opening: Token) -> Value:
        value = self._pipeline()
        if self._next().text != ")":
            raise TemplateSyntaxError("unclosed left paren", opening.line)
        return value

    def _bare_function(self, token: Token) -> Value:
        if token.text in functions.TABLE:
            return _call(token.text, [])
        raise TemplateSyntaxError(f'function "{token.text}" not defined', token.line)


def _cell(scope: Scope, name: str) -> list[Any]:
    if name not in scope.variables:
        raise functions.CallError(f"at <{name}>: undefined variable")
    return scope.variables[name]


def _variable(token: Token) -> Value:
    return lambda scope: _cell(scope, token.text)[0]


def _field(of: Value, name: str) -> Value:
    return lambda scope: functions.field(of(scope), name)


def _call(name: str, arguments: list[Value]) -> Value:
    function = functions.TABLE[name]
    if name in ("and", "or"):
        return lambda scope: functions.short_circuit(name, (argument(scope) for argument in arguments))

    def value(scope: Scope) -> Any:
        given = [argument(scope) for argument in arguments]
        try:
            return function(*given)
        except (TypeError, ValueError, IndexError) as error:
            raise functions.CallError(f"at <{name}>: error calling {name}: {error}") from None

    return value


def _invoke(value: Value, name: str, arguments: list[Value]) -> Value:
    def called(scope: Scope) -> Any:
        method = value(scope)
        if not callable(method):
            raise functions.CallError(f"at <{name}>: it has arguments but is no function")
        return method(*[argument(scope) for argument in arguments])

    return called
