"""Single faults that a programmer could make, one at a time, in the functions of a module.

A mutant changes one operator, number, condition or call on one line. Text, annotations, ``assert`` and
what an error says are left alone: they change what is told, not what is computed. Constants of a module,
bodies of classes and defaults of arguments are not changed.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType

_OPERATORS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.And: ast.Or,
    ast.Or: ast.And,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Add,
    ast.Pow: ast.Mult,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitOr,
    ast.USub: ast.UAdd,
}
_PAIRS = [("min", "max"), ("minimum", "maximum"), ("any", "all"), ("floor", "ceil")]
_CALLS = dict(_PAIRS) | {b: a for a, b in _PAIRS}

Change = tuple[str, Callable[[], None]]


@dataclass(frozen=True)
class Mutant:
    """One fault: where it is, the text of its line, and what becomes of it.

    ``statement`` is the line on which its statement starts, and ``within`` a digest of its function.
    """

    file: str
    function: str
    line: int
    text: str
    change: str
    number: int
    statement: int
    within: str

    @property
    def key(self) -> str:
        """Names it as long as its line is as it is, wherever that moves to."""
        return f"{self.file} {self.function}: {self.text} [{self.change}]"


def mutants_of(file: Path, name: str) -> list[Mutant]:
    """All mutants of a file, which is called ``name``, in its order."""
    source = file.read_text(encoding="utf-8")
    lines, found, seen = source.splitlines(), [], dict[str, int]()
    tree = ast.parse(source)
    digests = {
        path: hashlib.sha256(ast.dump(function).encode()).hexdigest()[:16]
        for path, function in _functions(tree.body)
    }
    for number, (function, line, statement, (what, _)) in enumerate(_places(tree)):
        text = lines[line - 1].strip()
        place = f"{function} {text} {what}"
        seen[place] = seen.get(place, 0) + 1
        change = what if seen[place] == 1 else f"{what}, no. {seen[place]}"
        within = digests[function]
        found.append(Mutant(name, function, line, text, change, number, statement, within))
    return found


Codes = dict[tuple[int, str], CodeType]


def mutated(file: Path, number: int) -> Codes:
    """The functions of a file with one fault in it, by their first line and name."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    change = next(c for n, (*_, c) in enumerate(_places(tree)) if n == number)
    change[1]()
    return _compiled(tree, file)


def watched(file: Path, name: str, call: str) -> Codes:
    """The functions of a file that tell which statements they reach: ``call((name, line))``."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for _, function in _functions(tree.body):
        for node in list(ast.walk(function)):
            for _, body in ast.iter_fields(node):
                if isinstance(body, list) and body and isinstance(body[0], ast.stmt):
                    body[:] = [x for s in body for x in (_told(s, name, call), s)]
    return _compiled(tree, file)


def _told(statement: ast.stmt, name: str, call: str) -> ast.stmt:
    where = ast.Tuple([ast.Constant(name), ast.Constant(statement.lineno)], ast.Load())
    probe = ast.Expr(ast.Call(ast.Name(call, ast.Load()), [where], []))
    return ast.fix_missing_locations(ast.copy_location(probe, statement))


def _compiled(tree: ast.Module, file: Path) -> Codes:
    code = compile(ast.fix_missing_locations(tree), str(file), "exec")
    return {(c.co_firstlineno, c.co_name): c for c in _codes(code)}


def _codes(code: CodeType) -> Iterator[CodeType]:
    """Compiled functions and methods; functions within them are part of them."""
    for part in (c for c in code.co_consts if isinstance(c, CodeType)):
        is_function = bool(part.co_flags & 0x2)  # CO_NEWLOCALS: the body of a class has none
        yield from [part] if is_function else _codes(part)


def _places(tree: ast.Module) -> Iterator[tuple[str, int, int, Change]]:
    """Function, line, line of the statement, and what can be done there."""
    for name, function in _functions(tree.body):
        for first in function.body:
            for node, statement in _computed(first, first.lineno):
                for change in _changes(node):
                    yield name, getattr(node, "lineno", statement), statement, change


def _functions(body: list[ast.stmt], path: str = "") -> Iterator[tuple[str, ast.FunctionDef]]:
    for node in body:
        if isinstance(node, ast.FunctionDef):
            yield path + node.name, node
        elif isinstance(node, ast.ClassDef):
            yield from _functions(node.body, f"{path}{node.name}.")


def _computed(node: ast.AST, statement: int) -> Iterator[tuple[ast.AST, int]]:
    """The nodes below one that compute something, with the line of the statement that they are of."""
    if isinstance(node, (ast.Assert, ast.JoinedStr, ast.Raise)):
        return
    if isinstance(node, ast.keyword) and node.arg == "strict":  # of zip: it only ever refuses
        return
    if isinstance(node, ast.stmt):
        statement = node.lineno
    yield node, statement
    if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "reshape":
        for size in (x.operand for x in node.args if isinstance(x, ast.UnaryOp)):
            size.open = True  # type: ignore[attr-defined]
    for name, value in ast.iter_fields(node):
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and name not in ("annotation", "returns"):
                yield from _computed(child, statement)


def _changes(node: ast.AST) -> Iterator[Change]:
    """What can be done to one node."""
    for name, value in ast.iter_fields(node):
        operators = value if isinstance(value, list) else [value]
        for place, operator in enumerate(operators):
            new = _OPERATORS.get(type(operator))
            if new is not None and not _joins_text(node):
                yield f"{_word(operator)} → {_word(new())}", _put(node, name, place, new())
    if isinstance(node, ast.Constant) and isinstance(node.value, (int, float)) and not _open(node):
        other = not node.value if isinstance(node.value, bool) else node.value + 1
        yield f"{node.value} → {other}", _put(node, "value", 0, other)
    if isinstance(node, (ast.If, ast.IfExp, ast.While)) and not isinstance(
        node.test, (ast.Compare, ast.BoolOp)
    ):
        yield "condition → not", _put(node, "test", 0, ast.UnaryOp(ast.Not(), node.test))
    if isinstance(node, ast.Call) and isinstance(node.func, (ast.Name, ast.Attribute)):
        name = "id" if isinstance(node.func, ast.Name) else "attr"
        if called := _CALLS.get(getattr(node.func, name)):
            yield f"{getattr(node.func, name)} → {called}", _put(node.func, name, 0, called)
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        yield "call → nothing", _put(node, "value", 0, ast.Constant(None))


def _open(node: ast.Constant) -> bool:
    """The 1 of ``reshape(-1)``: to NumPy any other negative size says the same."""
    return getattr(node, "open", False)


def _word(operator: ast.AST) -> str:
    return type(operator).__name__


def _joins_text(node: ast.AST) -> bool:
    parts = [getattr(node, side, None) for side in ("left", "right", "value")]
    return any(isinstance(x, ast.JoinedStr) or _is_text(x) for x in parts)


def _is_text(node: object) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _put(node: ast.AST, name: str, place: int, new: object) -> Callable[[], None]:
    def put() -> None:
        if isinstance(value := getattr(node, name), list):
            value[place] = new
        else:
            setattr(node, name, new)

    return put
