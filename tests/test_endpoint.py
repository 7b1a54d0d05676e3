"""`--engine openai` against endpoints that do what endpoints do. Every run ends, and keeps what came."""

import json
import random
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from email.utils import formatdate
from pathlib import Path

import httpx2
import openai
import pytest
from conftest import BIN, LONG, ROOT, run
from endpoint import BEHAVIOURS, ECHOES, ERRORS, Endpoint, asked
from reading import texts_read

from largek import grade, sample
from largek.common import DamagedStore, InputError, write_jsonl
from largek.engine_openai import asked_to_wait, read_url, text_of
from largek.store import read_samples

QUICK = {"engine": "openai", "chat_template": True, "name": "m", "retries": 1, "batch_size": 4}
HELPED = ["429", "500", "503", "null choices", "no choices", "null choice", "error inside", "page", "half of JSON"]
HELPED += ["no message", "a number", "nothing", "no UTF-8", "deep", "cut", "reset"]
REFUSED = ["400", "401", "401 list", "401 words", "401 page", "odd param", "404", "422", "quota", "refusal inside"]


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr("largek.engine_openai.LONGEST_PAUSE", 0.02)


@pytest.fixture
def task(tmp_path) -> str:
    rows = [{"id": name, "problem": f"What is 2+2? {name}", "answer": "4", "verifier": "math"} for name in "abcdef"]
    write_jsonl(tmp_path / "t.jsonl", rows)
    return str(tmp_path / "t.jsonl")


def ask(endpoint: Endpoint, task: str, store: Path, samples: int = 5, **changes) -> list[dict]:
    sample.run("m", [task], range(samples), store=str(store), base_url=endpoint.url, **QUICK | changes)
    return read_samples(store).to_pylist()


def command(url: str, task: str, store: Path, samples: int = 5, **changes) -> list[str]:
    options = {"model": "m", "tasks": task, "samples": samples, "store": store, "engine": "openai", "base-url": url}
    options |= {"chat-template": "yes", "batch-size": 4, "retries": 1} | changes
    return ["largek", "sample", *(str(part) for key, value in options.items() for part in (f"--{key}", value))]


def places(rows: list[dict]) -> list[tuple[str, int]]:
    return [(row["problem"], row["sample"]) for row in rows]


def all_of(samples: int = 5) -> list[tuple[str, int]]:
    return [(name, index) for name in "abcdef" for index in range(samples)]


def settings_of(store: Path) -> dict:
    return json.loads((store / "settings.json").read_text())


@pytest.mark.parametrize("behaviour", [name for name in BEHAVIOURS if name not in REFUSED])
@pytest.mark.parametrize("chat", [True, False])
def test_every_fifth_reply_is_odd_and_all_answers_come(task, tmp_path, behaviour, chat):
    with Endpoint(lambda number, body: behaviour if number % 5 == 2 else "good") as endpoint:
        rows = ask(endpoint, task, tmp_path / "s", retries=8, chat_template=chat)
    assert places(rows) == all_of()
    assert {row["text"] for row in rows} == set(endpoint.delivered)
    assert endpoint.paths == {"/v1/chat/completions" if chat else "/v1/completions"}
    assert (len(endpoint.bodies) > 30) == (behaviour in HELPED)
    assert {row["tokens"] for row in rows} <= {7, None} and not (tmp_path / "s" / "arrived.log").exists()
    table = grade.run(str(tmp_path / "s"))
    outcomes = Counter(table["outcome"].to_pylist())
    odd = {"null", "filter", "abort", "max", "tools", "null message"}
    assert outcomes["truncated"] == (6 if behaviour in odd else 0) and outcomes["wrong"] == 0
    assert outcomes["no_answer"] == (6 if behaviour == "null content" else 0)


@pytest.mark.parametrize("behaviour", [*ERRORS, "cut", "reset"])
@pytest.mark.parametrize("batch_size", [1, 4, 256])
def test_an_endpoint_that_never_answers_ends_the_run_with_one_line(task, tmp_path, behaviour, batch_size):
    with Endpoint(lambda number, body: behaviour) as endpoint, pytest.raises(InputError) as error:
        ask(endpoint, task, tmp_path / "s", batch_size=batch_size)
    assert "\n" not in str(error.value) and "30 of 30 answers did not come" in str(error.value)
    assert str(error.value).startswith(endpoint.url) and len(str(error.value)) < 700
    assert len(endpoint.bodies) <= 60


