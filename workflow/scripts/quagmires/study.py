"""Read and check a study: its config against the schema, its sheet of runs row by row.

Every complaint is one line that names the file, the key or row, and what was expected.
"""

import csv
import re
from collections.abc import Collection
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import jsonschema
import pandas as pd
import yaml

from largek.common import InputError
from largek.verify import NAMED, sources
from quagmires.mixes import MIXES

SCHEMAS = Path(__file__).parents[2] / "schemas"
COLUMNS = ["run", "mix", "unique", "epochs", "budget_tokens", "sft_seed", "series", "checkpoint"]
OPTIONAL = ["grpo_seeds", "average_of"]


class StudyError(InputError):
    """A config or a sheet that the study cannot be made from."""


def complaint(where: str, error: jsonschema.ValidationError) -> str:
    """One line for one violation, with the key's path."""
    path = "/".join(map(str, error.absolute_path))
    if error.validator == "additionalProperties":
        allowed = ", ".join(error.schema["properties"])
        unknown = sorted(set(error.instance) - set(error.schema["properties"]))[0]
        key = f"{path}/{unknown}".lstrip("/")
        return f"{where}: unknown key {key!r}, expected one of {allowed}"
    if error.validator == "required":
        missing = error.message.split("'")[1]
        return f"{where}: missing key {f'{path}/{missing}'.lstrip('/')!r}"
    return f"{where}: {path or 'the file'}: {error.message}"


@cache  # read once for all rows of a sheet: that would take longer than checking them
def validator(schema: str) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(yaml.safe_load((SCHEMAS / schema).read_text()))


def validate(value: dict, schema: str, where: str) -> None:
    """Raises StudyError with the best match of what is wrong."""
    error = jsonschema.exceptions.best_match(validator(schema).iter_errors(value))
    if error:
        raise StudyError(complaint(where, error))


def validate_study(config: dict, where: str) -> None:
    """Raises StudyError, naming the file `where`, unless the config is complete and has no key that nobody reads."""
    # pathvars is Snakemake's own key and may be given with --config
    validate({key: value for key, value in config.items() if key != "pathvars"}, "config.schema.yaml", where)
    if "lab" in config:
        validate_lab(config, where)
    validate_verifier(config, where)
    if "reward" in config:
        validate_reward(config, where)
    sampling = config["sampling"]
    samples = sampling["block_size"] * sampling["blocks"]
    largest = max(config["analysis"]["k"])
    if largest > samples - sampling["block_size"]:
        raise StudyError(
            f"{where}: analysis/k: k = {largest} is more than the {samples} samples a problem less the last block, "
            "which is kept for the gain"
        )
    if samples - sampling["block_size"] < 8:
        raise StudyError(f"{where}: sampling: expected at least 8 samples a problem before the last block")
    sheet = read_runs(config)
    key = "lab/pool/examples" if "lab" in config else "data/pool"
    size = config["lab"]["pool"]["examples"] if "lab" in config else config["data"]["pool"]
    for row in sheet.itertuples():
        seen = round(size * config["pool_share"])
        if row.unique and int(row.unique) > seen:
            pool = f"the {seen} of {key} times pool_share in {where}"
            raise StudyError(f"{config['runs']}, run {row.run!r}: unique: {row.unique} is more than {pool}")
    alike = sheet.index[sheet["mix"] == "homogeneous"]
    if len(alike) and "homogeneous_family" not in config:
        needed = f"the mix of the run {alike[0]!r} in {config['runs']} draws from one"
        raise StudyError(f"{where}: missing key 'homogeneous_family': {needed}")
    runs = sheet.index
    for run in config.get("coin_runs", []):
        if run not in {"base", *runs}:
            raise StudyError(f"{where}: coin_runs: {run!r} is not a run of {config['runs']}")
    recipe = config["recipes"]["grpo"]
    last = recipe_of(config, "grpo").get("max_steps")
    for steps in config.get("grpo_steps", []):
        if isinstance(last, int) and steps >= last:
            raise StudyError(
                f"{where}: grpo_steps: expected numbers below the max_steps {last} of {recipe}, not {steps}"
            )
    for scope, listed in config["analysis"]["scopes"].items():
        strange = sorted(set(listed) - set(runs) - {"base"})
        if strange:
            raise StudyError(f"{where}: analysis/scopes/{scope}: {strange[0]!r} is not a run of {config['runs']}")


