"""The documentation: it builds without a warning, has a page for every operator, and says nothing that is not so.

Its examples are run, in the pages by hand each section by itself, and so are those of all docstrings. Examples in
torch, JAX and the others are run where these are among the libraries to test.
"""

from __future__ import annotations

import contextlib
import doctest
import importlib
import inspect
import os
import pkgutil
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from numpydoc.docscrape import NumpyDocString
from numpydoc.validate import get_validation_checks, validate

import shrinkops
from shrinkops import _backends

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"

# ---------------------------------------------------------------------------------------------------------------------
# The build


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages, built."""
    folder = tmp_path_factory.mktemp("docs")
    shutil.copytree(DOCS, folder / "docs", ignore=shutil.ignore_patterns("_build", "operators", "__pycache__"))
    imported_from = str(Path(shrinkops.__file__).parents[1])
    path = os.pathsep.join(filter(None, [imported_from, os.environ.get("PYTHONPATH")]))
    built = subprocess.run(
        [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-n", "-b", "html", "docs", "site"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    return folder / "site"


def test_page(site: Path, operator: Any) -> None:
    """Every operator has its page: definition, curves, special cases, references, an example, companions."""
    name = operator.__name__
    page = (site / "operators" / f"{name}.html").read_text(encoding="utf-8")
    before, _, entry = page.partition(f'id="shrinkops.{name}"')
    picture = re.search(r'<img [^>]*src="\.\./(_images/[^"]*\.svg)"', before)
    assert picture is not None
    assert "</svg>" in (site / picture[1]).read_text(encoding="utf-8")
    definition, _, rest = entry.partition("Parameters")
    assert all(f'class="n"><span class="pre">{p}<' in definition for p in inspect.signature(operator).parameters)
    assert re.search(r'<div class="math[^"]*">\s*\\\[', definition)
    for section in ("Returns", "Raises", "See also", "References", "Examples"):
        assert section in rest
    table = re.search(r"<table class=\"special-cases.*?</table>", page, re.DOTALL)
    assert table is not None
    rows = [re.findall(r"<t[dh].*?</t[dh]>", row, re.DOTALL) for row in table[0].split("<tr")[3:]]
    assert len(rows) >= 8
    for row in rows:
        label, *numbers = (re.sub("<[^>]*>", "", cell).strip() for cell in row)
        assert label
        assert len([float(number) for number in numbers]) == 4
    assert "TypeError: " in re.sub("<[^>]*>", "", page)
    for companion in ("derivative", "vjp", "penalty"):
        assert (f'id="shrinkops.{name}.{companion}"' in page) == hasattr(operator, companion)


def test_overview(site: Path) -> None:
    """The overview has every operator, and the front page leads to it."""
    overview = (site / "operators" / "index.html").read_text(encoding="utf-8")
    assert all(f'href="{name}.html"' in overview for name in shrinkops.OPERATORS)
    front = (site / "index.html").read_text(encoding="utf-8")
    assert 'href="operators/index.html"' in front
    assert shrinkops.__version__ in front


def test_public_names_have_entries(site: Path) -> None:
    """Every public name can be looked up."""
    index = (site / "genindex.html").read_text(encoding="utf-8")
    assert [name for name in ("shrinkops.OPERATORS", *PUBLIC) if f'#{name}"' not in index] == []


@pytest.mark.parametrize("path", sorted([*DOCS.glob("*.py"), *DOCS.glob("_templates/*")]), ids=lambda path: path.name)
def test_mechanism_names_no_operator(path: Path) -> None:
    """What makes the pages is about any operator."""
    text = path.read_text(encoding="utf-8")
    # As a name: "threshold" and "shrink" are words as well.
    named = "|".join(shrinkops.OPERATORS)
    assert re.findall(rf"""shrinkops\.(?:{named})\b|["'](?:{named})["']|\b(?:{named})\(""", text) == []


# ---------------------------------------------------------------------------------------------------------------------
# Examples


def sections() -> dict[str, doctest.DocTest]:
    """Return the examples of the pages written by hand, those of a section under its name."""
    found = {}
    for path in sorted(DOCS.glob("*.rst")):
        lines = path.read_text(encoding="utf-8").split("\n")
        underlines = [k for k in range(1, len(lines)) if re.fullmatch(r"([-=~])\1+", lines[k]) and lines[k - 1].strip()]
        starts = [k - 1 for k in underlines]
        for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
            title = f"{path.name}: {lines[start]}"
            test = doctest.DocTestParser().get_doctest("\n".join(lines[start:end]), {}, title, str(path), start)
            if test.examples:
                found[title] = test
    return found


def public() -> dict[str, Any]:
    """Return everything public that can be called, by its full name, the companions of the operators among it."""
    modules = [
        "shrinkops",
        *(f"shrinkops.{m.name}" for m in pkgutil.iter_modules(shrinkops.__path__) if m.name[0] != "_"),
    ]
    found = {}
    for module in map(importlib.import_module, modules):
        for name in module.__all__:
            thing = getattr(module, name)
            if not callable(thing):
                continue
            found[f"{module.__name__}.{name}"] = thing
            for companion in ("derivative", "vjp", "penalty"):
                if hasattr(thing, companion):
                    found[f"{module.__name__}.{name}.{companion}"] = getattr(thing, companion)
    return found


def modules() -> list[str]:
    """Return the names of all modules."""
    return [module.name for module in pkgutil.walk_packages(shrinkops.__path__, "shrinkops.")]


SECTIONS = sections()
PUBLIC = public()


def libraries_of(test: doctest.DocTest) -> set[str]:
    """Return the array libraries, other than NumPy, that examples import."""
    source = "\n".join(example.source for example in test.examples)
    return set(re.findall(r"^(?:import|from) (\w+)", source, re.MULTILINE)) & set(_backends.LIBRARIES) - {"numpy"}


@contextlib.contextmanager
def as_installed() -> Iterator[None]:
    """Have the libraries as users find them: other tests ask JAX for double precision."""
    jax = sys.modules.get("jax")
    if jax is None:
        yield
        return
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", False)
    try:
        yield
    finally:
        jax.config.update("jax_enable_x64", before)


def run(test: doctest.DocTest) -> None:
    """Run examples, and fail with what differs."""
    report: list[str] = []
    with as_installed():
        results = doctest.DocTestRunner(verbose=False).run(test, out=report.append)
    assert results.failed == 0, "".join(report)
    assert results.attempted == len(test.examples)


@pytest.mark.parametrize("title", SECTIONS)
def test_examples_of_pages(title: str, libraries: dict[str, Any]) -> None:
    """What the pages show is what comes out."""
    missing = libraries_of(SECTIONS[title]) - set(libraries)
    if missing:
        pytest.skip(f"SHRINKOPS_TEST_LIBRARIES leaves out {', '.join(missing)}")
    run(SECTIONS[title])


@pytest.mark.parametrize("name", PUBLIC)
def test_examples_of_public_names(name: str) -> None:
    """What a docstring shows is what comes out."""
    run(doctest.DocTestParser().get_doctest(inspect.getdoc(PUBLIC[name]), {}, name, None, None))


def test_every_operator_has_examples(operator: Any) -> None:
    """Operators are no functions, in which doctest would look for examples: it must not miss them."""
    name = f"shrinkops.{operator.__name__}"
    assert name in PUBLIC
    assert NumpyDocString(inspect.getdoc(PUBLIC[name]))["Examples"]
    examples = doctest.DocTestParser().get_examples(inspect.getdoc(PUBLIC[name]))
    assert any(f"{name}(" in example.source and example.want for example in examples)


@pytest.mark.parametrize("name", ["get_num_threads", "set_num_threads", "num_threads", "show_config"])
def test_every_function_has_examples(name: str) -> None:
    """Compiled functions among them."""
    assert doctest.DocTestParser().get_examples(inspect.getdoc(PUBLIC[f"shrinkops.{name}"]))


@pytest.mark.parametrize("name", modules())
def test_examples_of_modules(name: str, libraries: dict[str, Any]) -> None:
    """What is not public has few examples, and these are right too."""
    package, _, module = name.rpartition(".")
    library = module.partition("_")[0]
    if package == _backends.__name__ and library in _backends.LIBRARIES and library not in libraries:
        pytest.skip(f"SHRINKOPS_TEST_LIBRARIES leaves out {library}")
    for test in doctest.DocTestFinder(exclude_empty=True).find(importlib.import_module(name)):
        run(test)


# ---------------------------------------------------------------------------------------------------------------------
# Docstrings

CHECKS = get_validation_checks(
    set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["numpydoc_validation"]["checks"])
)


@pytest.mark.parametrize("name", PUBLIC)
def test_docstring(name: str) -> None:
    """Docstrings are as numpydoc wants them: every parameter in the order of the signature, sections in theirs."""
    assert [f"{code}: {text}" for code, text in validate(name)["errors"] if code in CHECKS] == []
