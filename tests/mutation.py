"""Mutation counts: small wrong changes of the pure rooms, and how many of them a test notices (`make mutation`).

A mutant is a changed syntax tree. Each is tried in a fork of a process that has imported the libraries and collected
the tests, so that one costs a fraction of a second where torch is needed too. A seed draws them.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import gc
import importlib.abc
import importlib.util
import inspect
import json
import os
import random
import resource
import sys
import time
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import ModuleType

PROJECT = Path(__file__).resolve().parent.parent
REASONS = Path(__file__).with_suffix(".json")
PAGE = PROJECT / "docs" / "mutation.md"
SEED, MOST_A_ROOM = 0, 300
SEARCH = (
    "answers candidates conclusion error_model growth guarantee hypervolume loop replay selection space w_coefficient"
)
ROOMS = {
    "search": [
        *(f"search/{name}.py" for name in SEARCH.split()),
        *(f"search/strategies/{name}.py" for name in ("base", "halving", "partition", "sampling", "surrogate")),
    ],
    "agora": ["agora/loop.py", "finetuning/rounds.py"],
    "tasks": ["tasks/metrics.py"],
    "pretraining": [f"pretraining/{name}.py" for name in ("losses", "masking", "teacher_targets")],
}

OPERATORS: dict[type, tuple[type, ...]] = {
    ast.Add: (ast.Sub,), ast.Sub: (ast.Add,), ast.Mult: (ast.Div,), ast.Div: (ast.Mult,), ast.FloorDiv: (ast.Div,),
    ast.Mod: (ast.Mult,), ast.Pow: (ast.Mult,), ast.MatMult: (ast.Mult,), ast.BitAnd: (ast.BitOr,),
    ast.BitOr: (ast.BitAnd,), ast.And: (ast.Or,), ast.Or: (ast.And,), ast.Eq: (ast.NotEq,), ast.NotEq: (ast.Eq,),
    ast.Lt: (ast.LtE, ast.GtE), ast.LtE: (ast.Lt, ast.Gt), ast.Gt: (ast.GtE, ast.LtE), ast.GtE: (ast.Gt, ast.Lt),
    ast.Is: (ast.IsNot,), ast.IsNot: (ast.Is,), ast.In: (ast.NotIn,), ast.NotIn: (ast.In,),
}  # fmt: skip
SWAPPED = {"min": "max", "minimum": "maximum", "any": "all", "argmin": "argmax", "first": "last"}
SWAPPED |= {after: before for before, after in SWAPPED.items()}


@dataclass(frozen=True)
class Mutant:
    """One change of one module.

    Args:
        path: The module's file.
        line: Of the change.
        before: Source of the smallest expression or statement that changes.
        after: What it becomes.
        place: The changed node's number in the module, and that of the change among the node's.
    """

    path: Path
    line: int
    before: str
    after: str
    place: tuple[int, int]

    @property
    def tree(self) -> ast.Module:
        """The changed module."""
        tree = ast.parse(self.path.read_text())
        node = next(islice(_nodes(tree), self.place[0], None))
        field, value = list(_changes(node))[self.place[1]]
        if field:
            setattr(node, field, value)
        else:
            _replace(tree, node, value)
        return ast.fix_missing_locations(tree)

    @property
    def key(self) -> str:
        """Names the mutant whatever lines stand above it."""
        return f"{self.path.stem}: {self.before} -> {self.after}"


def mutants_of(path: Path) -> list[Mutant]:
    """Every mutant of a module, in the order of its source."""
    found = []
    for number, node in enumerate(_nodes(ast.parse(path.read_text()))):
        for choice, (field, value) in enumerate(_changes(node)):
            after = deepcopy(node)
            if field:
                setattr(after, field, value)
            shown = ast.unparse(ast.fix_missing_locations(after if field else value))
            found.append(Mutant(path, node.lineno, ast.unparse(node), shown, (number, choice)))
    return found


def _nodes(node: ast.AST) -> Iterator[ast.AST]:
    """What may change: no text, annotation, decorator or import, nothing that an error says, no ``strict`` of zip."""
    for name, value in ast.iter_fields(node):
        for child in value if isinstance(value, list) else [value]:
            is_left_out = isinstance(child, (ast.JoinedStr, ast.Raise)) or name in {"annotation", "returns", "slots"}
            is_left_out |= name == "decorator_list" or (isinstance(child, ast.keyword) and child.arg == "strict")
            is_left_out |= isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"
            if isinstance(child, ast.AST) and not is_left_out:
                if hasattr(child, "lineno"):
                    yield child
                yield from _nodes(child)


def _changes(node: ast.AST) -> Iterator[tuple[str | None, ast.AST | object]]:
    """The field that changes and its new value; no field where the node itself is replaced."""
    match node:
        case ast.BinOp() | ast.AugAssign() | ast.BoolOp():
            yield from (("op", new()) for new in OPERATORS.get(type(node.op), ()))
        case ast.Compare():
            for place, old in enumerate(node.ops):
                for new in OPERATORS[type(old)]:
                    yield "ops", [*node.ops[:place], new(), *node.ops[place + 1 :]]
        case ast.UnaryOp() if not isinstance(node.operand, ast.Constant):
            yield None, node.operand
        case ast.Constant(value=bool()):
            yield "value", not node.value
        case ast.Constant(value=int() | float()):
            yield "value", node.value + 1
        case ast.Name() if node.id in SWAPPED and isinstance(node.ctx, ast.Load) and node.id not in {"first", "last"}:
            yield "id", SWAPPED[node.id]
        case ast.Attribute() if node.attr in SWAPPED:
            yield "attr", SWAPPED[node.attr]
        case ast.Return(value=ast.AST()) if ast.unparse(node.value) != "None":
            yield "value", ast.Constant(None)
        case ast.If() | ast.While() | ast.IfExp() if not isinstance(node.test, (ast.Compare, ast.UnaryOp)):
            yield "test", ast.UnaryOp(ast.Not(), node.test)


def _replace(tree: ast.Module, old: ast.AST, new: object) -> None:
    for parent in ast.walk(tree):
        for name, value in ast.iter_fields(parent):
            if value is old:
                setattr(parent, name, new)
            elif isinstance(value, list) and old in value:
                value[value.index(old)] = new


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports the mutant wherever its module is asked for."""

    def __init__(self, mutant: Mutant, name: str) -> None:
        self.mutant, self.name = mutant, name

    def find_spec(self, fullname, path, target=None):
        if fullname == self.name:
            return importlib.util.spec_from_file_location(fullname, self.mutant.path, loader=self)
        return None

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        exec(compile(self.mutant.tree, str(self.mutant.path), "exec"), vars(module))  # noqa: S102


