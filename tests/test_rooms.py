"""Where things are: scripts that are the pipeline, modules that they share, and how large a file may be."""

import ast
import re
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, run

from largek.verify import imports

WORKFLOW, SCRIPTS = ROOT / "workflow", ROOT / "workflow" / "scripts"
RULES = sorted((WORKFLOW / "rules").glob("*.smk"))
# Programs that no rule is named after: what people start themselves, and what stands before a rule's command.
COMMANDS = {"check_gpu", "estimate_cost", "quote_results", "run_page", "lease_gpus"}
WEIGHTLESS = {"quagmires.model_card", "quagmires.rollouts"}  # say what a training did and change no weight


@cache
def imported(path: Path) -> frozenset[Path]:
    """The files of the workflow that a source imports itself."""
    found = {SCRIPTS / f"{name.replace('.', '/')}.py" for name in imports(ast.parse(path.read_bytes()), "")}
    return frozenset(file for file in found if file.exists())


def all_imported(path: Path, but: frozenset[Path]) -> set[Path]:
    """The same with what those import."""
    found, waiting = set(), [path]
    while waiting:
        new = imported(waiting.pop()) - found - but
        found |= new
        waiting += new
    return found


def test_the_folder_of_scripts_is_the_pipeline():
    text = {path.stem: path.read_text() for path in RULES}
    rules = set(re.findall(r"^ *rule (\w+):", "\n".join(text.values()), re.M))
    rules |= {f"plot_{name}" for name in re.findall(r'^    "(\w+)": \(', text["figures"], re.M)}
    assert {path.stem for path in SCRIPTS.glob("*.py")} - COMMANDS <= rules
    assert {path.name for path in SCRIPTS.iterdir() if path.is_dir()} - {"__pycache__"} == {"lab", "quagmires"}


def test_scripts_import_the_shared_modules_and_not_each_other():
    for path in SCRIPTS.glob("*.py"):
        own = {file.stem for file in imported(path) if file.parent == SCRIPTS}
        assert not own - COMMANDS and (path.stem in COMMANDS or not own), path
    for path in SCRIPTS.glob("quagmires/*.py"):
        assert {file.parent.name for file in imported(path)} <= {"quagmires"}, path


def test_no_modules_import_each_other_in_a_circle():
    TopologicalSorter({path: imported(path) for path in SCRIPTS.rglob("*.py")}).prepare()


def test_files_and_functions_are_short():
    """At most 300 lines a file, 60 a function."""
    files = [path for path in WORKFLOW.rglob("*.*") if path.suffix in (".py", ".smk")]
    assert [str(path) for path in files if len(path.read_text().splitlines()) > 300] == []
    sizes = {
        f"{path.name}: {node.name}": node.end_lineno - node.lineno + 1
        for path in files
        if path.suffix == ".py"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef)
    }
    assert {name: size for name, size in sizes.items() if size > 60} == {}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> dict[str, set[Path]]:
    """The sources that are inputs of every rule of the smoke study, with a map of its base model."""
    config = yaml.safe_load((ROOT / "config" / "smoke.yaml").read_text())
    config["lab"]["base"]["examples"] = {config["seed"]: 20000}
    path = tmp_path_factory.mktemp("config") / "map.yaml"
    path.write_text(yaml.safe_dump(config))
    done = run("snakemake", "-n", "--forceall", "--configfile", path, cwd=ROOT)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    found = re.findall(r"^(?:local)?rule (\w+):\n +input: (.*)$", done.stdout + done.stderr, re.M)
    return {rule: {ROOT / name for name in text.split(", ") if name.endswith(".py")} for rule, text in found}


def test_what_a_program_imports_is_an_input_of_its_rule(inputs):
    """So that a change of it is a change of the rule, and nothing else is: all figures share one list."""
    assert {"plot_map", "map_knowledge", "train_rl", "select_mix"} <= inputs.keys()
    but = frozenset(SCRIPTS / f"{name.replace('.', '/')}.py" for name in WEIGHTLESS)
    for rule, files in inputs.items():
        for script in (file for file in files if file.parent == SCRIPTS):
            needed = all_imported(script, but)
            listed = {file for file in files if SCRIPTS in file.parents} - {script}
            if rule.startswith("train_rl"):  # the verifier's
                listed = {file for file in listed if file.parent.name != "lab"}
            assert needed <= listed, rule
            assert needed == listed or rule.startswith("plot_"), rule
