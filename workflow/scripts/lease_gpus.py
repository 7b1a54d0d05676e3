"""Run a command on GPUs that no other such command has.

Waits until enough devices are free and becomes the command, with CUDA_VISIBLE_DEVICES set to them. A lease is a lock
on a file, which the kernel gives back when the command and its children are gone, however they end. Devices are those
of CUDA_VISIBLE_DEVICES if it is set, else all that nvidia-smi lists. In a Slurm job, which has devices of its own, the
command runs at once.

    python workflow/scripts/lease_gpus.py --gpus 1 -- python train.py
"""

import argparse
import fcntl
import getpass
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from largek.common import InputError, exit_on_bad_input

PAUSE = 0.5  # seconds between looks


def devices() -> list[str]:
    """The devices of this machine. Raises InputError if there are none."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    if given:
        return given.split(",")
    if not shutil.which("nvidia-smi"):
        raise InputError("no GPU: neither nvidia-smi nor CUDA_VISIBLE_DEVICES is there")
    query = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
    return subprocess.run(query, capture_output=True, text=True, check=True).stdout.split()


def lease(wanted: int, found: list[str], folder: Path) -> dict[str, int]:
    """Locks on `wanted` devices, as open files by device. All or none: whoever holds a part would block the others."""
    folder.mkdir(parents=True, exist_ok=True)
    told = False
    while True:
        held: dict[str, int] = {}
        for device in found:
            file = os.open(folder / f"gpu-{device}.lock", os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                held[device] = file
            except BlockingIOError:
                os.close(file)
            if len(held) == wanted:
                return held
        for file in held.values():
            os.close(file)
        if not told:
            print(f"waiting for {wanted} of the GPUs {', '.join(found)}", flush=True)
            told = True
        time.sleep(PAUSE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gpus", required=True, type=int)
    parser.add_argument("command", nargs="+")
    args = parser.parse_args()
    with exit_on_bad_input("lease_gpus"):
        if "SLURM_JOB_ID" not in os.environ:
            found = devices()
            if args.gpus > len(found):
                raise InputError(f"--gpus {args.gpus}: there are only {len(found)} ({', '.join(found)})")
            held = lease(args.gpus, found, Path(tempfile.gettempdir(), f"quagmires-gpus-{getpass.getuser()}"))
            for file in held.values():
                os.set_inheritable(file, True)
            os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(held)
        os.execvp(args.command[0], args.command)


if __name__ == "__main__":
    main()
