"""The README.md of a trained model, from its run.json: for whoever gets the folder without the study, and the hub."""

from pathlib import Path

SHOWN = ("learning_rate", "lr_scheduler_type", "warmup_steps", "per_device_train_batch_size")
SHOWN += ("gradient_accumulation_steps", "num_train_epochs", "max_steps", "max_length", "num_generations")
SHOWN += ("max_completion_length", "temperature", "beta", "loss_type", "scale_rewards", "bf16", "seed", "deepspeed")
STAGES = {"sft": "Supervised fine-tuning", "grpo": "Reinforcement learning"}  # whichever the algorithm is


def card(record: dict, sources: dict[str, Path]) -> str:
    """Markdown with the front matter that the hub reads. `record` is the content of run.json, `sources` the files and
    folders that the model was made from, by the names of the record's inputs."""
    recipe = record.get("recipe", {})
    settings = recipe.get("settings", {})
    stage = next((name for name in STAGES if name in settings), None)
    trainer = settings.get("trainer", "GRPO") if stage == "grpo" else None
    lines = ["---", "library_name: transformers", "pipeline_tag: text-generation"]
    lines += [f"tags: [{(trainer or stage).lower()}]"] if stage else []
    what = STAGES.get(stage, "The mean of the weights of several models.") + (f" ({trainer})" if trainer else "")
    lines += ["---", "", f"# {record['model']}", "", what]
    how = [f"{record[key]:,} {key}" for key in ("steps", "tokens") if key in record]
    how += [f"{record['seconds'] / 3600:.2f} hours"] if "seconds" in record else []
    how += [f"on {record['device']}"] if "device" in record else []
    lines += ["", f"{', '.join(how)}."] if how else []
    lines += ["", "## Made from", ""]
    lines += [f"- {name}: `{path}`, SHA-256 `{recipe['inputs'][name]}`" for name, path in sources.items()]
    if stage:
        given = settings[stage]
        lines += ["", "## Recipe", "", "| key | value |", "|---|---|"]
        lines += [f"| {key} | {given[key]} |" for key in SHOWN if given.get(key) not in (None, -1)]
        lines += [f"| {key} | {value} |" for key, value in settings.items() if key not in STAGES and value]
        packages = ", ".join(f"{name} {number}" for name, number in recipe["versions"].items())
        state = " with changes that are in no commit" if record.get("dirty") else ""
        lines += ["", f"Commit {record.get('commit')}{state}; Python {record.get('python')}, {packages}."]
    lines += [
        "",
        "The whole record is `run.json` beside this folder; scores are in `tables/models.csv` of the study. The",
    ]
    lines += ["licence of the model it started from holds for it too.", "", "## To share it", "", "```sh"]
    lines += ["hf upload YOUR-NAME/YOUR-MODEL .", "```"]
    return "\n".join(lines) + "\n"
