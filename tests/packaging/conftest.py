"""Fixtures: the distributions, built once, and an environment in which the wheel is installed."""

import sys
import venv
from dataclasses import dataclass
from pathlib import Path

import pytest
from commands import PIP, ROOT, output


@dataclass(frozen=True)
class Distributions:
    """The source distribution, the wheel built from it, and the wheel built from the checkout."""

    sdist: Path
    wheel: Path
    direct: Path


@pytest.fixture(scope="session")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Distributions:
    """What `python -m build` builds from the checkout, with the installed backend."""
    both, direct = tmp_path_factory.mktemp("dist"), tmp_path_factory.mktemp("direct")
    build = (sys.executable, "-m", "build", "--no-isolation")
    output(*build, "--outdir", both, ROOT, cwd=both)
    output(*build, "--wheel", "--outdir", direct, ROOT, cwd=direct)
    (sdist,), (wheel,), (alone,) = both.glob("*.tar.gz"), both.glob("*.whl"), direct.glob("*.whl")
    return Distributions(sdist, wheel, alone)


@pytest.fixture(scope="session")
def python(distributions: Distributions, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a new environment in which only the wheel is installed.

    The dependencies are gigabytes, so they are not installed again: a .pth file adds the folders of this environment. The
    checkout stays invisible. An editable installation adds it by a .pth file, and Python reads none in folders added this way.
    """
    folder = tmp_path_factory.mktemp("venv")
    venv.create(folder, symlinks=True)
    python = folder / "bin" / "python"
    output(*PIP, python, "install", "--no-deps", "--no-index", distributions.wheel, cwd=folder)
    site_packages = output(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).strip()
    dependencies = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    (Path(site_packages) / "dependencies.pth").write_text("\n".join(dependencies) + "\n")
    return python
