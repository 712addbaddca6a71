"""The state of the house: style, types, the stubs, and that a source distribution makes a working wheel."""

from __future__ import annotations

import collections
import os
import platform
import re
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path
from typing import NamedTuple

import pytest

import shrinkops
from shrinkops._kernels import loops

ROOT = Path(__file__).parents[1]
GNU = loops.config()["compiler"].startswith("gcc")


def run(*command: str | Path, cwd: Path = ROOT, **environment: str) -> str:
    """Run a command of this environment, and return what it prints; show that if it fails."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    ran = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env={**{k: v for k, v in os.environ.items() if k != "PYTHONPATH"}, "PATH": path, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    said = ran.stdout + ran.stderr
    assert ran.returncode == 0, f"{' '.join(map(str, command))}\n{said}"
    return said


@pytest.mark.parametrize(
    "command",
    [
        ("ruff", "check", "."),
        ("ruff", "format", "--check", "."),
        ("cython-lint", "shrinkops"),
        ("mypy",),
        (
            "stubtest",
            "--mypy-config-file",
            "pyproject.toml",
            "shrinkops._kernels.exchange",
            "shrinkops._kernels.groups",
            "shrinkops._kernels.loops",
        ),
    ],
    ids=" ".join,
)
def test_linters_are_content(command):
    run(*command)


# One test builds a release and looks at all of it: apart, every worker would build its own, which takes minutes.


class Release(NamedTuple):
    """What a release consists of, where it was built, and what the build printed."""

    sdist: Path
    wheel: Path
    source: Path
    said: str


def test_release(tmp_path):
    made = released(tmp_path / "dist")
    holds_sources_and_nothing_generated(made.sdist)
    has_vectorised_loops(made)
    works_where_nothing_but_numpy_is(made.wheel, tmp_path)


def released(folder):
    """Build a source distribution, and from what that unpacks to a wheel; the compiler tells of vectorised loops."""
    run(sys.executable, "-m", "build", "--sdist", "--outdir", folder, ".")
    (sdist,) = folder.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder / "source", filter="data")
    (source,) = (folder / "source").iterdir()
    flags = f"{os.environ.get('CFLAGS', '')} -fopt-info-vec-optimized" if GNU else ""
    said = run(
        sys.executable, "-m", "build", "--wheel", "--outdir", folder, source, **({"CFLAGS": flags} if GNU else {})
    )
    (wheel,) = folder.glob("*.whl")
    return Release(sdist, wheel, source, said)


def holds_sources_and_nothing_generated(sdist):
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    tracked = {
        str(path.relative_to(ROOT))
        for folder in ("shrinkops", "tests", "asv_bench")
        for ending in ("py", "pyx", "pxd", "h", "pyi")
        for path in (ROOT / folder).rglob(f"*.{ending}")
        if ".asv" not in path.parts
    }
    assert tracked <= names
    assert {"setup.py", "pyproject.toml", "README.md", "LICENSE", "shrinkops/py.typed"} <= names
    assert not [name for name in names if name.endswith((".c", ".so", ".pyd"))]


def works_where_nothing_but_numpy_is(wheel, tmp_path):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        size = sum(archive.getinfo(name).file_size for name in names if name.endswith((".so", ".pyd")))
    assert "shrinkops/py.typed" in names
    assert "shrinkops/_kernels/loops.pyi" in names
    assert "shrinkops/_kernels/operators.pxd" in names
    assert not [name for name in names if name.startswith("tests") or name.endswith(".c")]
    assert size < 6e6
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
    run(python, "-m", "pip", "install", "-q", "--disable-pip-version-check", wheel)
    code = "import sys, shrinkops; shrinkops.show_config(); print(shrinkops.softshrink([-2.0, 0.25, 1.0]))"
    assert "[-1.5  0.   0.5]" in run(python, "-c", code, cwd=tmp_path)


# The loops of run(), in order: of array parameters and of scalars the value, all derivatives together, each of three.
# Before those of scalars comes, with the number 5, the value where the threshold is NaN, which need not be fast.
VALUES, TOGETHER, APART = {0, 6}, {1, 7}, {2, 3, 4, 8, 9, 10}


def has_vectorised_loops(made):
    """Every loop of every operator, for both types, at every level is vectorised: so says GCC, loop by loop."""
    if not GNU or platform.machine() not in ("x86_64", "AMD64"):
        return
    widths = collections.defaultdict(set)
    for line, width in re.findall(r"loops\.c:(\d+):\d+: optimized: +loop vectorized using (\d+)", made.said):
        widths[int(line)].add(int(width))
    found, function = collections.defaultdict(list), None
    code = (made.source / "shrinkops" / "_kernels" / "loops.c").read_text(encoding="utf-8")
    for number, line in enumerate(code.splitlines(), 1):
        if start := re.match(r"static CYTHON_INLINE void __pyx_fuse_(\d+)_(\d+)_(\d+)\w+loops_run\(.*\{$", line):
            operator, real, output = map(int, start.groups())
            function = (operator, real) if real == output else None
        elif line.startswith("}"):
            function = None
        elif function and re.match(r"\s*for \(", line):
            found[function].append({16, 32, 64} <= widths[number])
    assert len(found) == 2 * len(shrinkops.OPERATORS)
    wide = {key: {k for k, vectorised in enumerate(loops) if vectorised and k != 5} for key, loops in found.items()}
    assert not {key: k for key, k in wide.items() if not (k >= VALUES | APART or k == VALUES | TOGETHER)}


def test_version_has_one_place():
    version = shrinkops.__version__
    found = [
        str(path.relative_to(ROOT))
        for ending in ("py", "toml", "cfg", "pyi")
        for path in ROOT.rglob(f"*.{ending}")
        if not {"build", ".asv", "env"} & set(path.relative_to(ROOT).parts)
        and f'"{version}"' in path.read_text(encoding="utf-8")
    ]
    assert found == ["shrinkops/_version.py"]