def run_tests(tests: Sequence[Path], *plugins: object) -> int:
    """The exit status of pytest, which says nothing."""
    import pytest
    from hypothesis import Phase, settings

    # One failing example is enough, and none is kept for the next mutant.
    settings.register_profile("mutation", phases=[Phase.explicit, Phase.generate], database=None)
    options = ["--timeout=20", "--hypothesis-seed=0", "--hypothesis-profile=mutation", "-x", "-q"]
    options += ["-p", "no:cacheprovider", "-m", "not session"]
    with open(os.devnull, "w") as nothing, contextlib.redirect_stdout(nothing), contextlib.redirect_stderr(nothing):
        return int(pytest.main([*options, *map(str, tests)], plugins=plugins))


class _Trials:
    """Runs the collected tests without a mutant, which loads what they need, and in a fork for each mutant."""

    def __init__(self, mutants: Sequence[Mutant], name: str, tests: Sequence[Path], root: Path) -> None:
        self.mutants, self.name, self.tests, self.root = mutants, name, tests, root
        self.survivors: list[Mutant] = []

    def pytest_runtestloop(self, session):
        start = time.process_time()
        run_items(session)
        if session.testsfailed:
            return True
        seconds = 10 + 5 * int(time.process_time() - start)
        gc.freeze()
        self.survivors = [mutant for mutant in self.mutants if not self._is_killed(mutant, session, seconds)]
        return True

    def _is_killed(self, mutant: Mutant, session: object, seconds: int) -> bool:
        """Whether some test fails, or all take more than so many seconds of processor."""
        child = os.fork()
        if child:
            return os.waitpid(child, 0)[1] != 0
        try:
            resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
            if _put_in_place(mutant, sys.modules[self.name]):
                os._exit(run_items(session))
            for module in [key for key, value in sys.modules.items() if _lies_in(value, self.root)]:
                del sys.modules[module]
            sys.meta_path.insert(0, _Finder(mutant, self.name))
            os._exit(run_tests(self.tests))
        finally:
            os._exit(1)


