"""What clusters are made of, fetched once into build/clusters: Flink, a job server, worker Pythons.

python -m tests.clusters.fetched      fetches what tests need and ends with 1 if it cannot
"""

import hashlib
import shutil
import subprocess
import sys
import venv
import zipfile
from importlib.metadata import version
from pathlib import Path
from typing import Final

from tests.clusters.runs import BUILD, ROOT, main_of, say
from tests.clusters.services import FailedError

FLINK_VERSION: Final = "2.2.1"
_JOB_SERVER: Final = f"beam-runners-flink-{FLINK_VERSION.rpartition('.')[0]}-job-server"
_COPY: Final = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy"


def flink_home() -> Path:
    """Returns a folder with Flink as it is unpacked, from the two packages of PyPI that hold it."""
    home = BUILD / f"flink-{FLINK_VERSION}"
    if home.exists():
        return home
    _fetch_flink()
    unpacked = BUILD / "unpacked"
    shutil.rmtree(unpacked, ignore_errors=True)
    for wheel in sorted((BUILD / "downloads").glob("apache_flink*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(unpacked)
    for script in (unpacked / "pyflink" / "bin").glob("*.sh"):
        script.chmod(0o755)
    (unpacked / "pyflink").rename(home)
    shutil.rmtree(unpacked)
    return home


def _fetch_flink() -> None:
    # Their dependencies are those of Flink's Python API, of which nothing is used.
    pip = sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"
    packages = f"apache-flink=={FLINK_VERSION}", f"apache-flink-libraries=={FLINK_VERSION}"
    _call(*pip, f"--dest={BUILD / 'downloads'}", *packages)


def job_server() -> Path:
    """Returns Beam's job server for that Flink, from Maven."""
    beam = version("apache-beam")
    jar = BUILD / "downloads" / f"{_JOB_SERVER}-{beam}.jar"
    if not jar.exists():
        artifact = f"-Dartifact=org.apache.beam:{_JOB_SERVER}:{beam}"
        _call("mvn", "--batch-mode", "-q", "-U", _COPY, artifact, f"-DoutputDirectory={jar.parent}")
    return jar


def worker_python() -> Path:
    """Returns the Python of an environment that has the light core and nothing else."""
    python = _make_environment("worker")
    pip = python, "-m", "pip", "install", "--quiet", "--no-index", f"--find-links={wheels()}"
    _call(*pip, ROOT)
    # Anew even if its version is the same: it may have changed since.
    _call(*pip, "--no-deps", "--force-reinstall", ROOT)
    return python


def wheels() -> Path:
    """Returns a folder with all that the light core needs, in the pinned versions."""
    sources = [(ROOT / name).read_bytes() for name in ("setup.py", "constraints.txt")]
    digest = hashlib.sha256(b"".join([*sources, sys.version.encode()])).hexdigest()
    folder = BUILD / f"wheels-{digest[:16]}"
    if not folder.exists():
        made = BUILD / "wheels"
        shutil.rmtree(made, ignore_errors=True)
        pip = sys.executable, "-m", "pip", "wheel", "--quiet", f"--wheel-dir={made}"
        _call(*pip, "-c", ROOT / "constraints.txt", ROOT, "setuptools")
        for ours in made.glob("chinese_t5s-*"):  # others install what they were given
            ours.unlink()
        made.rename(folder)
    return folder


def bare_python() -> Path:
    """Returns the Python of an environment that has nothing but pip."""
    return _make_environment("bare")


def _make_environment(name: str) -> Path:
    folder = BUILD / name
    if not (folder / "bin" / "pip").exists():
        venv.create(folder, with_pip=True, clear=True)
    return folder / "bin" / "python"


def _call(*command: str | Path) -> None:
    words = [str(word) for word in command]
    try:
        done = subprocess.run(words, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    except FileNotFoundError as error:
        raise FailedError(f"{words[0]} was not found; install it") from error
    if done.returncode != 0:
        told = (done.stdout + done.stderr).strip()[-1500:]
        raise FailedError(f"{' '.join(words)}\nended with {done.returncode}\n{told}")


def _fetch_all() -> None:
    for fetch in (wheels, flink_home, job_server):
        say(f"{fetch()}")


if __name__ == "__main__":
    sys.exit(main_of(_fetch_all))
