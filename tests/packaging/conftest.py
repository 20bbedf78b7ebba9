"""The project's distributions, built once, and a Python that has the wheel installed instead of the checkout."""

import sys
import venv
from dataclasses import dataclass
from pathlib import Path

import pytest
from commands import PIP, ROOT, done


@dataclass(frozen=True)
class Distributions:
    """A source distribution, the wheel made of it, and the wheel made of the checkout."""

    sdist: Path
    wheel: Path
    direct: Path


@pytest.fixture(scope="session")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Distributions:
    """What `python -m build` makes of the checkout, by the backend that is installed."""
    both, direct = tmp_path_factory.mktemp("dist"), tmp_path_factory.mktemp("direct")
    build = (sys.executable, "-m", "build", "--no-isolation")
    done(*build, "--outdir", both, ROOT, cwd=both)
    done(*build, "--wheel", "--outdir", direct, ROOT, cwd=direct)
    (sdist,), (wheel,), (alone,) = both.glob("*.tar.gz"), both.glob("*.whl"), direct.glob("*.whl")
    return Distributions(sdist, wheel, alone)


@pytest.fixture(scope="session")
def python(distributions: Distributions, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment in which the wheel alone is installed, and which sees the dependencies of this one.

    They are gigabytes, so they are used where they are: a .pth file names their folders. The checkout is not among them: an
    editable installation adds it by a .pth file of its own, and those of such folders are not read.
    """
    place = tmp_path_factory.mktemp("venv")
    venv.create(place, symlinks=True)
    python = place / "bin" / "python"
    done(*PIP, python, "install", "--no-deps", "--no-index", distributions.wheel, cwd=place)
    own = done(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=place).strip()
    seen = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    (Path(own) / "dependencies.pth").write_text("\n".join(seen) + "\n")
    return python
