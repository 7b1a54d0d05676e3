"""What every command shares: errors for the user, files that are whole or absent, seeds, progress."""

import contextlib
import hashlib
import json
import math
import os
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

INTERRUPTED = 130  # exit status after Ctrl-C


class InputError(Exception):
    """Wrong input from the user. Commands print it as one line and exit with status 2."""


class DamagedStore(InputError):
    """A file of a store, or beside it, is not what largek has written; the message names it and says what to do."""


def damaged(path: object, why: object, remedy: str) -> DamagedStore:
    """The error about a file that cannot be read: `why` in words, or an exception, whose first line will do."""
    return DamagedStore(f"{path}: damaged ({first_line(why):.200}); {remedy}")


def first_line(error: object) -> str:
    """The first line of what an error says; its kind where it says nothing."""
    return (str(error).splitlines() or [type(error).__name__])[0]


@contextlib.contextmanager
def exit_on_bad_input(program: str) -> Iterator[None]:
    """Turn InputError and a full disk into one line on standard error and exit status 2, and Ctrl-C into one line."""
    try:
        yield
    except InputError as error:
        sys.exit(_complain(program, error))
    except KeyboardInterrupt as stopped:  # and SIGTERM where a command heeds it
        print(f"{program}: {str(stopped) or 'stopped'}", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except BrokenPipeError:  # whoever read the output has seen enough, as `head` has
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the flush at exit complains
        sys.exit(1)
    except OSError as error:
        if error.filename is None and error.strerror is None:
            raise
        sys.exit(_complain(program, f"{error.filename or 'disk'}: {error.strerror}"))


def _complain(program: str, message: object) -> int:
    print(f"{program}: error: {one_line(message)}", file=sys.stderr)
    return 2


def one_line(message: object) -> str:
    """What is printed as one line stays one, whatever a name in it holds: ends of lines, or orders to a terminal."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in str(message))


def quiet(so: bool) -> contextlib.AbstractContextManager:
    """Where `so`, what is printed for people goes to standard error: standard output is for a machine."""
    return contextlib.redirect_stdout(sys.stderr) if so else contextlib.nullcontext()


@contextlib.contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its name only when the block ends without an exception."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())  # else a power cut may leave the name with nothing in it
        os.replace(temporary, path)
    except OSError as error:
        if error.strerror and error.filename in (None, str(temporary)):  # of a full disk: say what was being written
            raise OSError(error.errno, error.strerror, str(path)) from None
        raise
    finally:
        temporary.unlink(missing_ok=True)


def to_json(value: object, **options) -> str:
    """As `json.dumps`, with null in place of infinity and NaN: JSON has neither, and other programs refuse them."""
    try:
        return json.dumps(value, allow_nan=False, **options)
    except ValueError:
        return json.dumps(finite(value), allow_nan=False, **options)


def finite(value: object) -> object:
    """The value with None in place of numbers that are not finite."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: finite(each) for key, each in value.items()}
    return [finite(each) for each in value] if isinstance(value, list | tuple) else value


def write_json(path: str | Path, value: object) -> None:
    with whole_file(path) as temporary:
        temporary.write_text(to_json(value, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def write_csv(path: str | Path, table, digits: int | None = 6) -> None:
    """Write a DataFrame without its index. Six digits are the same on every machine, whatever it does to the last bits;
    None writes them all."""
    with whole_file(path) as temporary:
        table.to_csv(temporary, index=False, float_format=digits and f"%.{digits}g")


def records(table) -> list[dict]:
    """Rows of a DataFrame for JSON, which has neither infinity nor NaN: null stands for both."""
    return finite(table.to_dict("records"))


def write_jsonl(path: str | Path, rows: Iterable[dict]) -> None:
    with whole_file(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(to_json(row) + "\n")


def read_jsonl(path: str | Path, fields: Iterable[str] = ()) -> list[dict]:
    """The rows of a JSONL file; lines without anything are skipped. Raises InputError naming file, line and field where
    one is broken or missing."""
    return list(stream_jsonl(path, fields))


def stream_jsonl(path: str | Path, fields: Iterable[str] = ()) -> Iterator[dict]:
    """As `read_jsonl`, one row after another: a file of many gigabytes takes the memory of its longest line."""
    number = 0
    try:
        with Path(path).open(encoding="utf-8-sig") as file:  # a byte order mark is no part of the text
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield row_of(line, f"{path}, line {number}", fields)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except UnicodeDecodeError as error:
        where = f"{error.reason} behind line {number}"
        raise InputError(f"{path}: expected lines of JSON in UTF-8, found no text in it ({where})") from None


def row_of(line: str, where: str, fields: Iterable[str]) -> dict:
    """One line of a JSONL file. Raises InputError."""
    try:
        row = json.loads(line)
        if "\\ud" in line.lower():
            json.dumps(row, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        half = error.object[error.start]
        raise InputError(f"{where}: {half!r} is half of a character, which no text can hold") from None
    except (ValueError, RecursionError) as error:  # numbers of too many digits, and brackets in brackets, too
        raise InputError(f"{where}: not JSON ({error})") from None
    if not isinstance(row, dict):
        raise InputError(f"{where}: expected a JSON object")
    missing = [field for field in fields if field not in row]
    if missing:
        raise InputError(f"{where}: expected the field {missing[0]!r}, found {', '.join(row)}")
    return row


def extra(name: str) -> str:
    """How to install what a command lacks. No index has largek, so its bare name would fetch nothing, or something
    else."""
    return f"it takes the extra {name}: in a clone of largek, pip install '.[{name}]'"


def readable(text: str) -> str:
    """The text as one that UTF-8 can hold: halves of characters that belong together are joined, others replaced."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def derive_seed(*parts: object) -> int:
    """A 63-bit seed from anything that prints the same everywhere; unlike `hash()` it is stable between processes."""
    digest = hashlib.sha256("\x1f".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def digest(*paths: Path) -> str:
    """SHA-256 of files, and of all files of folders with their names."""
    total = hashlib.sha256()
    for path in paths:
        for file in sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]:
            total.update(str(file.relative_to(path) if path.is_dir() else path.name).encode())
            with file.open("rb") as opened:
                total.update(hashlib.file_digest(opened, "sha256").digest())
    return total.hexdigest()


class Progress:
    """What is done, how fast, and the time left: a bar on a terminal, else a plain line now and then."""

    def __init__(self, label: str, total: int, unit: str, every: float = 5.0):
        self.label, self.total, self.unit, self.every = label, total, unit, every
        self.start = self.printed = time.monotonic()
        self.first: int | None = None  # what was done before this process started
        self.bar = None

    def update(self, done: int, note: str = "") -> None:
        """Say that `done` of `total` are finished; lines come at most once every `every` seconds, and at the end."""
        if self.first is None:
            self.first = done
            if sys.stderr.isatty():
                from tqdm import tqdm

                self.bar = tqdm(desc=self.label, total=self.total, initial=done, unit=f" {self.unit}")
        if self.bar is not None:
            self.bar.set_postfix_str(note, refresh=False)
            self.bar.update(done - self.bar.n)
            if done >= self.total:
                self.bar.close()
            return
        now = time.monotonic()
        if now - self.printed < self.every and done < self.total:
            return
        self.printed = now
        elapsed, new = now - self.start, done - self.first
        left = clock(elapsed / new * (self.total - done)) if new else "?"
        when = f"{left} left" if done < self.total else f"took {clock(elapsed)}"
        print(f"{self.label}: {done}/{self.total} {self.unit}, {note + ', ' if note else ''}{when}", flush=True)


def clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
