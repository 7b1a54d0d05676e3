"""Sampling through an OpenAI-compatible endpoint, such as `vllm serve`.

In come chunks, out comes each answer by itself as soon as it is there. Its seed follows from the seed of the run, the
model's name, the problem and the sample index alone.

An answer is kept in the step in which the client hands over the body that it has read: nothing else runs in between, so
whatever ends the process, each body that was handed over is in the store, but for the one in hand at the moment of a
SIGKILL. What a SIGKILL does lose is what nobody has paid attention to yet: bodies that lie in the machine's buffers, or
are under way through the client's layers. No order of steps can keep these, since reading and writing are two calls to
the kernel; they are asked for again. A power cut loses what the kernel has not written to the disk.

What endpoints do, and what is done about it:

    busy or broken (408, 409, 425, 429, 5xx), cut off, or    asked again, `retries` times, later each time
    without an answer in it, such as a page or an error
    a parameter is refused (400, 422)                        left out or renamed, see `RENAMED`; from then on if an
                                                             answer comes of it, so not for an error of other meaning
    a problem is refused (400, 403, 413, 422), or asking     not asked again in this run; the others go on, and the run
    again has not helped                                     ends with an error that names it
    everything is refused (401, 402, 404, a used-up          nothing more is asked; what is in flight is waited for and
    quota), or nobody is there any more                      stored, then the run ends with an error
"""

import asyncio
import json
import math
import os
import random
import re
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit, urlunsplit

from largek.answers import before
from largek.asking import Asking
from largek.chunks import Answer, Chunk
from largek.common import InputError, derive_seed, extra, readable
from largek.quick import without_collector
from largek.thoughts import opening

AGAIN = {408, 409, 425, 429}  # and all from 500 on
OF_THE_PROBLEM = {400, 403, 413, 422}
QUOTA = "insufficient_quota"  # a 429 that no waiting helps
LONGEST_PAUSE = 30.0  # seconds between two tries, and at most ten times as much where the endpoint says so
STRANGER = 3  # tries after the first where nobody has ever answered: more likely a wrong address than a short absence
GONE = 3  # problems in a row for which asking again has not helped: the endpoint answers nothing any more

# what refused parameters are called instead; None: left out. Temperature and top-p only where they are 1, which is what
# is sampled without them. Answers end before a stop string whether the endpoint has heard of it or not.
RENAMED = {"max_tokens": "max_completion_tokens", "seed": None, "temperature": None, "top_p": None, "stop": None}
PASSED_ON = ("stop", "top_k", "min_p", "repetition_penalty")  # settings that are parameters by the same names
REFUSED = re.compile(
    r"(?i)unsupported|not (?:be )?(?:supported|permitted|allowed|accepted|recognized)|does(?: not|n't) support"
    r"|unrecogni[sz]ed|unknown|unexpected|extra_forbidden|extra (?:fields|inputs)|no such|deprecated"
)


# parameters of a request that are largek's own; of several answers, or of one in pieces, it would read the first alone
OWN = {*RENAMED, *PASSED_ON, "max_completion_tokens", "model", "messages", "prompt", "n", "best_of", "stream", "echo"}
OWN |= {"chat_template_kwargs"}


class NoAnswer(Exception):
    """A reply with status 200 that is no completion. `status_code` is that of an error inside of it, if it has one."""

    def __init__(self, message: str, status_code: int | None = None):
        super().__init__(message)
        self.status_code = status_code


