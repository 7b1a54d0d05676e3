"""The compiled token step of `largek.decode` (decode_step.c): built once with the machine's C compiler, then loaded.

torch starts some eighty kernels for a token of a tiny model, most of which take longer to start than to run. Where
there is no compiler, or LARGEK_COMPILED=no is set, torch samples: the same answers in distribution, slower.
"""

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import torch

SOURCE = Path(__file__).with_name("decode_step.c")
FLAGS = ["-O3", "-march=native", "-std=gnu11", "-shared", "-fPIC", "-fno-math-errno", "-fno-trapping-math"]
FLAGS += ["-fno-signed-zeros", "-fassociative-math"]  # sums may be vectorised
WIDTH, TILE = 16, 48  # as in decode_step.c
LARGEST = 512  # hidden size from which torch's products make up for the start of its kernels


class Model(ctypes.Structure):
    """The struct of that name in decode_step.c."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("layers", "heads", "kv_heads", "size", "hidden", "inner")),
        *(("vocabulary", ctypes.c_int64), ("mixed", ctypes.c_int64), ("eps", ctypes.c_float)),
        *((name, ctypes.c_void_p) for name in ("embed", "qkv", "out", "gate_up", "down", "head", "turn")),
    ]


def folder() -> Path:
    """Where compiled files are kept, for this user alone."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home, "largek")


@cache
def library() -> ctypes.CDLL | None:
    """The compiled step, made at the first call on a kind of processor; None where it cannot be made."""
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None or os.environ.get("LARGEK_COMPILED") == "no":
        return None
    try:  # -march=native: a home folder may be shared by machines of several kinds
        with open("/proc/cpuinfo") as file:
            kind = "".join(sorted({line for line in file if line.startswith(("flags", "Features", "model name"))}))
    except OSError:
        kind = platform.platform() + platform.processor()
    key = hashlib.sha256(b"\0".join([SOURCE.read_bytes(), repr((compiler, FLAGS)).encode(), kind.encode()])).hexdigest()
    path = folder() / f"decode-step-{key[:16]}.so"
    try:
        if not path.exists():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=path.parent) as made:
                command = [compiler, *FLAGS, "-o", f"{made}/step.so", str(SOURCE), "-lm"]
                subprocess.run(command, check=True, capture_output=True, timeout=120)
                os.replace(f"{made}/step.so", path)
        return ctypes.CDLL(str(path))
    except (OSError, subprocess.SubprocessError):
        return None


