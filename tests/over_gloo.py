"""A program with DeepSpeed on CPUs whose processes speak through gloo: `torchrun ... over_gloo.py PROGRAM OPTIONS...`.

On a CPU DeepSpeed would first compile collectives of its own, through shared memory; that takes a minute, and GPUs have
nothing to do with them.
"""

import runpy
import sys
from pathlib import Path

import deepspeed.ops

deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
del sys.argv[0]
sys.path[0] = str(Path(sys.argv[0]).parent)
runpy.run_path(sys.argv[0], run_name="__main__")