@pytest.mark.parametrize("style", ["openai", "pydantic", "words", "short"])
@pytest.mark.parametrize("name", ["max_tokens", "seed", "temperature", "top_p"])
def test_a_refused_parameter_is_left_out_or_renamed_once(task, tmp_path, style, name, capsys):
    with Endpoint(lambda number, body: f"{style}: {name}") as endpoint:
        assert places(ask(endpoint, task, tmp_path / "s", retries=0)) == all_of()
    assert name not in endpoint.bodies[-1] and len(endpoint.bodies) <= 30 + 4
    assert (name == "max_tokens") == (endpoint.bodies[-1].get("max_completion_tokens") == 1024)
    said = [line for line in capsys.readouterr().out.splitlines() if "refuses" in line]
    assert len(said) == 1 and f"refuses the parameter {name}, asked with" in said[0]
    info = settings_of(tmp_path / "s")["info"]
    assert info["refused"] == [name] and info["model"] == ["m"] and info["system_fingerprint"] == ["fp"]
    assert any("openai=" in each for each in info["versions"])


@pytest.mark.parametrize(
    "refused, changes, message",
    [
        ("temperature", {"temperature": 0.5}, "refuses the parameter temperature .*: take --temperature 1"),
        ("top_p", {"top_p": 0.9}, "refuses the parameter top_p .*: take --top-p 1"),
        ("max", {}, "refuses the parameter max_completion_tokens .*without which answers have no cap"),
    ],
)
def test_a_parameter_that_decides_answers_is_not_left_out(task, tmp_path, refused, changes, message):
    def behaviour(number: int, body: dict) -> str:
        name = next(key for key in body if key.startswith("max")) if refused == "max" else refused
        return f"openai: {name}"

    with Endpoint(behaviour) as endpoint, pytest.raises(InputError, match=message):
        ask(endpoint, task, tmp_path / "s", **changes)
    assert len(endpoint.bodies) <= 12


@pytest.mark.parametrize("behaviour", ECHOES)
@pytest.mark.parametrize("chat", [True, False])
@pytest.mark.parametrize("first", [True, False])
def test_an_error_that_repeats_the_request_changes_no_parameter(tmp_path, capsys, behaviour, chat, first):
    """Whether the problem that is refused is asked first, or others have been answered before."""
    rows = [{"id": name, "problem": f"At which temperature does the {name} seed stop?"} for name in "abcdef"]
    rows = [row | {"answer": "4"} for row in (rows if first else rows[::-1])]
    write_jsonl(tmp_path / "t.jsonl", rows)

    def one(number: int, body: dict) -> str:
        return behaviour if "the a seed" in asked(body) else "good"

    way = {"chat_template": chat, "temperature": 0.6 if behaviour in ("quote", "echo") else 1, "batch_size": 1}
    with Endpoint(one) as endpoint, pytest.raises(InputError, match="problem 'a' failed"):
        ask(endpoint, str(tmp_path / "t.jsonl"), tmp_path / "s", samples=2, **way)
    assert "refuses the parameter" not in capsys.readouterr().out
    assert "refused" not in settings_of(tmp_path / "s")["info"]
    assert {"temperature", "seed", "max_tokens", "top_p"} <= endpoint.bodies[4 if first else 0].keys()
    assert len(read_samples(tmp_path / "s")) == 10


def test_a_parameter_that_is_refused_by_an_odd_name_is_no_parameter(task, tmp_path):
    with Endpoint(lambda number, body: "odd param") as endpoint, pytest.raises(InputError, match="problem 'a' and 5"):
        ask(endpoint, task, tmp_path / "s")


@pytest.mark.parametrize("behaviour, said", [("list", "no such key"), ("words", "no such key"), ("page", "not here")])
def test_what_an_error_says_is_said(task, tmp_path, behaviour, said):
    with Endpoint(lambda number, body: f"401 {behaviour}") as endpoint, pytest.raises(InputError, match=said):
        ask(endpoint, task, tmp_path / "s")


