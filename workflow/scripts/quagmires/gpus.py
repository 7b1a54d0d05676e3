"""The GPUs of this machine."""

import os
import subprocess

from largek.common import InputError


def devices() -> list[str]:
    """The devices of this machine: those of CUDA_VISIBLE_DEVICES if it is set, else all that nvidia-smi lists. Raises
    InputError if there are none."""
    if (given := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        found = [name for name in given.split(",") if name not in ("", "-1", "NoDevFiles")]  # the last is Slurm's
        why = f"CUDA_VISIBLE_DEVICES={given} names none"
    else:
        command = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise InputError(f"no GPU: CUDA_VISIBLE_DEVICES is not set, {type(error).__name__} of nvidia-smi") from None
        found = [] if done.returncode else done.stdout.split()
        why = f"nvidia-smi says {next(iter((done.stdout.strip() or done.stderr.strip()).splitlines()), 'nothing')!r}"
    if not found:
        raise InputError(f"no GPU: {why}")
    return found