def validate_verifier(config: dict, where: str) -> None:
    """Raises StudyError unless the verifier is one of largek's or a function of a module that is there."""
    if config["verifier"] not in NAMED:
        validate_function(config["verifier"], f"{where}: verifier", NAMED)


def validate_reward(config: dict, where: str) -> None:
    """Raises StudyError unless each reward is `verifier` or a function of a module that is there. TRL logs them by the
    functions' names, so that no two may have one name."""
    seen, key = {}, f"{where}: reward"
    for name in config["reward"]:
        if name == config["verifier"]:
            raise StudyError(f"{key}: {name!r} is the study's verifier, write verifier for it")
        if name != "verifier":
            validate_function(name, key, ["verifier"])
        called = "correct" if name == "verifier" else name.partition(":")[2]
        if called in seen:
            raise StudyError(f"{key}: {seen[called]!r} and {name!r} are both logged as {called!r}, rename a function")
        seen[called] = name
    if not any(config["reward"].values()):
        raise StudyError(f"{key}: expected a weight that is not 0")


def validate_function(name: str, key: str, named: Collection[str]) -> None:
    """Raises StudyError unless the name is one of `named` or says a function of a module that is there. The module is
    not imported: that may take as long as a model."""
    module, colon, function = name.partition(":")
    if not (module and colon and function):
        raise StudyError(f"{key}: expected one of {', '.join(named)} or module:function, not {name!r}")
    files, packages = sources(name)
    file = next(iter(files.values())) if files else packages and file_of_package(module)
    if not file:
        raise StudyError(f"{key}: no module {module!r}, neither in workflow/scripts nor installed")
    if file.suffix == ".py" and not re.search(rf"\b{re.escape(function)}\b", file.read_text(encoding="utf-8")):
        raise StudyError(f"{key}: no {function!r} in {file}")


def file_of_package(module: str) -> Path | None:
    """The file of an installed module, found without importing its package."""
    top, *rest = module.split(".")
    spec = find_spec(top)
    if not rest:
        return Path(spec.origin) if spec.origin else None
    for folder in spec.submodule_search_locations or ():
        path = Path(folder, *rest)
        for file in (path / "__init__.py", *path.parent.glob(f"{path.name}.*")):
            if file.exists():
                return file
    return None


def validate_lab(config: dict, where: str) -> None:
    """Raises StudyError if a name does not stand in the lab's own lists."""
    lab = config["lab"]
    for key, named, listed in (
        ("lab/base/families", lab["base"]["families"], "families"),
        ("lab/base/operations", lab["base"]["operations"], "operations"),
        ("homogeneous_family", filter(None, [config.get("homogeneous_family")]), "families"),
    ):
        strange = sorted(set(named) - set(lab[listed]))
        if strange:
            raise StudyError(f"{where}: {key}: {strange[0]!r} is not one of lab/{listed}: {', '.join(lab[listed])}")
    examples = lab["base"]["examples"]
    if isinstance(examples, dict):
        missing = [str(seed) for seed in config.get("base_seeds", [config.get("seed")])]
        missing = [seed for seed in missing if seed not in map(str, examples)]
        if missing:
            raise StudyError(f"{where}: lab/base/examples: expected a number for the base model {missing[0]} too")


def recipe_of(config: dict, stage: str) -> dict:
    """The fields of a recipe, as far as planning looks at them; none of one that is not there, which Snakemake says."""
    path = Path(config["recipes"][stage])
    try:
        found = yaml.safe_load(path.read_text()) if path.exists() else {}
    except Exception as error:  # of any kind, where a tag or a date is none
        raise StudyError(f"{path}: not YAML ({' '.join(str(error).split())})") from None
    if not isinstance(found, dict | None):
        raise StudyError(f"{path}: expected fields with values, found {found!r:.60}")
    return found or {}