@pytest.mark.parametrize(
    "said, low, high",
    [
        ("7", 7, 7),
        ("-7", 0, 0),
        ("nan", 0, 0),
        ("inf", 300, 300),
        ("9" * 400, 300, 300),
        ("", 0, 0),
        ("soon", 0, 0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0, 0),
        ("Wed, 21 Oct 2015 07:28:00", 0, 0),
        ("Wed, 99 Oct 2015 07:28:00 GMT", 0, 0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 300, 300),
        (None, 150, 250),  # the time of day in 250 seconds
    ],
)
def test_how_long_an_endpoint_asks_to_wait(monkeypatch, said, low, high):
    monkeypatch.undo()  # of the pauses that are none
    said = formatdate(time.time() + 250, usegmt=True) if said is None else said
    reply = httpx2.Response(429, headers={"Retry-After": said}, request=httpx2.Request("POST", "http://127.0.0.1"))
    error = openai.RateLimitError("slower", response=reply, body=None)
    assert low <= asked_to_wait(error) <= high


@pytest.mark.parametrize("behaviour", ["400", "403 inside", "500", "page"])
@pytest.mark.parametrize("batch_size", [1, 4, 64])
def test_one_bad_problem_is_named_and_the_others_go_on(task, tmp_path, behaviour, batch_size):
    behaviour = "refusal inside" if behaviour == "403 inside" else behaviour

    def one(number: int, body: dict) -> str:
        return behaviour if body["messages"][0]["content"].endswith("? b") else "good"

    with Endpoint(one) as endpoint, pytest.raises(InputError) as error:
        ask(endpoint, task, tmp_path / "s", batch_size=batch_size)
    assert "problem 'b' failed" in str(error.value) and "5 of 30 answers did not come" in str(error.value)
    assert places(read_samples(tmp_path / "s").to_pylist()) == [place for place in all_of() if place[0] != "b"]
    with Endpoint(lambda number, body: "good", endpoint.server_address[1]) as again:
        assert places(ask(again, task, tmp_path / "s")) == all_of()
    assert len(again.bodies) == 5


def test_a_used_up_quota_stops_the_run_and_keeps_what_came(task, tmp_path):
    with Endpoint(lambda number, body: "good" if number < 9 else "quota") as endpoint:
        with pytest.raises(InputError, match="exceeded your current quota"):
            ask(endpoint, task, tmp_path / "s", retries=50)
        assert len(endpoint.bodies) <= 9 + 4
    assert {row["text"] for row in read_samples(tmp_path / "s").to_pylist()} == set(endpoint.delivered)


def test_an_answer_has_its_own_seed_whatever_was_there_before(task, tmp_path):
    def seeds(endpoint: Endpoint) -> dict:
        return {(body["messages"][0]["content"], body["seed"]) for body in endpoint.bodies}

    with Endpoint(lambda number, body: "good") as one:
        ask(one, task, tmp_path / "a", 9)
    with Endpoint(lambda number, body: "401" if number == 7 else "good") as two:
        with suppress(InputError):
            ask(two, task, tmp_path / "b", 5)
        for n in (5, 9):
            rows = ask(two, task, tmp_path / "b", n)
    assert seeds(one) == seeds(two) and len(seeds(one)) == 54 and len({row["seed"] for row in rows}) == 54


