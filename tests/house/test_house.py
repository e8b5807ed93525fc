"""The house in order: which way imports point, how long things are, and what no file may say."""

from __future__ import annotations

import ast
import functools
import io
import shutil
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.paths import ROOT

MOST_LINES_OF_A_MODULE = 400
MOST_LINES_OF_A_FUNCTION = 60

# What the core may import beside itself: what computes, and never what asks the world for anything.
ALLOWED_IN_CORE = {
    "contextlib",
    "__future__",
    "array",
    "bisect",
    "collections",
    "dataclasses",
    "datetime",
    "functools",
    "hashlib",
    "heapq",
    "itertools",
    "json",
    "math",
    "operator",
    "re",
    "typing",
    "unicodedata",
    "zlib",
    "zoneinfo",
    "cramjam",
    "msgspec",
    "shapely",
    "numpy",
    "scipy",
}
FAUST = {"faust", "mode"}


def sources(*folders: str) -> list[Path]:
    return [file for folder in folders for file in sorted((ROOT / folder).rglob("*.py"))]


def named(file: Path) -> str:
    return file.relative_to(ROOT).as_posix()


@functools.cache
def tree_of(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"), str(file))


def imported(file: Path) -> Iterator[str]:
    """Every module that a file imports anywhere in it, by its full name."""
    package = named(file).removesuffix(".py").split("/")[:-1]
    for node in ast.walk(tree_of(file)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            yield ".".join([*above, *([node.module] if node.module else [])])


def outer(module: str) -> str:
    return module.split(".")[0]


PRODUCT = sources("streams", "deploy")
CORE = sources("streams/core")


def test_there_are_modules_to_look_at():
    names = {named(file) for file in PRODUCT}
    assert {"streams/core/engine.py", "streams/replay/run.py", "streams/worker/app.py"} <= names


@pytest.mark.parametrize("file", CORE, ids=named)
def test_the_core_imports_itself_and_what_computes(file):
    others = {
        module
        for module in imported(file)
        if outer(module) not in ALLOWED_IN_CORE and not f"{module}.".startswith("streams.core.")
    }
    assert others == set()


@pytest.mark.parametrize("file", CORE, ids=named)
def test_the_core_opens_prints_and_executes_nothing(file):
    calls = {
        node.func.id
        for node in ast.walk(tree_of(file))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert calls & {"open", "print", "input", "exec", "eval", "__import__", "breakpoint", "hash", "id"} == set()


def test_the_core_can_be_imported_without_any_of_the_rest():
    modules = [named(file).removesuffix(".py").replace("/", ".") for file in CORE if file.name != "__init__.py"]
    code = f"import sys, importlib\nfor name in {modules!r}: importlib.import_module(name)\nprint(*sys.modules)"
    told = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    loaded = set(told.stdout.split())
    assert {outer(name) for name in loaded} & {
        "faust",
        "mode",
        "aiokafka",
        "asyncio",
        "prometheus_client",
        "random",
    } == set()
    assert {name for name in loaded if name.startswith("streams.") and not name.startswith("streams.core")} == set()


def test_only_the_worker_imports_faust():
    elsewhere = [
        f"{named(file)} imports {module}"
        for file in PRODUCT
        for module in imported(file)
        if outer(module) in FAUST
        and not named(file).startswith("streams/worker/")
        and named(file) != "streams/bench/stock_faust.py"
    ]
    assert elsewhere == []


def test_tests_import_neither_other_tests_nor_private_names():
    """What tests share is in packages of its own: tests/drivers, tests/oracle, tests/worlds."""
    wrong = []
    for file in sources("tests"):
        for node in ast.walk(tree_of(file)):
            if isinstance(node, ast.ImportFrom) and (node.level or outer(node.module or "") == "tests"):
                names = [*(node.module or "").split("."), *(alias.name for alias in node.names)]
                private = [name for name in names if name.startswith(("_", "test_")) or name == "conftest"]
                wrong += [f"{named(file)}:{node.lineno} imports {name}" for name in private]
                wrong += [f"{named(file)}:{node.lineno} imports relatively"] * bool(node.level)
    assert wrong == []


def test_no_module_is_over_its_lines():
    lengths = {named(file): len(file.read_bytes().splitlines()) for file in PRODUCT}
    assert {name: n for name, n in lengths.items() if n > MOST_LINES_OF_A_MODULE} == {}


def test_no_function_is_over_its_lines():
    lengths = {
        f"{named(file)}:{node.lineno} {node.name}": (node.end_lineno or node.lineno) - node.lineno + 1
        for file in PRODUCT
        for node in ast.walk(tree_of(file))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert {name: n for name, n in lengths.items() if n > MOST_LINES_OF_A_FUNCTION} == {}


VERBS_OF_SPEECH = {"said", "say", "says", "told", "tell", "tells", "hear", "heard", "ask", "asked", "who", "whom"}
FORMER_NAMES = {"refused", "stray", "strays", "misfits", "yardstick", "knocking", "judged", "settle", "door", "pulse"}


def test_names_are_standard_terms_and_no_verbs_of_speech():
    found = {
        f"{named(file)}: {token.string}"
        for file in PRODUCT
        for token in tokenize.generate_tokens(io.StringIO(file.read_text("utf-8")).readline)
        if token.type == tokenize.NAME and (VERBS_OF_SPEECH | FORMER_NAMES) & set(token.string.lower().split("_"))
    }
    assert found == set()


def test_every_module_says_what_it_is_for():
    assert [named(file) for file in PRODUCT if not ast.get_docstring(tree_of(file))] == []


# --- what no file may say: put together here, so that this one does not say it either ---

SLASH = "/"
FORBIDDEN = [
    SLASH + "work" + SLASH,
    SLASH + "root" + SLASH,
    "py" + "pi.org",
    "python" + "hosted.org",
    "repo1.maven" + ".org",
    "repo.maven.apache" + ".org",
    "maven" + "central",
    "npm" + "js.org",
    "npm" + "js.com",
    "crates" + ".io",
    "proxy.golang" + ".org",
    "docker" + ".io",
]


@functools.cache
def tracked() -> list[str]:
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: what belongs to it is not known")
    command = [
        "git",
        "-C",
        str(ROOT),
        "-c",
        f"safe.directory={ROOT}",
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ]
    listed = subprocess.run(command, capture_output=True, check=True, timeout=60).stdout.decode()
    return [name for name in listed.split("\0") if name and (ROOT / name).is_file()]


@pytest.mark.parametrize("word", FORBIDDEN)
def test_no_file_names_this_machines_folders_or_a_package_registry(word):
    needle = word.encode()
    assert [name for name in tracked() if needle in (ROOT / name).read_bytes()] == []


def test_no_file_is_named_after_a_plate_or_a_machine():
    assert [name for name in tracked() if not name.isascii() or " " in name] == []
