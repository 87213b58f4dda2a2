"""Fuzzing until a time budget is used: `make test-fuzz`, or `python -m tests.fuzz --minutes 4`.

Each round runs all tests of this folder with another seed, which it prints. A seed that fails is
added to tests/fuzz/seeds.txt, and later runs begin with the seeds of that file.
"""

import argparse
import secrets
import subprocess
import sys
import time
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
SEEDS = FOLDER / "seeds.txt"


def run_round(seed: int) -> bool:
    """Run all fuzz tests with a seed, and return whether they pass."""
    print(f"seed {seed}", flush=True)
    options = ["-q", "-n", "2", "-m", "", "--hypothesis-profile=fuzz", f"--hypothesis-seed={seed}"]
    command = [sys.executable, "-m", "pytest", *options, str(FOLDER)]
    return subprocess.run(command, cwd=FOLDER.parent.parent).returncode == 0


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--minutes", type=float, default=4.0, help="time budget (%(default)s)")
    parser.add_argument("--seed", type=int, help="run only the round of this seed")
    options = parser.parse_args()
    end = time.monotonic() + 60 * options.minutes
    known = [int(line) for line in SEEDS.read_text().split()] if SEEDS.exists() else []
    waiting = [options.seed] if options.seed is not None else known
    rounds = 0
    while waiting or (options.seed is None and (time.monotonic() < end or not rounds)):
        seed = waiting.pop(0) if waiting else secrets.randbelow(2**32)
        rounds += 1
        if not run_round(seed):
            if seed not in known and options.seed is None:
                with SEEDS.open("a") as file:
                    file.write(f"{seed}\n")
            sys.exit(f"seed {seed} fails: python -m tests.fuzz --seed {seed}")
    print(f"{rounds} rounds, all passed")


if __name__ == "__main__":
    main()