class OpenAI:
    """One request an answer, each with its own seed: servers cache the prefill of a prompt, and not all know `n`.

    With a chat template requests go to /chat/completions, without one to /completions; the server tokenises. `timeout`
    is how long one try at an answer may take, in seconds. `keep` is called with each answer, in a chunk of its own, the
    moment it is read.
    """

    keep: Callable[[Chunk, list[Answer]], None] = staticmethod(lambda chunk, answers: None)

    def __init__(
        self,
        model: str,
        chat_template: bool | None,
        base_url: str | None,
        retries: int = 6,
        timeout: float = 1800,
        asking: Asking | None = None,
        extra_body: dict | None = None,
        requests_per_minute: int | None = None,
    ):
        try:
            with without_collector():
                import openai
        except ImportError as error:
            raise InputError(f"{error}; {extra('openai')}") from None
        if chat_template is None:
            raise InputError("--engine openai: say --chat-template yes (chat/completions) or no (completions)")
        if not isinstance(extra_body, dict | None):
            raise InputError(f"--extra-body: expected a JSON object, got {extra_body!r:.80}")
        if own := sorted((extra_body or {}).keys() & OWN):
            raise InputError(f"--extra-body: {own[0]} is what largek itself says; what is to vary has an option")
        self.extra_body, self.gap, self.next = extra_body or {}, 60 / (requests_per_minute or math.inf), 0.0
        self.url, self.address = read_url(base_url)
        self.asking = asking or Asking()
        self.asking.need_template(chat_template)
        self.model, self.chat_template, self.retries, self.timeout = model, chat_template, retries, timeout
        key = os.environ.get("OPENAI_API_KEY", "").strip() or "none"  # a server of one's own asks for none
        how = {"base_url": self.url, "api_key": key, "max_retries": 0, "timeout": openai.Timeout(None, connect=30)}
        self.connect = lambda: openai.AsyncOpenAI(**how)
        self.info: dict[str, list] = {}  # what the endpoint said of itself and what it refused, for settings.json

    def sample(self, chunks: list[Chunk], settings: dict, batch_size: int) -> Iterator[tuple[Chunk, list[Answer]]]:
        """Each answer in a chunk of its own, as they finish; `batch_size` requests are in flight.

        SIGINT and SIGTERM are heeded between two answers, so that what has come is handed on before KeyboardInterrupt.
        """
        wanted = sum(len(each) for chunk in chunks for each in chunk.indices)
        works = ((row, i) for chunk in chunks for row, each in zip(chunk.rows, chunk.indices) for i in each)
        self.failed: dict[str, str] = {}  # why, by the problem's id
        self.fatal, self.in_a_row, self.answered, self.heard = None, set(), 0, 0
        self.late: dict[object, int] = {}  # problems that had no answer in time, and what had been heard by then
        self.not_kept: Exception | None = None
        self.served = False  # whether an answer has come: then the parameters are not what is wrong with a request
        self.waiting = 0.0  # until when nothing more is said of waiting
        with asyncio.Runner() as runner:
            self.came, self.stopping, tasks = asyncio.Queue(), asyncio.Event(), set()
            interruptible(runner.get_loop(), lambda: self.came.put_nowait(None))
            try:
                self.client = self.connect()
            except Exception as error:  # of the address, a proxy or certificates that the environment names
                raise InputError(f"{self.address}: no client for it ({described(error)})") from None
            while True:
                while len(tasks) < batch_size and not self.fatal and (work := next(works, None)):
                    if work[0]["id"] not in self.failed:
                        tasks.add(runner.get_loop().create_task(self.work(*work, settings)))
                if not tasks:
                    break
                interrupted = False
                for place in [runner.run(self.came.get()), *drained(self.came)]:
                    if place is None:
                        interrupted = True
                        continue
                    task, chunk, found = place
                    tasks.discard(task)
                    if isinstance(found, Answer):
                        self.answered += 1
                        yield chunk, [found]
                    else:
                        self.give_up(chunk.rows[0], found)
                if self.not_kept:
                    raise self.not_kept
                if interrupted:
                    raise KeyboardInterrupt
            runner.run(self.client.close())
        if self.failed or self.fatal:
            raise InputError(self.complaint(wanted))

    async def work(self, row: dict, index: int, settings: dict) -> None:
        """Ask for one answer, keep it, and put into the queue what came of it."""
        seed = derive_seed(settings["seed"], settings["name"], row["id"], index)
        chunk, refused = Chunk([row], [[index]], seed), []
        try:
            found = await self.ask(row, seed, settings, refused)
        except Exception as error:  # whatever it is, the answers beside it are not lost by it
            found = error
        else:
            try:
                self.keep(chunk, [found])
                self.adapt(refused)
            except Exception as error:  # such as a full disk, which is not the endpoint's
                self.not_kept = error
        self.came.put_nowait((asyncio.current_task(), chunk, found))

    async def ask(self, row: dict, seed: int, settings: dict, refused: list[str]) -> Answer:
        """The answer, after some tries if need be, and in `refused` the parameters without which it came. Raises what
        the last try ended in."""
        tries, heard = 0, self.heard
        begun = "" if self.chat_template else opening(self.asking.text(row))  # of a template nobody here knows
        while True:
            options = self.options(seed, settings, refused)
            try:
                await self.turn()
                answer = self.read(await self.post(row, options), settings.get("stop", ()))
                self.in_a_row.clear()
                self.served = True
                return answer._replace(text=begun + answer.text)
            except Exception as error:
                status = getattr(error, "status_code", None)
                if status in OF_THE_PROBLEM and (name := self.to_leave_out(error, options, row)):
                    refused.append(name)
                    continue
                if not may_help(error):
                    raise
                most = self.retries if self.heard else min(self.retries, STRANGER)
                if isinstance(error, TimeoutError):
                    most = min(most, 1)  # what was being written has its price
                if tries >= most or self.stopping.is_set():
                    if self.heard == heard and self.is_gone(error, row):
                        self.stop(error)
                    raise
                pause = max(asked_to_wait(error), min(LONGEST_PAUSE, 2**tries / 2) * random.uniform(0.75, 1))
                self.say_waiting(pause, error)
                tries += 1
                with suppress(TimeoutError):
                    await asyncio.wait_for(self.stopping.wait(), pause)

    def is_gone(self, error: Exception, row: dict) -> bool:
        """Is nobody there any more, where nobody has said anything since a request was made? Not if it was too slow for
        one problem alone, whose answers may have been all that was asked for."""
        self.late[row["id"]] = self.heard
        silent = [problem for problem, heard in self.late.items() if heard == self.heard]
        return not (self.heard and isinstance(error, TimeoutError)) or len(silent) > 1

    async def turn(self) -> None:
        """Wait until another request may be sent. Raises NoAnswer if none is to be sent any more."""
        if not self.gap:
            return
        now = time.monotonic()
        self.next = max(now, self.next) + self.gap
        with suppress(TimeoutError):
            await asyncio.wait_for(self.stopping.wait(), self.next - self.gap - now)
        if self.stopping.is_set():
            raise NoAnswer("not asked any more")

    async def post(self, row: dict, options: dict) -> bytes:
        """The body of the endpoint's reply. Read by `read`, since the client's own objects expect well-formed ones."""
        if self.chat_template:
            asked, kind = {"messages": self.asking.messages(row)}, self.client.chat.completions
        else:
            asked, kind = {"prompt": self.asking.text(row)}, self.client.completions
        try:
            async with asyncio.timeout(self.timeout):
                reply = await kind.with_raw_response.create(model=self.model, **asked, extra_body=options)
        except TimeoutError:
            raise TimeoutError(f"no answer within {self.timeout:g} s") from None
        except Exception as error:
            self.heard += hasattr(error, "status_code")
            raise
        self.heard += 1
        return reply.http_response.content

    def options(self, seed: int, settings: dict, refused: Sequence[str] = ()) -> dict:
        """The parameters of a request, as far as the endpoint takes them; `refused` are those that it may not take."""
        options = {"max_tokens": settings["max_tokens"], "temperature": settings["temperature"]}
        options |= {"top_p": settings["top_p"], "seed": seed % 2**31}
        options |= {key: settings[key] for key in PASSED_ON if key in settings}
        options |= {"chat_template_kwargs": self.asking.template} if self.asking.template else {}
        options |= self.extra_body
        for name in dict.fromkeys([*self.info.get("refused", []), *refused]):
            value, other = options.pop(name), RENAMED[name]
            options |= {other: value} if other else {}
        return options

    def to_leave_out(self, error: Exception, options: dict, row: dict) -> str | None:
        """The parameter without which a request may be answered that ended in an error, if it is one that can be left
        out or renamed. One that cannot ends the run, if nothing has been answered yet."""
        name = refused_parameter(error, options, [each["content"] for each in self.asking.messages(row)])
        if name is None or (name in RENAMED and not (name in ("temperature", "top_p") and options[name] != 1)):
            return name
        if not self.served:
            hint = f": take --{name.replace('_', '-')} 1" if name in RENAMED else ""
            cap = ", without which answers have no cap" if name == RENAMED["max_tokens"] else ""
            self.stop(InputError(f"refuses the parameter {name} ({described(error)}){hint}{cap}"))
        return None

    def adapt(self, refused: list[str]) -> None:
        """From now on ask without these parameters: without them an answer has come."""
        known = self.info.setdefault("refused", []) if refused else []
        for name in refused:
            if name not in known:
                known.append(name)
                instead = f"asked with {RENAMED[name]} instead" if RENAMED[name] else "asked without it"
                print(f"{self.address}: refuses the parameter {name}, {instead}", flush=True)

    def say_waiting(self, pause: float, error: Exception) -> None:
        """Say that nothing will come for a while, once for all requests that wait."""
        now = time.monotonic()
        if pause > LONGEST_PAUSE and now > self.waiting:
            self.waiting = now + pause
            print(f"{self.address}: asks to wait, asked again in {pause:.0f} s ({described(error)})", flush=True)

    def read(self, body: bytes, stop: Sequence[str] = ()) -> Answer:
        """The answer in a reply, up to a stop string. Raises NoAnswer if there is none."""
        try:
            reply = parsed(body)
        except (ValueError, RecursionError):
            raise NoAnswer(f"expected a completion, got {body[:200]!r}") from None
        choices = reply.get("choices") if isinstance(reply, dict) else None
        choice = choices[0] if isinstance(choices, list) and choices else None
        finish = choice.get("finish_reason") if isinstance(choice, dict) else None
        message = message_in(choice, self.chat_template) if isinstance(choice, dict) else None
        if message is None:
            raise NoAnswer(f"expected a completion, got {body[:200]!r}", status_inside(reply))
        text, thought = text_of(message.get("content"))
        text = text or text_of(message.get("refusal"))[0]
        thought = text_of(message.get("reasoning_content") or message.get("reasoning"))[0] or thought
        if (cut := before(text, stop)) is not None:  # an endpoint may not know stop strings, or write them too
            text, finish = cut, "stop"
        if thought:  # one behind which nothing is said has not come to an end
            text = f"<think>{thought}" + (f"</think>{text}" if text else "")
        for name in ("model", "system_fingerprint"):
            if isinstance(reply.get(name), str) and reply[name] not in self.info.get(name, []):
                self.info.setdefault(name, []).append(reply[name])
        usage = reply.get("usage")
        tokens = usage.get("completion_tokens") if isinstance(usage, dict) else None
        counted = isinstance(tokens, int) and not isinstance(tokens, bool) and 0 <= tokens < 2**31
        finish = None if finish is None else readable(str(finish))
        return Answer(readable(text), tokens if counted else None, finish)

    def give_up(self, row: dict, error: Exception) -> None:
        """A problem that is not asked again in this run."""
        self.failed.setdefault(row["id"], described(error))
        if may_help(error):
            self.in_a_row.add(row["id"])
            if len(self.in_a_row) >= GONE:
                self.stop(error)
        elif getattr(error, "status_code", None) not in OF_THE_PROBLEM:
            self.stop(error)

    def stop(self, error: Exception) -> None:
        """Ask nothing more. What is in flight may still come."""
        self.fatal = self.fatal or described(error)
        self.stopping.set()

    def complaint(self, wanted: int) -> str:
        """What is missing and why, in one line."""
        missing = f"{wanted - self.answered} of {wanted} answers did not come"
        rest = "what came is stored, and the same command asks for the rest"
        if self.fatal:
            return f"{self.address}: {self.fatal}; {missing}; {rest}"
        (first, why), more = next(iter(self.failed.items())), len(self.failed) - 1
        others = f" and {more} other problem{'s' if more > 1 else ''}" if more else ""
        return f"{self.address}: problem {first!r}{others} failed, {why}; {missing}; {rest}"


