"""largek alone: built, installed into empty environments of every Python that is here, quick to start, and of use."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from importlib.metadata import metadata
from pathlib import Path

import pandas as pd
import pytest
from conftest import ROOT

from largek import __version__
from largek.common import write_jsonl

pytestmark = pytest.mark.long
PARTS = ("largek", "docs", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff")
BUILD = "from setuptools import build_meta; print(build_meta.build_{kind}({folder!r}))"


def call(*command: object, **options) -> subprocess.CompletedProcess:
    outside = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, env=outside, **options)


def called(*command: object, **options) -> str:
    done = call(*command, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def pythons() -> dict[str, Path]:
    """This Python and the other supported ones that are on the path and start."""
    found = {f"{sys.version_info.major}.{sys.version_info.minor}": Path(sys.executable)}
    for version in ("3.11", "3.12", "3.13"):
        path = shutil.which(f"python{version}")
        if path and call(path, "-c", "import ensurepip, venv").returncode == 0:
            found.setdefault(version, Path(path))
    return found


@pytest.fixture(scope="session")
def distributions(tmp_path_factory) -> tuple[Path, Path]:
    """The source distribution, and a wheel built from it alone, as `python -m build` does."""
    source = tmp_path_factory.mktemp("build")
    for part in PARTS:
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
        copy(ROOT / part, source / part)
    out = source / "dist"
    name = called(sys.executable, "-c", BUILD.format(kind="sdist", folder=str(out)), cwd=source).split()[-1]
    with tarfile.open(out / name) as archive:
        archive.extractall(source / "unpacked", filter="data")
    (unpacked,) = (source / "unpacked").iterdir()
    wheel = called(sys.executable, "-c", BUILD.format(kind="wheel", folder=str(out)), cwd=unpacked).split()[-1]
    return out / name, out / wheel


@pytest.fixture(scope="session", params=pythons().items(), ids=lambda item: item[0])
def bin_folder(request, distributions, tmp_path_factory):
    _, python = request.param
    folder = tmp_path_factory.mktemp("empty") / "venv"
    called(python, "-m", "venv", folder)
    called(folder / "bin" / "pip", "install", "--quiet", f"largek[completion] @ {distributions[1].as_uri()}")
    return folder / "bin"


def largek(bin_folder, *arguments: object, **options) -> subprocess.CompletedProcess:
    return call(bin_folder / "largek", *arguments, **options)


def test_the_source_distribution_explains_itself(distributions):
    with tarfile.open(distributions[0]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {
        "README.md",
        "LICENSE",
        "CHANGELOG.md",
        "CITATION.cff",
        "docs/largek/README.md",
        "docs/largek/tour.md",
    } <= names
    assert not [name for name in names if name.startswith(("tests", "workflow"))]


def test_the_wheel_holds_the_package_alone(distributions):
    names = zipfile.ZipFile(distributions[1]).namelist()
    ours = {name for name in names if ".dist-info/" not in name}
    tracked = called("git", "ls-files", "largek", cwd=ROOT).split() if (ROOT / ".git").exists() else ours
    assert ours == set(tracked)


def test_the_changelog_has_the_version():
    assert re.search(
        rf"^## \[{re.escape(__version__)}\] - \d{{4}}-\d\d-\d\d$", (ROOT / "CHANGELOG.md").read_text(), re.M
    )


def test_installs_from_a_repository(tmp_path):
    """As the docs say, with the address of a clone."""
    called("git", "clone", "--quiet", ROOT, tmp_path / "clone")
    address = f"largek @ git+file://{tmp_path}/clone"
    called(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", tmp_path / "there", address)
    found = "import sys; sys.path.insert(0, 'there'); import largek; print(largek.__file__, largek.__version__)"
    assert called(sys.executable, "-c", found, cwd=tmp_path).split() == [
        str(tmp_path / "there" / "largek" / "__init__.py"),
        __version__,
    ]


def test_there_is_no_torch(bin_folder):
    listed = subprocess.run([bin_folder / "pip", "list"], capture_output=True, text=True, check=True).stdout.lower()
    assert "largek" in listed and "math-verify" in listed
    for heavy in ("torch", "transformers", "vllm", "openai"):
        assert f"\n{heavy} " not in listed


def test_help_comes_within_a_second_and_a_half(bin_folder):
    assert largek(bin_folder, "--help").returncode == 0  # compiles the bytecode
    took = []
    for _ in range(5):
        before = os.times()
        assert "rank" in largek(bin_folder, "--help").stdout
        after = os.times()
        took.append(sum(after[2:4]) - sum(before[2:4]))  # of CPU time: on the clock it takes longer beside other work
    assert sorted(took)[2] < 1.5


def test_grades_and_estimates_without_torch(bin_folder, tmp_path):
    rows = [{"model": "m", "task": "t", "split": "all", "problem": "1", "sample": i, "tokens": 3} for i in range(4)]
    frame = pd.DataFrame(rows).assign(text=["#### 1/2", "#### 0.5", "$\\frac{1}{2}$", "3"], finish="stop", entropy=0.0)
    frame.to_parquet(tmp_path / "samples.parquet", index=False)
    write_jsonl(tmp_path / "task.jsonl", [{"id": "1", "problem": "half?", "answer": "\\frac12"}])
    command = ["grade", "samples.parquet", "--tasks", "task.jsonl", "--verifier", "math", "--output", "g.parquet"]
    done = largek(bin_folder, *command, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert pd.read_parquet(tmp_path / "g.parquet")["outcome"].tolist() == ["correct", "correct", "correct", "wrong"]
    done = largek(bin_folder, "passk", "g.parquet", "--k", "1,2", "--output", "p.csv", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert pd.read_csv(tmp_path / "p.csv").query("task == 't'")["estimate"].tolist() == pytest.approx([0.75, 1.0])


@pytest.mark.parametrize("engine, extra", [("transformers", "transformers"), ("vllm", "vllm"), ("openai", "openai")])
def test_an_engine_that_is_not_installed_names_its_extra(bin_folder, tmp_path, engine, extra):
    write_jsonl(tmp_path / "task.jsonl", [{"id": "1", "problem": "half?", "answer": "1"}])
    command = ["sample", "--model", "m", "--tasks", "task.jsonl", "--samples", 1, "--store", "s", "--engine", engine]
    done = largek(bin_folder, *command, "--chat-template", "no", cwd=tmp_path)
    assert done.returncode == 2 and f"pip install '.[{extra}]'" in done.stderr and done.stderr.count("\n") == 1


def test_extras_are_declared():
    assert {"transformers", "vllm", "openai", "tasks", "completion"} <= set(
        metadata("largek").get_all("Provides-Extra")
    )


COMPLETE = """
source largek.bash
COMP_WORDS=({words}) COMP_CWORD={last} COMP_LINE={line!r} COMP_POINT={point}
$(complete -p largek | sed 's/.* -F \\([^ ]*\\).*/\\1/') largek '' ''
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.mark.parametrize(
    "line, expected",
    [
        ("largek ", {"sample", "grade", "passk", "compare", "loss", "rank"}),
        ("largek sa", {"sample"}),
        ("largek sample --sam", {"--samples"}),
        ("largek sample --engine v", {"vllm"}),
        ("largek sample --tasks pro", {"problems.jsonl"}),
        ("largek sample --store ru", {"runs"}),
    ],
)
def test_bash_completes_commands_options_choices_and_files(bin_folder, tmp_path, line, expected):
    done = largek(bin_folder, "--print-completion", "bash")
    assert done.returncode == 0, done.stderr
    (tmp_path / "largek.bash").write_text(done.stdout)
    (tmp_path / "problems.jsonl").touch()
    (tmp_path / "runs").mkdir()
    words = line.split(" ")
    quoted = " ".join(repr(word) for word in words)
    script = COMPLETE.format(words=quoted, last=len(words) - 1, line=line, point=len(line))
    found = set(called("bash", "-c", script, cwd=tmp_path).split())
    assert expected <= found and not [word for word in found if not word.startswith(words[-1])]


def test_completion_without_its_extra_is_one_line(bin_folder):
    program = (
        "import sys; sys.modules['shtab'] = None; from largek.cli import main; main(['--print-completion', 'zsh'])"
    )
    done = call(bin_folder / "python", "-c", program)
    assert done.returncode == 2 and "pip install '.[completion]'" in done.stderr and done.stderr.count("\n") == 1
