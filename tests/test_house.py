"""The state of the house: style, types, the stubs, and that a source distribution makes a working wheel."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def run(*command: str | Path, cwd: Path = ROOT, **environment: str) -> str:
    """Run a command of this environment, show what it prints if it fails, and return that."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    ran = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env={**{k: v for k, v in os.environ.items() if k != "PYTHONPATH"}, "PATH": path, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, f"{' '.join(map(str, command))}\n{ran.stdout}\n{ran.stderr}"
    return ran.stdout


@pytest.mark.parametrize(
    "command",
    [
        ("ruff", "check", "."),
        ("ruff", "format", "--check", "."),
        ("cython-lint", "shrinkops"),
        ("mypy",),
        ("stubtest", "--mypy-config-file", "pyproject.toml", "shrinkops._kernels.loops", "shrinkops._kernels.groups"),
    ],
    ids=" ".join,
)
def test_linters_are_content(command):
    run(*command)


@pytest.fixture(scope="module")
def distributions(tmp_path_factory):
    """Build a source distribution, and from that a wheel, as a release does."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--outdir", folder, ".")
    (sdist,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    return sdist, wheel


def test_source_distribution_holds_sources_and_nothing_generated(distributions):
    with tarfile.open(distributions[0]) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    tracked = {
        str(path.relative_to(ROOT))
        for folder in ("shrinkops", "tests", "asv_bench")
        for ending in ("py", "pyx", "pxd", "pyi")
        for path in (ROOT / folder).rglob(f"*.{ending}")
        if ".asv" not in path.parts
    }
    assert tracked <= names
    assert {"setup.py", "pyproject.toml", "README.md", "LICENSE", "shrinkops/py.typed"} <= names
    assert not [name for name in names if name.endswith((".c", ".so", ".pyd"))]


def test_wheel_works_where_nothing_but_numpy_is(distributions, tmp_path):
    wheel = distributions[1]
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert "shrinkops/py.typed" in names
    assert "shrinkops/_kernels/loops.pyi" in names
    assert "shrinkops/_kernels/operators.pxd" in names
    assert not [name for name in names if name.startswith("tests") or name.endswith(".c")]
    assert wheel.stat().st_size < 6e6
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
    run(python, "-m", "pip", "install", "-q", "--disable-pip-version-check", wheel)
    code = "import sys, shrinkops; shrinkops.show_config(); print(shrinkops.softshrink([-2.0, 0.25, 1.0]))"
    assert "[-1.5  0.   0.5]" in run(python, "-c", code, cwd=tmp_path)


def test_version_has_one_place():
    import shrinkops

    version = shrinkops.__version__
    found = [
        str(path.relative_to(ROOT))
        for ending in ("py", "toml", "cfg", "pyi")
        for path in ROOT.rglob(f"*.{ending}")
        if not {"build", ".asv", "env"} & set(path.relative_to(ROOT).parts)
        and f'"{version}"' in path.read_text(encoding="utf-8")
    ]
    assert found == ["shrinkops/_version.py"]