def read_url(base_url: str | None) -> tuple[str, str]:
    """The endpoint's URL, and the same without what may be secret, for messages and settings. Raises InputError."""
    url = base_url or os.environ.get("OPENAI_BASE_URL") or ""
    if not url:  # the client would take that of OpenAI, and prompts would leave the machine for a forgotten option
        raise InputError(
            "--engine openai: give --base-url, or OPENAI_BASE_URL (https://api.openai.com/v1 for OpenAI's)"
        )
    try:
        parts = urlsplit(url)
        host = parts.hostname and f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        where = f"{host}:{parts.port}" if parts.port else host
    except ValueError as error:
        raise InputError(f"--base-url {url}: {error}") from None
    if parts.scheme not in ("http", "https") or not host:
        raise InputError(f"--base-url {url}: expected http://host:port/v1 or the like")
    return url, urlunsplit((parts.scheme, where, parts.path.rstrip("/"), "", ""))


def interruptible(loop: asyncio.AbstractEventLoop, stop) -> None:
    """Call `stop` in the loop on signals that end a program, but those that are ignored, as under nohup."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:
            with suppress(ValueError, RuntimeError):  # outside the main thread
                loop.add_signal_handler(number, stop)


def drained(queue: asyncio.Queue) -> Iterator:
    """What else is in the queue by now."""
    with suppress(asyncio.QueueEmpty):
        while True:
            yield queue.get_nowait()


def may_help(error: Exception) -> bool:
    """Whether to ask again. Not where an endpoint says that a request is wrong."""
    import openai

    status = getattr(error, "status_code", None)
    if status is None:
        return isinstance(error, NoAnswer | TimeoutError | openai.APIConnectionError)
    return (status in AGAIN or status >= 500) and QUOTA not in words_of(error)


def asked_to_wait(error: Exception) -> float:
    """Seconds that a reply asks to wait for before the next request: a number, or the time of day until when."""
    try:
        said = error.response.headers["retry-after"]
    except (AttributeError, KeyError):
        return 0.0
    try:
        seconds = float(said)
    except ValueError:
        try:
            until = parsedate_to_datetime(said)  # of a time without a zone it is that of Greenwich, as of all others
            seconds = (until.replace(tzinfo=until.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
        except (ValueError, OverflowError):
            return 0.0
    return min(10 * LONGEST_PAUSE, max(0.0, seconds))


def refused_parameter(error: Exception, options: dict, asked: Sequence[str] = ()) -> str | None:
    """The parameter of `options` that an error says is not taken, if that is what it says. What it repeats of the
    request, and quotes of what was asked, are not the endpoint's words."""
    body, text = getattr(error, "body", None), words_of(error)
    mistakable = [quoted for quoted in asked if any(name in quoted for name in options)]
    for quoted in sorted(mistakable, key=len, reverse=True):
        for form in (json.dumps(quoted)[1:-1], repr(quoted)[1:-1], quoted):
            text = text.replace(form, "")
    for name, value in options.items():
        for form in (json.dumps({name: value})[1:-1], f"{name!r}: {value!r}"):
            text = text.replace(form, "").replace(form.replace(": ", ":", 1), "")
    if not REFUSED.search(text):
        return None
    if isinstance(body, dict) and isinstance(body.get("param"), str) and body["param"] in options:
        return body["param"]
    places = {name: re.search(rf"\b{re.escape(name)}\b", text) for name in options}
    named = {name: found.start() for name, found in places.items() if found}
    return min(named, key=named.get, default=None)


