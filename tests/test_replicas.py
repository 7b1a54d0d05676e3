"""Several processes that sample into one store: the store of one, whoever dies."""

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from largek import sample
from largek.common import InputError, write_jsonl
from largek.replicas import devices
from largek.store import read_samples


@pytest.fixture
def task(tmp_path) -> str:
    rows = [{"id": f"p{i}", "problem": "start 1 2 then sort ?" + " ?" * i, "answer": "1 2"} for i in range(3)]
    write_jsonl(tmp_path / "t.jsonl", rows)
    return str(tmp_path / "t.jsonl")


def make(model: Path, task: str, store: Path, replicas: int | None = None, n: int = 64) -> None:
    how = {"batch_size": 32, "max_tokens": 20, "name": "m", "store": str(store), "replicas": replicas}
    sample.run(str(model), [task], range(n), **how)


def files(store: Path) -> dict[str, bytes]:
    """What is in a store. Its list of checksums has a line a file, in the order in which they were made."""
    found = {str(path.relative_to(store)): path.read_bytes() for path in store.rglob("*") if path.is_file()}
    del found["lock"]
    return found | {"checksums.log": b"".join(sorted(found["checksums.log"].splitlines(True)))}


def children() -> dict[int, str]:
    """Process ids of the replicas that this process has started, with the devices that each sees."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == os.getpid() and b"largek.replicas" in (folder / "cmdline").read_bytes():
                variables = dict(each.partition(b"=")[::2] for each in (folder / "environ").read_bytes().split(b"\0"))
                found[int(folder.name)] = variables.get(b"CUDA_VISIBLE_DEVICES", b"").decode()
        except (OSError, ValueError, IndexError):  # it has ended by now
            continue
    return found


@pytest.fixture
def four_devices(monkeypatch):
    """Devices that are only said to be there: models stay on the CPU."""
    monkeypatch.setenv("LARGEK_DEVICE", "cpu")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "a,b,c,d")


def test_four_replicas_make_the_store_of_one(small_model, task, tmp_path, four_devices):
    make(small_model, task, tmp_path / "one")
    seen: dict[int, str] = {}
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.05):
            seen.update(children())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        make(small_model, task, tmp_path / "four", 4)
    finally:
        done.set()
        watcher.join()
    assert files(tmp_path / "four") == files(tmp_path / "one") and len(read_samples(tmp_path / "four")) == 3 * 64
    assert sorted(seen.values()) == ["a", "b", "c", "d"] and not children()


@pytest.mark.long
def test_a_replica_that_is_killed_loses_nothing_that_is_finished(small_model, task, tmp_path, four_devices, capfd):
    """One of two is stopped before it has done anything, and killed when the other has stored something."""
    killed: list[str] = []

    def kill() -> None:
        while len(found := children()) < 2:
            time.sleep(0.01)
        victim = next(number for number, visible in found.items() if visible == "b")
        os.kill(victim, signal.SIGSTOP)
        while not list((tmp_path / "s").glob("samples/[0-9]*.parquet")):
            time.sleep(0.01)
        os.kill(victim, signal.SIGKILL)
        killed.append(found[victim])

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    with pytest.raises(InputError) as error:
        make(small_model, task, tmp_path / "s", 2)
    assert killed == ["b"] and "replica 2 of 2 (CUDA_VISIBLE_DEVICES=b) was ended by SIGKILL; " in str(error.value)
    assert "what was finished is stored, and the same command samples the rest" in str(error.value)
    assert "SIGKILL; the others go on" in capfd.readouterr().err and not children()
    before = read_samples(tmp_path / "s").to_pylist()
    assert len(before) == 3 * 32  # the other's share, all of it: three of six chunks
    make(small_model, task, tmp_path / "s", 2)
    make(small_model, task, tmp_path / "one")
    after = read_samples(tmp_path / "s").to_pylist()
    assert after == read_samples(tmp_path / "one").to_pylist() and all(row in after for row in before)


def test_what_is_wrong_with_the_input_is_said_once_by_whichever_replica(small_model, task, tmp_path, four_devices):
    with pytest.raises(InputError, match=r"--max-tokens 200 are more than the model's 128"):
        sample.run(str(small_model), [task], range(64), store=str(tmp_path / "s"), max_tokens=200, replicas=2)
    assert not children()


@pytest.mark.parametrize(
    "visible, number, gpus, found",
    [
        ("0,1,2,3", 4, 1, ["0", "1", "2", "3"]),
        ("4,5,6,7", 2, 2, ["4,5", "6,7"]),
        ("GPU-x,GPU-y,GPU-z", 2, 1, ["GPU-x", "GPU-y"]),
        ("", 3, 1, [None, None, None]),
    ],
)
def test_replicas_share_the_devices_and_none_is_given_twice(monkeypatch, visible, number, gpus, found):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert devices(number, gpus) == found


def test_too_few_devices_are_an_error(small_model, task, tmp_path, four_devices):
    with pytest.raises(InputError, match="--replicas 5: expected 5 devices, found 4"):
        make(small_model, task, tmp_path / "s", 5)
    with pytest.raises(InputError, match="--replicas 3 of 2 devices each: expected 6 devices, found 4"):
        devices(3, 2)
    assert not (tmp_path / "s").exists()
