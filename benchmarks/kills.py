"""Kills runs at random moments and proves that the next run makes up for it.

    python -m benchmarks.kills CORPUS VOCAB --moments=30 --victim=group|worker

Each time a run of its own is started and, at a moment drawn evenly over the length of an
undisturbed run, its whole process group gets SIGKILL, or one of its worker processes does. The same
command is then given again. It must end well, with the bytes of the undisturbed run and no
temporary file left. Linux only.
"""

import argparse
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def main() -> int:
    """Returns 0 if every killed run was made up for."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("corpus")
    parser.add_argument("vocab")
    parser.add_argument("--moments", type=int, default=30)
    parser.add_argument("--victim", choices=("group", "worker"), default="group")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    moments = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory(dir=".") as folder:
        command = [
            *(sys.executable, "-m", "pipeline", f"--input_dir={arguments.corpus}"),
            *(f"--vocab={arguments.vocab}", f"--output_dir={folder}/out", "--num_workers=2"),
        ]
        started = time.monotonic()
        subprocess.run(command, check=True, capture_output=True)
        seconds = time.monotonic() - started
        expected = digest(Path(folder, "out"))
        print(f"undisturbed: {seconds:.1f} s, {len(expected)} files")
        failures = 0
        for number in range(arguments.moments):
            shutil.rmtree(Path(folder, "out"))
            moment = moments.random() * seconds
            told = run_and_kill(command, moment, arguments.victim)
            again = subprocess.run(command, capture_output=True, text=True)
            left = [path.name for path in Path(folder, "out").rglob("*.tmp")]
            right = again.returncode == 0 and digest(Path(folder, "out")) == expected and not left
            failures += not right
            kept = [
                line.rpartition("/")[2] for line in again.stderr.splitlines() if "before" in line
            ]
            print(
                f"{number + 1:3} killed at {moment:5.1f} s ({told}); then "
                f"{'equal' if right else f'WRONG {left} {again.stderr[-500:]}'}; "
                f"{'; '.join(kept) or 'nothing was done before'}",
                flush=True,
            )
    print(f"{arguments.moments - failures} of {arguments.moments} made up for")
    return 1 if failures else 0


def run_and_kill(command: list[str], moment: float, victim: str) -> str:
    """Starts a run, kills it or a worker of it, waits for its end; returns how it ended."""
    process = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
        text=True,
    )
    try:
        process.wait(moment)
    except subprocess.TimeoutExpired:
        if victim == "group":
            os.killpg(process.pid, signal.SIGKILL)
        else:
            kill_one_worker(process.pid)
    _, told = process.communicate()
    lines = [line for line in told.splitlines() if line.startswith("pipeline:")]
    return f"exit {process.returncode}{': ' + lines[0] if lines else ''}"


def kill_one_worker(launcher: int) -> None:
    """Kills the youngest spawned worker of a launcher, if it has started one."""
    children = Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()
    for child in reversed(children):
        if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes():
            os.kill(int(child), signal.SIGKILL)
            return


def digest(folder: Path) -> dict[str, str]:
    """Returns the digest of every output but run.json, by name."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "run.json"
    }


if __name__ == "__main__":
    sys.exit(main())
