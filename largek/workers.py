"""Worker processes that are used again and again, and killed and replaced when a call hangs or eats memory.

The pool (pebble's) lives as long as the process; any thread may call.
"""

import atexit
import multiprocessing
import os
import resource
import threading
from collections.abc import Callable
from concurrent.futures import TimeoutError

MEMORY = 2 * 1024**3  # address space of a worker, bytes

_lock = threading.Lock()
_pool = None


def _limit() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def pool():
    """The pool, started on first use with as many workers as there are cores."""
    global _pool
    with _lock:
        if _pool is None:
            from pebble import ProcessPool

            context = multiprocessing.get_context("forkserver")
            _pool = ProcessPool(max_workers=os.cpu_count() or 1, initializer=_limit, context=context)
            atexit.register(_pool.stop)
    return _pool


def call(function: Callable, *arguments, seconds: float):
    """What `function` returns in a worker; None if it takes too long, too much memory, or dies. Errors of its own count
    as None too: the functions called here judge text that anyone may have written."""
    from pebble import ProcessExpired

    try:
        return pool().schedule(function, args=arguments, timeout=seconds).result()
    except (TimeoutError, ProcessExpired, MemoryError, RecursionError):
        return None
    except Exception:  # whatever a parser of hostile text may raise
        return None