def serves(config) -> bool:
    """Whether the compiled step computes this model, and faster than torch: small, and on one thread."""
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    fits = config.hidden_size % WIDTH == 0 and size % (WIDTH // 2) == 0 and config.hidden_size < LARGEST
    return fits and torch.get_num_threads() == 1 and library() is not None


def padded(size: int) -> int:
    return -(-size // WIDTH) * WIDTH


def panels(weight: torch.Tensor) -> torch.Tensor:
    """(made, read) as panels of WIDTH columns of its transpose, (made / WIDTH, read, WIDTH), filled up with zeros."""
    made, read = weight.shape
    full = weight.new_zeros(padded(made), read)
    full[:made] = weight
    return full.view(-1, WIDTH, read).transpose(1, 2).contiguous()


class Compiled:
    """The weights of a `largek.decode.Llama` for the compiled step, and the caches of one batch of prompts."""

    def __init__(self, llama):
        self.llama, layers = llama, llama.layers
        names = ("qkv", "out", "gate_up", "down")
        self.weights = [[panels(getattr(layer, name)) for layer in layers] for name in names]
        self.head, self.embed = panels(llama.head), llama.embed.contiguous()
        self.vocabulary, self.mixed = padded(len(llama.head)), padded(layers[0].qkv.shape[0])
        self.hidden, self.inner = llama.embed.shape[1], layers[0].down.shape[1]
        self.tables = [(ctypes.c_void_p * len(each))(*(t.data_ptr() for t in each)) for each in self.weights]
        self.model = Model(
            *(len(layers), llama.heads, llama.kv_heads, llama.size, self.hidden, self.inner, self.vocabulary),
            *(self.mixed, llama.eps, self.embed.data_ptr(), *map(ctypes.addressof, self.tables)),
            self.head.data_ptr(),
        )
        self.library = library()

    def start(self, cache: list, lengths: torch.Tensor, rows: int, room: int, max_tokens: int) -> None:
        """Take the prompts' (keys, values), (prompts x kv heads, length, size) each, of every layer; caches for `rows`
        rows with `room` tokens of their own, at most `max_tokens` of which will be asked for."""
        angles = torch.arange(int(lengths.max()) + max_tokens)[:, None] * self.llama.speed
        self.turn = torch.stack([angles.cos(), angles.sin()], -1).contiguous()
        self.model.turn = self.turn.data_ptr()
        kv, size = self.llama.kv_heads, self.llama.size
        width = padded(int(lengths.max()))
        self.lengths, self.prompts, self.rows = lengths.contiguous(), len(lengths), rows
        keys, values = (torch.zeros(len(cache), self.prompts * kv, width, size) for _ in "kv")
        for number, pair in enumerate(cache):
            for into, read in zip((keys, values), pair):
                into[number, :, : read.shape[1]] = read
        blocks = keys.view(len(cache), self.prompts * kv, -1, WIDTH, size)
        self.prompt_keys, self.prompt_values, self.width = blocks.transpose(3, 4).contiguous(), values, width
        self.keys, self.values = self.caches(room)
        queries = self.llama.heads * size
        numbers = rows * self.hidden + TILE * (max(self.hidden, queries) + self.mixed + 3 * self.inner)
        self.buffer = torch.empty(numbers + 4 * WIDTH + width + 2 * padded(room))
        self.logits, self.facts = torch.empty(rows, self.vocabulary), torch.empty(rows, 2)

    def caches(self, room: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Memory for all rows' keys, in blocks of WIDTH places, and values; what is not used yet costs nothing."""
        shape, self.room = (self.rows, len(self.llama.layers), self.llama.kv_heads), padded(room)
        return torch.empty(*shape, self.room, self.llama.size), torch.empty(*shape, self.room, self.llama.size)

    def widen(self, room: int, rows: int) -> None:
        """Room for longer answers; the first `rows` rows keep what they hold."""
        old, seen = (self.keys, self.values), self.room
        self.keys, self.values = self.caches(room)
        self.keys[:rows, ..., :seen, :], self.values[:rows, ..., :seen, :] = old[0][:rows], old[1][:rows]
        self.buffer = torch.empty(len(self.buffer) + 2 * self.room)

    def move(self, source: torch.Tensor, target: torch.Tensor, seen: int) -> None:
        """Rows `source` go on in the places `target` too; their caches hold `seen` tokens."""
        heads = len(self.llama.layers) * self.llama.kv_heads
        self.library.move(
            ctypes.c_int64(len(source)), *map(pointer, (source, target, self.keys, self.values)),
            *map(ctypes.c_int64, (heads, self.llama.size, self.room, seen)),
        )  # fmt: skip

    def advance(self, token: torch.Tensor, group: torch.Tensor, step: int) -> torch.Tensor:
        """Logits, (rows, vocabulary), behind the new `token` of each row at place `step` of its answer to the prompt
        `group[row]`."""
        self.library.advance(
            ctypes.byref(self.model), *map(ctypes.c_int64, (len(token), step)),
            *map(pointer, (token, group, self.lengths, self.prompt_keys, self.prompt_values)),
            *map(ctypes.c_int64, (self.prompts, self.width)), pointer(self.keys), pointer(self.values),
            ctypes.c_int64(self.room), pointer(self.buffer), pointer(self.logits),
        )  # fmt: skip
        return self.logits[: len(token), : len(self.llama.head)]

    def draw(self, logits: torch.Tensor, row: torch.Tensor, uniform: torch.Tensor):
        """(token, log-probability, entropy) of each answer in `row`, drawn at temperature 1 by numbers in [0, 1). The
        logits are spent."""
        token, logprob, entropy = torch.empty_like(row), torch.empty(len(row)), torch.empty(len(row))
        self.library.draw(
            pointer(logits), *map(ctypes.c_int64, (len(logits), logits.stride(0), logits.shape[1])), pointer(row),
            ctypes.c_int64(len(row)), *map(pointer, (uniform, self.facts, token, logprob, entropy)),
        )  # fmt: skip
        return token, logprob, entropy


def pointer(t: torch.Tensor) -> ctypes.c_void_p:
    return ctypes.c_void_p(t.data_ptr())