def words_of(error: Exception) -> str:
    """All that an endpoint says of an error, codes and names of parameters too."""
    return f"{error} {json.dumps(getattr(error, 'body', None), default=str)}"


def parsed(body: bytes) -> object:
    """The JSON in a reply. What is paid for is not lost by a number that nobody asked for, or by a wrong byte in it."""
    number = {"parse_int": lambda digits: int(digits) if len(digits) < 20 else float(digits)}
    try:
        return json.loads(body, **number)
    except UnicodeDecodeError:
        return json.loads(body.decode(errors="replace"), **number)


def message_in(choice: dict, chat: bool) -> dict | None:
    """The message in a choice, by whichever name it goes; empty where a filter left null. None if there is none."""
    names = ("message", "delta", "text") if chat else ("text", "message", "delta")
    message = next((choice[name] for name in names if choice.get(name) is not None), None)
    if message is None:
        return {} if choice.keys() & set(names) and isinstance(choice.get("finish_reason"), str) else None
    message = message if isinstance(message, dict) else {"content": message}
    return message if isinstance(message.get("content"), str | list | dict | None) else None


def status_inside(reply: object) -> int | None:
    """The status of an error in a reply with status 200, as proxies hand it on."""
    error = reply.get("error") if isinstance(reply, dict) else None
    status = error.get("code", error.get("status")) if isinstance(error, dict) else None
    return status if isinstance(status, int) and 400 <= status < 600 else None


