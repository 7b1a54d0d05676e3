"""Run a command on GPUs that no other such command has.

Waits until enough devices are free and becomes the command, with CUDA_VISIBLE_DEVICES set to them. A lease is a lock
on a file, which the kernel gives back when the command and its children are gone, however they end. Devices are those
of CUDA_VISIBLE_DEVICES if it is set, else all that nvidia-smi lists.

Of the commands that wait for the same devices one at a time looks for free ones, so that one that wants several is not
passed by those that want one.

Slurm numbers the devices of each job from 0, so there leases are among the commands of one job, be it the only one or
one of those that a Snakemake started in an allocation.

    python workflow/scripts/lease_gpus.py --gpus 1 -- python train.py
"""

import argparse
import fcntl
import getpass
import hashlib
import os
import tempfile
import time
from pathlib import Path

from largek.common import InputError, exit_on_bad_input
from quagmires.gpus import devices

PAUSE = 0.5  # seconds between looks


def locked(path: Path, wait: bool = False) -> int | None:
    """A file with this process's lock on it; None if another has the lock and this one does not wait."""
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        os.close(file)
        return None
    return file


def lease(wanted: int, found: list[str], folder: Path) -> dict[str, int]:
    """Locks on `wanted` devices, as open files by device. All or none: whoever holds a part would block the others."""
    folder.mkdir(parents=True, exist_ok=True)
    names = {device: device.replace("/", "-") for device in found}  # a part of a GPU may be called MIG-GPU-.../7/0
    queue = folder / f"queue-{hashlib.sha256(','.join(sorted(found)).encode()).hexdigest()[:16]}.lock"
    message = f"waiting for {wanted} of the GPUs {', '.join(found)}"
    turn = locked(queue)
    told = turn is None
    if told:
        print(message, flush=True)
        turn = locked(queue, wait=True)
    while True:
        held: dict[str, int] = {}
        for device in found:
            if (file := locked(folder / f"gpu-{names[device]}.lock")) is not None:
                held[device] = file
            if len(held) == wanted:
                os.close(turn)
                return held
        for file in held.values():
            os.close(file)
        if not told:
            print(message, flush=True)
            told = True
        time.sleep(PAUSE)


def lease_folder(job: str | None) -> Path:
    """Where the locks of this user lie on this machine, within a job of Slurm those of the job."""
    name = f"quagmires-gpus-{getpass.getuser()}"
    return Path(tempfile.gettempdir(), f"{name}-job-{job}" if job else name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gpus", required=True, type=int)
    parser.add_argument("command", nargs="+")
    args = parser.parse_args()
    with exit_on_bad_input("lease_gpus"):
        found, job = devices(), os.environ.get("SLURM_JOB_ID")
        if args.gpus > len(found):
            raise InputError(f"--gpus {args.gpus}: there are only {len(found)} ({', '.join(found)})")
        held = lease(args.gpus, found, lease_folder(job))
        for file in held.values():
            os.set_inheritable(file, True)
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(held)
        os.execvp(args.command[0], args.command)


if __name__ == "__main__":
    main()
