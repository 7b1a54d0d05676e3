"""The GPUs of this machine."""

import os
import shutil
import subprocess

from largek.common import InputError


def devices() -> list[str]:
    """The devices of this machine. Raises InputError if there are none."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    if given:
        return given.split(",")
    if not shutil.which("nvidia-smi"):
        raise InputError("no GPU: neither nvidia-smi nor CUDA_VISIBLE_DEVICES is there")
    query = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
    return subprocess.run(query, capture_output=True, text=True, check=True).stdout.split()