def run_items(session) -> int:
    """Run the collected tests up to the first that fails; how many failed."""
    for item, following in zip(session.items, [*session.items[1:], None], strict=True):
        if not session.testsfailed:
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
    return session.testsfailed


def _put_in_place(mutant: Mutant, module: ModuleType) -> bool:
    """Give the function that changed its new code, wherever it is known; False if no function's body changed."""
    place, owner, names = mutant.tree, module, []
    line = mutant.line
    while (inner := next((node for node in getattr(place, "body", []) if _has(node, line)), None)) is not None:
        names.append(inner.name)
        if isinstance(inner, ast.FunctionDef):
            break
        place = inner
    if inner is None or line < inner.body[0].lineno:
        return False
    for name in names:
        owner = inspect.getattr_static(owner, name)
    for attribute in ("fget", "func", "__func__"):
        owner = getattr(owner, attribute, owner)
    owner = inspect.unwrap(owner)
    codes = [compile(mutant.tree, str(mutant.path), "exec")]
    for name in names:
        codes.append(next(part for part in codes[-1].co_consts if getattr(part, "co_name", None) == name))
    owner.__code__ = codes[-1]
    return True


def _has(node: ast.AST, line: int) -> bool:
    return isinstance(node, (ast.ClassDef, ast.FunctionDef)) and node.lineno <= line <= node.end_lineno


def _lies_in(module: object, root: Path) -> bool:
    file = getattr(module, "__file__", None) or next(iter(getattr(module, "__path__", [])), None)
    is_own = file is not None and Path(file).is_relative_to(root) and ".venv" not in Path(file).parts
    return is_own and module is not sys.modules["__main__"]


def tests_of(path: Path, room: str) -> list[Path]:
    """The tests of a module, then those of the room's other modules that import it."""
    modules = [path.relative_to(PROJECT / "src" / "bort_kedro"), *map(Path, ROOMS[room])]
    names = [name for module in modules for name in (module.with_name(f"test_{module.name}"), _of_folder(module))]
    files = [file for name in dict.fromkeys(names) if (file := PROJECT / "tests" / name).exists()]
    imported = f"bort_kedro.{'.'.join(modules[0].with_suffix('').parts)} import"
    return [file for file in files if file.name in {names[0].name, names[1].name} or imported in file.read_text()]


def _of_folder(module: Path) -> Path:
    return module.parent.with_name(f"test_{module.parent.name}.py")


def survivors(mutants: Sequence[Mutant], name: str, tests: Sequence[Path], *, root: Path) -> list[Mutant]:
    """Those that no test notices.

    Raises:
        RuntimeError: If the tests fail without a mutant.
    """
    trials = _Trials(mutants, name, tests, root)
    if run_tests(tests, trials):
        raise RuntimeError(f"the tests of {name} fail without any mutant")
    return trials.survivors


