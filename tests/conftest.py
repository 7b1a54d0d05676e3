"""Paths, a small model that looks like the lab's, and a finished smoke study."""

import copy
import fcntl
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import hypothesis
import pytest
import scipy  # noqa: F401  whichever file a process begins with: once transformers has seen it, nothing may hide it

ROOT = Path(__file__).parents[1]
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["OMP_NUM_THREADS"] = "1"
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in the background of a shell, and so by commands
BIN = Path(sys.executable).parent
PRETEND = ROOT / "tests" / "pretend"  # packages in name only, for dry runs
SMOKE = ("--configfile", "config/smoke.yaml")
LONG = 900  # seconds: what takes longer hangs, and is not merely beside other work
PARTS = ("Snakefile", "workflow", "config", "envs", "profiles", "largek")
# Files of tests that take longest, the longest first: begun early, they do not keep one process busy at the end.
LONGEST = ("gpu_path", "engines", "example", "published", "distributed", "report", "slurm", "faults", "workflow", "own")
LONGEST += ("smollm", "check_gpu", "bases", "endpoint", "figures", "install", "grade", "verdicts", "store", "damage")
sys.path.append(str(ROOT / "workflow" / "scripts"))
# Beside other work an example, and drawing one, may take long.
PATIENT = {"deadline": None, "suppress_health_check": [hypothesis.HealthCheck.too_slow]}
hypothesis.settings.register_profile("patient", **PATIENT)
hypothesis.settings.load_profile("patient")


def run(*command: object, cwd: Path = ROOT, **options) -> subprocess.CompletedProcess:
    """Run a command of this environment; its output is text and not checked."""
    program, *rest = map(str, command)
    return subprocess.run([str(BIN / program), *rest], cwd=cwd, capture_output=True, text=True, **options)


def wrong(config: dict, path: str, value) -> dict:
    """The study with another value of a key, whose parents stand before it."""
    *parents, last = path.split("/")
    changed = copy.deepcopy(config)
    inner = changed
    for key in parents:
        inner = inner[key]
    inner[last] = value
    return changed


def new_small_model(folder: Path, width: int, layers: int) -> Path:
    """A folder with an untrained model of the lab's architecture, of two heads, and its tokenizer."""
    from pretrain_base import new_model, word_tokenizer

    tokenizer = word_tokenizer()
    shape = {"hidden_size": width, "intermediate_size": 2 * width, "num_hidden_layers": layers}
    shape |= {"num_attention_heads": 2, "max_position_embeddings": 128}
    new_model(shape, tokenizer, seed=1).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def small_model(tmp_path_factory) -> Path:
    return new_small_model(tmp_path_factory.mktemp("small") / "model", 16, layers=1)


def copy_of_the_project(folder: Path) -> Path:
    """The files that a study needs, and nothing that was made."""
    folder.mkdir()
    for part in PARTS:
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(source, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / part)
    return folder


def seconds_of(*command: object, **options) -> tuple[subprocess.CompletedProcess, float]:
    """A command that was run, and the CPU time it took: on the clock it takes longer beside other work."""
    before = os.times()
    done = run(*command, **options)
    after = os.times()
    return done, sum(after[2:4]) - sum(before[2:4])


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """A folder that no test changes, filled by `make`: by the first that asks for it in any of the processes that run
    tests, and of all runs of pytest that have the same folder MADE_ONCE."""
    own = factory.getbasetemp()
    common = Path(os.environ.get("MADE_ONCE") or (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own))
    folder, ready = common / name, common / f"{name}.ready"
    with (common / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not ready.exists():
            shutil.rmtree(folder, ignore_errors=True)  # of a try that failed
            make(folder)
            ready.touch()
    return folder


def smoke_study(folder: Path) -> None:
    """The smoke study in a copy of the project, with what Snakemake printed in output.txt."""
    done = run("snakemake", "--cores", 2, *SMOKE, cwd=copy_of_the_project(folder))
    assert done.returncode == 0, (done.stdout + done.stderr)[-5000:]
    (folder / "output.txt").write_text(done.stdout + done.stderr)


@pytest.fixture(scope="session")
def smoke(tmp_path_factory) -> Path:
    """A copy of the project with a finished smoke study, which no test changes."""
    return made_once(tmp_path_factory, "smoke", smoke_study)


@pytest.fixture(scope="module")
def browser():
    """A Chromium of this machine, for tests of pages."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        names = ("chromium", "chromium-browser", "google-chrome", playwright.chromium.executable_path)
        program = next(filter(None, map(shutil.which, names)), None)
        if program is None:
            pytest.skip("no Chromium here: install your system's, or run `.venv/bin/playwright install chromium`")
        chromium = playwright.chromium.launch(executable_path=program)
        yield chromium
        chromium.close()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files that take longest first; the others stay in their order."""
    place = {f"test_{name}": number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.stem, len(place)))


ALLOWED_SKIPS = {  # test id: the reason why CI may skip it
    "tests/test_workflow.py::test_twice_from_nothing_gives_equal_tables": "test_slurm.py makes and compares the counts",
}


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In CI a skipped test is a failure, unless it is named above."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None:  # in one of the two processes that run tests; the one that started them hears of all
        return
    skipped = {report.nodeid for report in reporter.stats.get("skipped", [])} - ALLOWED_SKIPS.keys()
    if os.environ.get("CI") and skipped:
        print(f"\nskipped in CI, which counts as a failure: {', '.join(sorted(skipped))}")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
