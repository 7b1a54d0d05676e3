"""Worker processes that are used again and again, and killed and replaced when a call runs too long or eats memory.

A call is limited by its CPU time, which the kernel counts, so that a verdict does not depend on what else the machine
does; time on the clock is limited only as a backstop. This is not `multiprocessing` or a library on top of it, since
those import the main script again in every worker: a script without `if __name__ == "__main__"`, or one read from
standard input, would get no workers, and a training script would get workers full of torch.
"""

import atexit
import gc
import math
import os
import pickle
import queue
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection, Pipe

MEMORY = 2 * 1024**3  # address space of a worker, bytes
BACKSTOP = 20  # limit of time on the clock, in limits of CPU time
PREPARATION = 600.0  # limit of time on the clock for what a call prepares, seconds


def cores() -> int:
    """CPUs that this process may run on: in a job of a cluster, or under taskset, fewer than the machine has."""
    return len(os.sched_getaffinity(0))


def start(module: str, environment: dict[str, str], **streams) -> tuple[subprocess.Popen, Connection]:
    """A Python process whose `module` of this largek serves the other end of the pipe, by its function `serve`."""
    pipe, theirs = Pipe()
    # This largek, whatever else the path holds: with a verifier of one's own it begins with the working directory.
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    code = f"import sys; sys.path.insert(0, {root!r}); import {module}; del sys.path[0]; "
    code += f"{module}.serve({theirs.fileno()})"
    path = {"PYTHONPATH": os.pathsep.join(os.path.abspath(folder) for folder in sys.path)}
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", code],
        env=os.environ | path | environment,
        pass_fds=[theirs.fileno()],
        stdin=subprocess.DEVNULL,
        **streams,
    )
    theirs.close()
    return process, pipe


class Worker:
    """A Python process that runs one call after another. It has imported only this module until a call imports more."""

    def __init__(self):
        # Sets of texts have the same order in all workers; libraries start no threads, which need address space.
        fixed = {"PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.process, self.pipe = start("largek.workers", fixed, **silent)

    def receive(self, seconds: float):
        """The worker's next message. Raises EOFError or OSError if it died, TimeoutError (an OSError) if it hangs."""
        if not self.pipe.poll(seconds):
            raise TimeoutError
        return self.pipe.recv()

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        self.pipe.close()


def serve(descriptor: int) -> None:
    """The worker's side: runs what arrives, until the other side is closed."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, resource.getrlimit(resource.RLIMIT_AS)[1]))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that waits
    gc.set_threshold(100_000)  # sympy makes many objects that live on; the usual 700 looks for rubbish all the time
    pipe = Connection(descriptor)
    with suppress(EOFError, OSError):
        while True:
            message = pipe.recv_bytes()
            try:
                function, prepare, arguments, seconds = pickle.loads(message)  # imports the functions' modules
                if prepare:
                    prepare(*arguments)
            except Exception as error:
                pipe.send(f"{type(error).__name__}: {error}")
                continue
            pipe.send(None)  # ready: from here on the time counts
            pipe.send(limited(function, arguments, seconds))


def limited(function: Callable, arguments: tuple, seconds: float):
    """What the function returns, None where it raises. Past the limit the kernel kills this process (SIGXCPU)."""
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(time.process_time() + seconds), hard))
    try:
        return function(*arguments)
    except MemoryError:
        raise  # ends this process, so that the next call begins with all of its memory
    except Exception:  # whatever a parser of hostile text may raise
        return None
    finally:
        resource.setrlimit(resource.RLIMIT_CPU, (hard, hard))


def allow(seconds: float) -> None:
    """In a worker: so much CPU time from now on, and all the memory there is, for code of the user's own."""
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(time.process_time() + seconds), hard))
    resource.setrlimit(resource.RLIMIT_AS, (resource.getrlimit(resource.RLIMIT_AS)[1],) * 2)


_free: queue.LifoQueue = queue.LifoQueue()
_most = cores()  # workers at a time


def _fill() -> None:
    """Workers that wait for a call; None is one that is yet to be started. Last in, first out, so that no more are
    started than there are calls at a time. A forked child calls this too: two processes must not read from one pipe."""
    global _free
    _free = queue.LifoQueue()
    for _ in range(_most):
        _free.put(None)


def _stop() -> None:
    with suppress(queue.Empty):
        while True:
            if worker := _free.get_nowait():
                worker.stop()


def limit(number: int) -> None:
    """From now on at most so many workers at a time. Between calls: if it was another number, those are stopped."""
    global _most
    if number != _most:
        _stop()
        _most = number
        _fill()


def most() -> int:
    """How many workers there may be at a time: one a core, if nobody set another limit."""
    return _most


_fill()
os.register_at_fork(after_in_child=_fill)
atexit.register(_stop)


def call(function: Callable, *arguments, seconds: float, prepare: Callable | None = None):
    """What `function(*arguments)` returns in a worker; None if it takes more than `seconds` of CPU time (rounded up) or
    too much memory, dies or raises: the functions called here judge text that anyone may have written.

    `prepare(*arguments)` runs before it in the same worker and without that limit: for imports and for what the worker
    keeps; RuntimeError says what it raised. Both are functions of modules that can be imported. Any thread may call; a
    call waits while there are as many as there may be.
    """
    worker, ready = _free.get(), False
    try:
        if worker is None or worker.process.poll() is not None:
            worker = Worker()
        worker.pipe.send((function, prepare, arguments, seconds))
        if problem := worker.receive(PREPARATION):
            raise RuntimeError(problem)
        ready = True
        result = worker.receive(BACKSTOP * seconds)
    except BaseException as error:  # Ctrl-C too: what the worker says later must not be read as the next call's result
        if worker:
            worker.stop()
        _free.put(None)
        if not isinstance(error, EOFError | OSError):
            raise
        if not ready:
            raise RuntimeError(f"a worker process died before {function.__name__} began") from None
        return None
    _free.put(worker)
    return result