def drawn(room: str) -> dict[Path, list[Mutant]]:
    """The mutants of a room that are tried, by module."""
    paths = [PROJECT / "src" / "bort_kedro" / module for module in ROOMS[room]]
    every = [mutant for path in paths for mutant in mutants_of(path)]
    kept = every if len(every) <= MOST_A_ROOM else random.Random(SEED).sample(every, MOST_A_ROOM)
    return {path: [mutant for mutant in kept if mutant.path == path] for path in paths}


@dataclass(frozen=True)
class Counted:
    """What became of a module's mutants; ``survivors`` as pairs of line and key."""

    room: str
    module: str
    num_mutants: int
    num_tried: int
    survivors: list[tuple[int, str]]

    def row(self) -> str:
        """Of the page's table."""
        return f"| {self.room} | {self.module} | {self.num_mutants} | {_counts(self.num_tried, len(self.survivors))} |"


def _counts(num_tried: int, num_survivors: int) -> str:
    killed = num_tried - num_survivors
    return f"{num_tried} | {killed} | {f'{killed / num_tried:.0%}' if num_tried else '-'}"


def count(room: str, path: Path, mutants: Sequence[Mutant]) -> Counted:
    """Try the drawn mutants of one module."""
    module = path.relative_to(PROJECT / "src" / "bort_kedro")
    name = ".".join(["bort_kedro", *module.with_suffix("").parts])
    left = survivors(mutants, name, tests_of(path, room), root=PROJECT) if mutants else []
    return Counted(room, str(module), len(mutants_of(path)), len(mutants), [(m.line, m.key) for m in left])


def page(counted: Sequence[Counted]) -> str:
    """The Markdown of `PAGE`."""
    reasons = json.loads(REASONS.read_text())
    rows, survived = [], []
    for room in ROOMS:
        parts = [part for part in counted if part.room == room]
        tried, left = sum(part.num_tried for part in parts), sum(len(part.survivors) for part in parts)
        rows += [part.row() for part in parts]
        rows.append(f"| **{room}** | all | {sum(p.num_mutants for p in parts)} | {_counts(tried, left)} |")
        for part in parts:
            for line, key in part.survivors:
                change = " ".join(key.split(": ", 1)[1].split()).replace("|", "\\|")
                survived.append(f"| {part.module}:{line} | `{change}` | {reasons.get(key, 'No test asks for it.')} |")
    return "\n".join([INTRODUCTION, *rows, "", SURVIVED, *survived, ""])


INTRODUCTION = f"""# Mutation counts

How many small wrong changes of the pure rooms some test notices. Made by `make mutation`, which rewrites this page.

A mutant changes one thing: an operator (`+` to `-`, `<` to `<=` and to `>=`, `and` to `or`, ...), a number (one more),
a truth value, a returned value (`None`), a condition (negated), a sign or a `not` (left out), or one of
`min`/`max`, `any`/`all`, `argmin`/`argmax`, `first`/`last`. Not changed are texts, what errors say, annotations,
decorators and the `strict` of `zip`. Of each room {MOST_A_ROOM} are drawn (seed {SEED}), all where it has fewer. A
mutant is killed when a test of the module fails, or one of the room's other modules that imports it, or when they do
not end. Tests of whole searches and trainings would kill more and are not asked.

| Room | Module | Mutants | Tried | Killed | Share |
| --- | --- | ---: | ---: | ---: | ---: |"""
SURVIVED = """## Survivors

| Where | Change | Why no test notices |
| --- | --- | --- |"""


def main() -> None:
    """Count every room, or those named; the page is written when all were."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("rooms", nargs="*", default=list(ROOMS))
    counted = []
    for room in parser.parse_args().rooms:
        for path, mutants in drawn(room).items():
            counted.append(count(room, path, mutants))
            print(counted[-1].row(), flush=True)  # noqa: T201
    if {part.room for part in counted} == set(ROOMS):
        PAGE.write_text(page(counted))


if __name__ == "__main__":
    main()