def test_a_server_that_is_killed_ends_the_run_and_one_that_comes_back_lets_it_go_on(task, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url, serve = f"http://127.0.0.1:{port}/v1", [sys.executable, ROOT / "tests" / "endpoint.py", str(port), "slow"]
    server = subprocess.Popen(serve)
    wait_for(port)
    words = command(url, task, tmp_path / "s", 8)
    client = subprocess.Popen([BIN / words[0], *words[1:]], stderr=subprocess.PIPE, text=True)
    wait_until(lambda: (tmp_path / "s" / "arrived.log").exists())
    server.kill()
    server.wait()
    _, said = client.communicate(timeout=LONG)
    assert client.returncode == 2 and said.count("\n") == 1 and "answers did not come" in said, said
    before = read_samples(tmp_path / "s").to_pylist()
    assert 0 < len(before) < 48
    words = command(url, task, tmp_path / "s", 8, retries=20)
    client = subprocess.Popen([BIN / words[0], *words[1:]], stderr=subprocess.PIPE, text=True)
    server = subprocess.Popen(serve)
    wait_for(port)
    wait_until(lambda: (tmp_path / "s" / "arrived.log").exists())
    for _ in range(2):  # restarted while it is asked
        server.kill()
        server.wait()
        server = subprocess.Popen(serve)
    try:
        _, said = client.communicate(timeout=LONG)
    finally:
        server.kill()
    assert client.returncode == 0, said
    rows = read_samples(tmp_path / "s").to_pylist()
    assert places(rows) == all_of(8) and all(row in rows for row in before)


def wait_for(port: int) -> None:
    def there() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    wait_until(there)


def wait_until(what, seconds: float = LONG) -> None:
    start = time.monotonic()
    while not what():
        assert time.monotonic() - start < seconds
        time.sleep(0.01)


def test_an_answer_that_takes_too_long_is_given_up(task, tmp_path):
    def one(number: int, body: dict) -> str:
        return "stuck" if body["messages"][0]["content"].endswith("c") else "good"

    # Long enough for all others on a machine that is busy.
    late = pytest.raises(InputError, match=r"problem 'c' failed, TimeoutError \(no answer within 10 s\)")
    with Endpoint(one) as endpoint, late:
        ask(endpoint, task, tmp_path / "s", timeout=10, retries=5)
    assert len(read_samples(tmp_path / "s")) == 25


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_stopped_keeps_what_came(task, tmp_path, number):
    with Endpoint(lambda number, body: "slow") as endpoint:
        words = command(endpoint.url, task, tmp_path / "s", 20)
        client = subprocess.Popen([BIN / words[0], *words[1:]], stderr=subprocess.PIPE, text=True)
        wait_until(lambda: len(endpoint.delivered) > 11)
        client.send_signal(number)
        _, said = client.communicate(timeout=LONG)
        kept = read_samples(tmp_path / "s").to_pylist()
    assert client.returncode == 130 and said.count("\n") == 1, said
    assert f"stopped, {len(kept)} of 120 answers are stored; the same command goes on" in said
    early = set(sorted(endpoint.delivered, key=endpoint.delivered.get)[:-8])  # four at a time may be on their way
    assert early <= {row["text"] for row in kept} <= set(endpoint.delivered)


@pytest.mark.parametrize("after", [1, 7, 23])
def test_a_killed_client_has_kept_every_answer_that_it_has_read(task, tmp_path, after):
    """Killed at the first moment at which anything but the reading and keeping of an answer runs."""
    with Endpoint(lambda number, body: "good") as endpoint:
        words = command(endpoint.url, task, tmp_path / "s", 20, **{"batch-size": 16})
        client = subprocess.run(reading(words, tmp_path / "read", after), stdout=subprocess.DEVNULL)
        read, kept = texts_read(tmp_path / "read"), texts(tmp_path / "s")
        assert client.returncode == -signal.SIGKILL and len(read) >= after and read == kept.keys()
        assert (tmp_path / "s" / "arrived.log").exists()
        done = run(*command(endpoint.url, task, tmp_path / "s", 20, **{"batch-size": 64}))
    assert done.returncode == 0, done.stderr
    rows = read_samples(tmp_path / "s").to_pylist()
    assert places(rows) == all_of(20) and read <= {row["text"] for row in rows}
    assert f"{tmp_path}/s: 120 of 120 answers are there" in done.stdout
    assert not (tmp_path / "s" / "arrived.log").exists()


def reading(words: list[str], record: Path, after: int = 0) -> list[str]:
    """The command by a client that records what it reads, and kills itself after so many answers."""
    return [sys.executable, str(ROOT / "tests" / "reading.py"), str(record), str(after), *words[1:]]


@pytest.mark.parametrize(
    "name, value, message",
    [
        ("http_proxy", "socks5://127.0.0.1:1", "no client for it .*"),
        ("SSL_CERT_FILE", "/no/such/file", "no client for it .*"),
    ],
)
def test_a_client_that_cannot_be_made_is_one_line(task, tmp_path, monkeypatch, name, value, message):
    monkeypatch.setenv(name, value)
    with Endpoint(lambda number, body: "good") as endpoint, pytest.raises(InputError, match=message) as error:
        ask(endpoint, task, tmp_path / "s")
    assert "\n" not in str(error.value)


def test_a_disk_that_takes_no_answer_ends_the_run_and_is_named(task, tmp_path, monkeypatch):
    def full(self, record: dict) -> None:
        raise OSError(28, "No space left on device", str(tmp_path / "s" / "arrived.log"))

    monkeypatch.setattr("largek.store.Store.add", full)
    with Endpoint(lambda number, body: "good") as endpoint, pytest.raises(OSError, match=r"No space.*arrived.log"):
        ask(endpoint, task, tmp_path / "s", 40)
    assert len(endpoint.bodies) < 40


def test_another_address_is_refused_and_named(task, tmp_path):
    with Endpoint(lambda number, body: "good") as one, Endpoint(lambda number, body: "good") as two:
        ask(one, task, tmp_path / "s")
        with pytest.raises(InputError) as error:
            ask(two, task, tmp_path / "s", 6)
        assert f"endpoint: '{one.url}' there, '{two.url}' now" in str(error.value)
        assert "settings.json" in str(error.value) and not two.bodies
        settings = settings_of(tmp_path / "s")
        (tmp_path / "s" / "settings.json").write_text(json.dumps(settings | {"endpoint": two.url}))
        with pytest.raises(DamagedStore, match=r"not as largek has written it; if you have changed it, say so: sed"):
            ask(two, task, tmp_path / "s", 6)
        subprocess.run(str(error.value).partition("then: ")[2].partition(")")[0], shell=True, check=True)
        assert len(ask(two, task, tmp_path / "s", 6)) == 36 and len(two.bodies) == 6


def test_a_store_of_before_addresses_were_kept_goes_on(task, tmp_path):
    with Endpoint(lambda number, body: "good") as endpoint:
        ask(endpoint, task, tmp_path / "s")
        settings = settings_of(tmp_path / "s")
        del settings["endpoint"], settings["info"]
        (tmp_path / "s" / "settings.json").write_text(json.dumps(settings))
        (tmp_path / "s" / "checksums.log").unlink()
        assert len(ask(endpoint, task, tmp_path / "s", 6)) == 36
    assert settings_of(tmp_path / "s")["endpoint"] == endpoint.url


@pytest.mark.parametrize(
    "url, message",
    [
        (None, "give --base-url, or OPENAI_BASE_URL"),
        ("localhost:8000/v1", "expected http://host:port/v1"),
        ("http://", "expected http://host:port/v1"),
        ("http://host:99999999/v1", "--base-url http://host:99999999/v1"),
    ],
)
def test_an_address_is_needed_and_read(task, tmp_path, monkeypatch, url, message):
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    with pytest.raises(InputError, match=message):
        sample.run("m", [task], range(2), store=str(tmp_path / "s"), base_url=url, **QUICK)
    assert not (tmp_path / "s").exists()


def test_what_is_secret_in_an_address_is_not_kept():
    url = "https://me:secret@Host:8443/v1/?key=secret"
    assert read_url(url) == (url, "https://host:8443/v1")
    assert read_url("http://[::1]:8000/v1")[1] == "http://[::1]:8000/v1"


def test_nobody_at_the_address_is_one_line(task, tmp_path):
    done = run(*command("http://127.0.0.1:1/v1", task, tmp_path / "s", **{"retries": 6}), timeout=LONG)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "APIConnectionError" in done.stderr


def test_a_file_is_whole_or_absent(task, tmp_path):
    with Endpoint(lambda number, body: "quota" if number == 20 else "good") as endpoint:
        how = {"output": str(tmp_path / "a.parquet"), "base_url": endpoint.url} | QUICK
        with pytest.raises(InputError):
            sample.run("m", [task], range(5), **how)
        assert not (tmp_path / "a.parquet").exists()
        sample.run("m", [task], range(5), **how)
    assert places(read_samples(tmp_path / "a.parquet").to_pylist()) == all_of()
    assert not (tmp_path / "a.parquet.partial").exists() and len(endpoint.bodies) <= 31


def test_one_model_of_several_fails_and_the_others_are_done(task, tmp_path):
    with Endpoint(lambda number, body: "404" if body["model"] == "b" else "good") as endpoint:
        words = command(endpoint.url, task, "STORES")
        words[words.index("--model") + 1 : words.index("--model") + 2] = ["a", "b", "c"]
        words[words.index("STORES") : words.index("STORES") + 1] = [str(tmp_path / name) for name in "abc"]
        done = run(*words)
    assert done.returncode == 2 and "error: b: " in done.stderr and "1 of 3 models failed" in done.stderr
    assert [len(read_samples(tmp_path / name)) for name in "abc"] == [30, 0, 30]


@pytest.mark.parametrize(
    "content, expected",
    [
        (None, ("", "")),
        (7, ("", "")),
        (["a", {"type": "text", "text": "b"}, None, {"type": "image"}], ("ab", "")),
        ([{"type": "output_text", "text": "a"}, {"type": "reasoning", "text": "b"}], ("a", "b")),
        ([{"type": "refusal", "refusal": "no"}], ("no", "")),
        ({"text": "a"}, ("a", "")),
    ],
)
def test_contents_in_parts(content, expected):
    assert text_of(content) == expected


@pytest.mark.long
def test_two_hundred_runs_against_a_hostile_endpoint(task, tmp_path):
    """Each behaviour at random moments, and kills of client and server. Whatever the client has read whole is kept, but
    for the one answer that it may hold in its hands when it is killed from outside. Asked for by a good endpoint in the
    end, a store is complete. Several stores at a time, since clients pause between their tries."""
    endings, seen = Counter(), Counter()

    def five_runs_and_the_end(number: int) -> None:
        store = tmp_path / f"s{number}"
        with socket.socket() as held:  # a store knows its endpoint by its port, which nobody else may get meanwhile
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            held.bind(("127.0.0.1", 0))
            port = held.getsockname()[1]
            for each in range(number, 200, 40):
                one_run(task, store, port, each, endings, seen)
            before = texts(store)
            with Endpoint(lambda *_: "good", port, reply="end") as endpoint:
                rows = ask(endpoint, task, store, 9)
        assert places(rows) == all_of(9) and not before - texts(store)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(five_runs_and_the_end, range(40)))
    print(dict(endings), dict(seen))
    assert endings.total() == 200 and seen.keys() == set(BEHAVIOURS)


