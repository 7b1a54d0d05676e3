"""Tricks by which a program starts and ends sooner. Nothing that is computed depends on them; a program works the same
without this module. Only the standard library is imported here.

What each saves, in seconds of CPU of a job (torch 2.13, transformers 5.19; docs/log.md):

    without_collector    2 of 7 of a short training: the garbage collector does not walk over what libraries have made
    quick_imports        0.5 of 2.6 of the imports of a training: that, and what transformers and TRL look for twice
    without_pandas       0.3 of 0.7 of `largek grade`: pyarrow does not load pandas to see that it is not needed
    quick_exit, leave    0.5 with torch: the interpreter does not take apart what the process no longer needs

Beside these, modules are imported where they are needed and not at the top: a command of largek imports itself alone
(`largek --help` takes 0.04 s), pandas, scipy, tqdm, torch and transformers come with what uses them, and
`largek.quick_models` reads plain models and tokenizers without transformers (1.2 of 3.1 of `largek sample`, 2.4 of 4.3
of `largek loss`).

Where a GPU may be used all of it is off, but for `without_pandas` (pyarrow computes on no GPU): loading a model there
takes minutes and not seconds, and drivers, collectives and vLLM's processes are to be taken down as they wish.
"""

import atexit
import contextlib
import functools
import gc
import os
import sys
from collections.abc import Iterator

DRIVERS = ("/dev/nvidiactl", "/dev/kfd")  # there where a kernel has a driver of NVIDIA's or AMD's GPUs


def may_use_gpu() -> bool:
    """Whether this process may come to use a GPU, as far as one can know without torch: see `largek.models.device`."""
    wanted, visible = os.environ.get("LARGEK_DEVICE"), os.environ.get("CUDA_VISIBLE_DEVICES")
    if wanted in ("cpu", "cuda"):
        return wanted == "cuda"
    if visible is not None:
        return any(name not in ("", "-1", "NoDevFiles") for name in visible.split(","))
    return any(map(os.path.exists, DRIVERS))


@contextlib.contextmanager
def without_collector() -> Iterator[None]:
    """For the time in which libraries are imported and models loaded. What they make stays, and the garbage collector
    would walk over it again and again, last of all when the process ends."""
    if may_use_gpu():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


@contextlib.contextmanager
def hidden(package: str) -> Iterator[None]:
    """As if `package` were not installed, for libraries that load it on the chance that they will need it."""
    if package in sys.modules:
        yield
        return
    sys.modules[package] = None
    try:
        yield
    finally:
        del sys.modules[package]


@contextlib.contextmanager
def quick_imports() -> Iterator[None]:
    """`without_collector` for what trains. transformers and TRL each read the file lists of all installed packages;
    transformers reads the sources of all its models twice, since its cache holds 128 of their 500 folders, and loads
    scipy, if it is there, for the loss of object detection."""
    if may_use_gpu():
        yield
        return
    from importlib import metadata  # 0.02 s, which other commands need not spend

    read, bounded = metadata.packages_distributions, functools.lru_cache

    def lru_cache(*args, **kwargs):
        if args and getattr(args[0], "__name__", None) == "create_import_structure_from_path":
            return functools.cache(*args)
        return bounded(*args, **kwargs)

    metadata.packages_distributions, functools.lru_cache = functools.cache(read), lru_cache
    try:
        with without_collector(), hidden("scipy"):
            yield
    finally:
        metadata.packages_distributions, functools.lru_cache = read, bounded


class NoPandas:
    """A finder of modules by which pandas is not installed."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == "pandas":
            raise ModuleNotFoundError(name)


def without_pandas() -> None:
    """For commands that need no pandas. pyarrow loads it with the first list that it is given, to see if that is a
    Series; if pandas is not there then, it does not look again until somebody asks for a table of pandas."""
    import pyarrow as pa

    sys.meta_path.insert(0, NoPandas)
    try:
        pa.array([])
    finally:
        sys.meta_path.remove(NoPandas)


def leave() -> None:
    """End this process with status 0, and nothing is taken apart; on a GPU this only returns."""
    sys.stdout.flush()
    sys.stderr.flush()
    if not may_use_gpu():
        os._exit(0)


@contextlib.contextmanager
def quick_exit() -> Iterator[None]:
    """For a whole program. If it ends well, the interpreter does not take apart all that libraries have made. What they
    do at exit themselves they still do: they ask for it later and so come first."""
    done = False
    atexit.register(lambda: leave() if done else None)
    yield
    done = True