def recipe_files(config: dict, stage: str) -> list[str]:
    """The files that a recipe names beside itself: of LoRA and of DeepSpeed."""
    return [file for file in (config["recipes"].get("lora"), recipe_of(config, stage).get("deepspeed")) if file]


def function_files(name: str, root: Path) -> list[str]:
    """The files that a verifier's verdicts or a reward follow from, its own first: of the project as Snakemake names
    them."""
    files, _ = sources(name)
    return [str(file.relative_to(root) if file.is_relative_to(root) else file) for file in files.values()]


def reward_files(config: dict, root: Path) -> list[str]:
    """The same of all rewards of one's own."""
    names = [name for name in config.get("reward", {}) if name != "verifier"]
    return list(dict.fromkeys(file for name in names for file in function_files(name, root)))


def grpo_seeds(config: dict, sheet: pd.DataFrame) -> dict[str, list]:
    """The seeds of RL from every run and from the base model: the study's, or those of the run's row."""
    own = {row.run: row.grpo_seeds.split(",") for row in sheet.itertuples() if row.grpo_seeds}
    return dict.fromkeys(["base", *sheet.index], config["grpo_seeds"]) | own


def read_runs(config: dict) -> pd.DataFrame:
    """The sheet of runs, all cells as text, indexed by run. Raises StudyError naming file, row and column."""
    path = Path(config["runs"])
    try:
        with path.open(newline="") as file:
            reader = csv.DictReader((line for line in file if not line.startswith("#")), delimiter="\t")
            rows, columns = list(reader), reader.fieldnames or []
    except FileNotFoundError:
        raise StudyError(f"{path}: no such file (the key 'runs' of the config names it)") from None
    for missing in [name for name in COLUMNS if name not in columns]:
        raise StudyError(f"{path}: missing column {missing!r}, expected {', '.join(COLUMNS)}")
    for row in rows:
        filled = {key: value for key, value in row.items() if value}
        where = f"{path}, run {row['run']!r}"
        validate(filled, "runs.schema.yaml", where)
        if sum(name in filled for name in ("mix", "checkpoint", "average_of")) != 1:
            raise StudyError(f"{where}: expected one of mix, checkpoint and average_of")
        if "mix" in filled and filled["mix"] not in MIXES:
            raise StudyError(f"{where}: mix: {filled['mix']!r} is not one of {', '.join(MIXES)}")
        if "mix" in filled and ("unique" in filled) == ("budget_tokens" in filled):
            raise StudyError(f"{where}: expected either unique or budget_tokens")
        for needed in [name for name in ("epochs", "sft_seed") if "mix" in filled and name not in filled]:
            raise StudyError(f"{where}: missing {needed}")
        if "checkpoint" in filled and not Path(filled["checkpoint"]).is_dir():
            raise StudyError(f"{where}: checkpoint: no folder {filled['checkpoint']}")
    names = [row["run"] for row in rows]
    trained = {row["run"] for row in rows if row["mix"]}
    for row in rows:
        if row.get("average_of") and row["average_of"] not in trained:
            raise StudyError(f"{path}, run {row['run']!r}: average_of: {row['average_of']!r} is no run with a mix here")
    for name in names:
        if names.count(name) > 1:
            raise StudyError(f"{path}: the run {name!r} is there twice")
    cells = [{name: row.get(name) or "" for name in (*COLUMNS, *OPTIONAL)} for row in rows]
    sheet = pd.DataFrame(cells, columns=[*COLUMNS, *OPTIONAL]).set_index("run", drop=False)
    sheet["size"] = [
        f"--unique={row.unique}" if row.unique else f"--budget-tokens={row.budget_tokens}" for row in sheet.itertuples()
    ]
    return sheet
