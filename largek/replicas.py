"""Sampling by several processes side by side, each with devices of its own: an engine that is made of engines.

The process that has the store open hands out the chunks and writes what comes back, so a store has one writer as ever.
A chunk has its own seed and its own place among the files, so what is in the store does not depend on who made it.
"""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing.connection import Connection, wait

from largek.chunks import Answer, Chunk
from largek.common import InputError
from largek.engines import load_engine
from largek.models import device
from largek.quick import leave
from largek.workers import start

VISIBLE = "CUDA_VISIBLE_DEVICES"


class Replicas:
    """`sampler` is the engine in this process, which has said what settings there are and samples nothing;
    `arguments` are those of `largek.sample.load_engine`, with which each replica makes one of its own."""

    def __init__(self, sampler, number: int, gpus: int, arguments: tuple):
        self.chat_template, self.dtype, self.arguments = sampler.chat_template, sampler.dtype, arguments
        self.devices = devices(number, gpus)

    def sample(self, chunks: list[Chunk], settings: dict, batch_size: int) -> Iterator[tuple[Chunk, list[Answer]]]:
        """Each chunk with its answers, as they finish. Chunks are dealt out in turn. A replica that dies keeps none of
        the others from doing their share; InputError says so at the end."""
        shares = [chunks[first :: len(self.devices)] for first in range(len(self.devices))]
        chunk_of, running, died = {chunk.seed: chunk for chunk in chunks}, {}, []
        try:
            for number, (share, visible) in enumerate(zip(shares, self.devices)):
                if share:
                    process, pipe = start("largek.replicas", {} if visible is None else {VISIBLE: visible})
                    running[pipe] = number, process
            for pipe, (number, _) in running.items():
                with suppress(OSError):  # it has died, which is noticed below
                    pipe.send((self.arguments, shares[number], settings, batch_size))
            while running:
                for pipe in wait(list(running)):
                    number, process = running[pipe]
                    try:
                        message = pipe.recv()
                    except (EOFError, OSError):
                        died.append(self.obituary(number, process.wait()))
                        print(f"{settings['name']}: {died[-1]}; the others go on", file=sys.stderr, flush=True)
                    else:
                        if isinstance(message, str):
                            raise InputError(message)
                        if message is not None:
                            yield chunk_of[message[0]], message[1]
                            continue
                        process.wait()
                    del running[pipe]
                    pipe.close()
        finally:
            for _, process in running.values():
                process.kill()
                process.wait()
        if died:
            rest = "what was finished is stored, and the same command samples the rest"
            raise InputError(f"{settings['name']}: {'; '.join(died)}; {rest}")

    def obituary(self, number: int, code: int) -> str:
        """What became of a replica."""
        where = f" ({VISIBLE}={self.devices[number]})" if self.devices[number] else ""
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
        return f"replica {number + 1} of {len(self.devices)}{where} {how}"


def devices(number: int, gpus: int) -> list[str | None]:
    """What each of so many replicas sees: `gpus` devices of those that this process sees, and none twice; None leaves
    it at what there is, on a CPU. Raises InputError if there are too few."""
    named = [name for name in os.environ.get(VISIBLE, "").split(",") if name not in ("", "-1", "NoDevFiles")]
    if not named:
        if device() == "cpu":
            return [None] * number
        import torch

        named = [str(each) for each in range(torch.cuda.device_count())]
    if len(named) < number * gpus:
        each = f" of {gpus} devices each" if gpus > 1 else ""
        raise InputError(f"--replicas {number}{each}: expected {number * gpus} devices, found {len(named)}")
    return [",".join(named[first * gpus : (first + 1) * gpus]) for first in range(number)]


def serve(descriptor: int) -> None:
    """The replica's side: samples its share, until that is done or the other side is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that has the store
    pipe = Connection(descriptor)
    arguments, chunks, settings, batch_size = pipe.recv()
    threading.Thread(target=leave_with, args=(pipe,), daemon=True).start()
    with suppress(BrokenPipeError, ConnectionResetError):
        try:
            for chunk, answers in load_engine(*arguments).sample(chunks, settings, batch_size):
                pipe.send((chunk.seed, answers))
        except InputError as error:
            pipe.send(str(error))
        else:
            pipe.send(None)
    leave()


def leave_with(pipe: Connection) -> None:
    """End this process when the other side is gone, even by SIGKILL: nobody would store what it samples."""
    with suppress(EOFError, OSError):
        pipe.recv_bytes()
    os._exit(1)