def one_run(task: str, store: Path, port: int, number: int, endings: Counter, seen: Counter) -> None:
    """Of a store that is asked for more and more answers; notes how it ended and what it met."""
    rng, draw, samples = random.Random(20261127 + number), random.Random(number), 4 + number // 40
    moods = {"share": rng.choice([0.05, 0.3, 0.7, 1.0]), "kinds": rng.sample(BEHAVIOURS, rng.randint(1, 6))}

    def behaviour(position: int, body: dict) -> str:
        if draw.random() > moods["share"]:
            return "slow" if draw.random() < 0.2 else "good"
        seen[kind := draw.choice(moods["kinds"])] += 1
        return kind

    before = texts(store)
    with Endpoint(behaviour, port, reply=f"run {number}") as endpoint:
        changes = {"batch-size": rng.choice([1, 3, 64])}
        words = command(endpoint.url, task, store, samples, **changes)
        end, record = rng.choice(["alone", "KILL", "itself", "TERM", "INT", "server"]), store.parent / f"read-{number}"
        words = reading(words, record, rng.randint(1, 20) if end == "itself" else 0)
        client = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
        if end not in ("alone", "itself"):
            aim, start = rng.randint(0, 20), time.monotonic()
            while client.poll() is None and len(endpoint.bodies) < aim and time.monotonic() - start < 30:
                time.sleep(0.005)
            if end == "server":
                endpoint.shutdown()
                endpoint.socket.close()
            else:
                client.send_signal(getattr(signal, f"SIG{end}"))
        _, said = client.communicate(timeout=LONG)
    endings[end, client.returncode] += 1
    allowed = {"KILL": (0, 2, -9), "itself": (0, 2, -9), "TERM": (0, 2, 130, -15), "INT": (0, 2, 130, -2)}
    assert client.returncode in allowed.get(end, (0, 2)) and "Traceback" not in said, (number, end, said)
    assert client.returncode < 0 or said.count("\n") == (client.returncode != 0), (number, end, said)
    kept, read = texts(store), texts_read(record)
    assert len(read - kept.keys()) <= (end == "KILL"), (number, end, read - kept.keys())
    assert end != "alone" or not {text for text in endpoint.delivered if text} - kept.keys(), number
    assert not before - kept and all(count == 1 for text, count in kept.items() if "#" in text), number


def texts(store: Path) -> Counter:
    there = (store / "settings.json").exists()
    return Counter(read_samples(store)["text"].to_pylist() if there else [])