def text_of(content: object) -> tuple[str, str]:
    """(text, thought) of a message's content, which may come in parts, and parts in parts."""
    if isinstance(content, str):
        return content, ""
    text, thought = "", ""
    for part in content if isinstance(content, list) else [content]:
        if isinstance(part, str):
            text += part
        elif isinstance(part, dict) and part.get("type") in ("thinking", "reasoning"):
            thought += text_of(part.get("thinking") or part.get("text") or part.get("content"))[0]
        elif isinstance(part, dict):
            inner, inner_thought = text_of(part.get("text") or part.get("content") or part.get("refusal"))
            text, thought = text + inner, thought + inner_thought
    return text, thought


def described(error: Exception) -> str:
    """An error in one line."""
    words, body = " ".join(str(error).split()), getattr(error, "body", None)
    if body and re.fullmatch(r"Error code: \d+", words):  # of an error whose words stand in no place that is known
        words += f" - {' '.join((body if isinstance(body, str) else json.dumps(body)).split())}"
    cause = " ".join(str(error.__cause__ or "").split())
    name = "" if isinstance(error, InputError) else f"{type(error).__name__} "
    text = f"{name}({words}{': ' + cause if cause and cause not in words else ''})" if name else words
    return readable(text if len(text) <= 300 else f"{text[:300]}...")
