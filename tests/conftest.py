"""Paths, a small model that looks like the lab's, and a finished smoke study."""

import copy
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import scipy  # noqa: F401  whichever file a process begins with: once transformers has seen it, nothing may hide it

ROOT = Path(__file__).parents[1]
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["OMP_NUM_THREADS"] = "1"
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in the background of a shell, and so by commands
BIN = Path(sys.executable).parent
PRETEND = ROOT / "tests" / "pretend"  # packages in name only, for dry runs
SMOKE = ("--configfile", "config/smoke.yaml")
PARTS = ("Snakefile", "workflow", "config", "envs", "profiles", "largek")
sys.path.append(str(ROOT / "workflow" / "scripts"))


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


@pytest.fixture(scope="session")
def small_model(tmp_path_factory) -> Path:
    """A folder with an untrained model of the lab's architecture and its tokenizer."""
    from pretrain_base import new_model, word_tokenizer

    folder = tmp_path_factory.mktemp("small") / "model"
    tokenizer = word_tokenizer()
    shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    new_model(shape | {"max_position_embeddings": 128}, tokenizer, seed=1).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


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


@pytest.fixture(scope="session")
def smoke(tmp_path_factory) -> Path:
    """A copy of the project with a finished smoke study."""
    folder = copy_of_the_project(tmp_path_factory.mktemp("study") / "project")
    done = run("snakemake", "--cores", 2, *SMOKE, cwd=folder)
    assert done.returncode == 0, (done.stdout + done.stderr)[-5000:]
    (folder / "output.txt").write_text(done.stdout + done.stderr)
    return folder


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


ALLOWED_SKIPS: dict[str, str] = {}  # test id: the reason why CI may skip it


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In CI a skipped test is a failure, unless it is named above."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None:  # in one of the two processes that run tests; the one that started them hears of all
        return
    skipped = {report.nodeid for report in reporter.stats.get("skipped", [])} - ALLOWED_SKIPS.keys()
    if os.environ.get("CI") and skipped:
        print(f"\nskipped in CI, which counts as a failure: {', '.join(sorted(skipped))}")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
