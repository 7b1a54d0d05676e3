"""The base model, the SFT checkpoints and the models after RL.

in:  <results>/problems/, <results>/mixes/{run}/, the recipes in config/sft/ and config/grpo/
out: <results>/models/{base, sft/{run}, grpo/{run}/seed-{seed}}/ with model/, run.json and metrics.jsonl

The folder of models after RL is called grpo whichever the algorithm is (docs/own.md says why).

A model that failed is a folder with failed.json instead of weights. Checkpoints are not outputs: Snakemake deletes
outputs before each attempt. They live in checkpoints/ beside the model (see workflow/scripts/quagmires/training.py). The number
of threads goes to the scripts from the config: Snakemake lowers its own where there are fewer cores, and sums depend on it.
"""

if LAB:

    rule pretrain_base:
        """Train the lab's base model from scratch."""
        input:
            script="workflow/scripts/pretrain_base.py",
            shared=[*TRAINING_FILES, *CPU_FILES, *modules("lean_sft", "known_fields")],
            lab="workflow/scripts/lab/problems.py",
            examples="<results>/problems/base.jsonl",
            recipe=config["recipes"]["base"],
        output:
            model=directory("<results>/models/base/model"),
            record="<results>/models/base/run.json",
            metrics="<results>/models/base/metrics.jsonl",
        log:
            "<results>/models/base/train.log",
        benchmark:
            "<results>/models/base/benchmark.jsonl"
        threads: config["threads"]["base"]
        resources:
            gpu=GPUS["sft"],
        params:
            python=training("sft"),
            threads=config["threads"]["base"],
            architecture=json.dumps(config["architecture"]),
            seed=study_seed,
            report_to=config["report_to"],
            folder=subpath(output.model, parent=True),
        shell:
            r"""
            {params.python:q} {input.script:q} \
                --examples {input.examples:q} \
                --recipe {input.recipe:q} \
                --architecture {params.architecture:q} \
                --seed {params.seed:q} \
                --threads {params.threads:q} \
                --report-to {params.report_to:q} \
                --output {params.folder:q} 2>&1 | tee {log:q}
            """

else:

    rule import_base:
        """The base model from the hub, at its revision, or from a folder."""
        input:
            script="workflow/scripts/import_checkpoint.py",
        output:
            model=directory("<results>/models/base/model"),
            record="<results>/models/base/run.json",
        log:
            "<results>/models/base/import.log",
        localrule: True
        params:
            checkpoint=config["base_model"]["name"],
            revision=[f"--revision={config['base_model']['revision']}"] if "revision" in config["base_model"] else [],
            folder=subpath(output.model, parent=True),
        shell:
            r"""
            python {input.script:q} \
                --checkpoint {params.checkpoint:q} {params.revision:q} \
                --output {params.folder:q} 2>&1 | tee {log:q}
            """


rule train_sft:
    """Fine-tune the base model on one mix."""
    input:
        script="workflow/scripts/train_sft.py",
        shared=[*TRAINING_FILES, *CPU_FILES, *modules("lean_sft", "known_fields"), "largek/loss.py"],
        base="<results>/models/base/model",
        mix="<results>/mixes/{run}/examples.jsonl",
        recipe=config["recipes"]["sft"],
        named_by_recipe=NAMED_BY_RECIPE["sft"],
    output:
        model=directory("<results>/models/sft/{run}/model"),
        record="<results>/models/sft/{run}/run.json",
        metrics="<results>/models/sft/{run}/metrics.jsonl",
    log:
        "<results>/models/sft/{run}/train.log",
    benchmark:
        "<results>/models/sft/{run}/benchmark.jsonl"
    wildcard_constraints:
        run=TRAINED_RUNS,
    threads: config["threads"]["sft"]
    resources:
        gpu=GPUS["sft"],
    params:
        python=training("sft"),
        threads=config["threads"]["sft"],
        epochs=cell("epochs"),
        seed=cell("sft_seed"),
        chat_template=CHAT_TEMPLATE,
        lora=LORA,
        report_to=config["report_to"],
        folder=subpath(output.model, parent=True),
    shell:
        r"""
        {params.python:q} {input.script:q} \
            --base {input.base:q} \
            --mix {input.mix:q} \
            --recipe {input.recipe:q} \
            --epochs {params.epochs:q} \
            --seed {params.seed:q} \
            --threads {params.threads:q} \
            --chat-template {params.chat_template:q} {params.lora:q} \
            --report-to {params.report_to:q} \
            --output {params.folder:q} 2>&1 | tee {log:q}
        """


rule average_weights:
    """The mean of a fine-tuned model's weights and the base model's (WiSE-FT, arXiv 2109.01903, at one half)."""
    input:
        script="workflow/scripts/average_weights.py",
        base="<results>/models/base/model",
        tuned=tuned_of_average,
    output:
        model=directory("<results>/models/sft/{run}/model"),
        record="<results>/models/sft/{run}/run.json",
    log:
        "<results>/models/sft/{run}/average.log",
    wildcard_constraints:
        run=AVERAGED_RUNS,
    params:
        folder=subpath(output.model, parent=True),
    shell:
        r"""
        python {input.script:q} \
            --models {input.base:q} {input.tuned:q} \
            --output {params.folder:q} 2>&1 | tee {log:q}
        """


rule import_checkpoint:
    """Let a person's own SFT model join the study: the folder that the sheet names."""
    input:
        script="workflow/scripts/import_checkpoint.py",
        checkpoint=cell("checkpoint"),
    output:
        model=directory("<results>/models/sft/{run}/model"),
        record="<results>/models/sft/{run}/run.json",
    log:
        "<results>/models/sft/{run}/import.log",
    wildcard_constraints:
        run=IMPORTED_RUNS,
    params:
        folder=subpath(output.model, parent=True),
    shell:
        r"""
        python {input.script:q} \
            --checkpoint {input.checkpoint:q} \
            --output {params.folder:q} 2>&1 | tee {log:q}
        """


rule train_rl:
    """Reinforcement learning from one SFT checkpoint; the reward is the grader's function, or the study's `reward`."""
    input:
        script="workflow/scripts/train_rl.py",
        shared=RL_FILES,
        verifier=VERIFIER,
        imported=VERIFIER_FILES,
        reward=REWARD_FILES,
        start="<results>/models/sft/{run}/model",
        problems="<results>/problems/rl.jsonl",
        recipe=config["recipes"]["grpo"],
        named_by_recipe=NAMED_BY_RECIPE["grpo"],
    output:
        model=directory("<results>/models/grpo/{run}/seed-{seed}/model"),
        record="<results>/models/grpo/{run}/seed-{seed}/run.json",
        metrics="<results>/models/grpo/{run}/seed-{seed}/metrics.jsonl",
        at_steps=[directory(f"<results>/models/grpo/{{run}}/seed-{{seed}}/steps-{steps}/model") for steps in GRPO_STEPS],
        records_at_steps=[f"<results>/models/grpo/{{run}}/seed-{{seed}}/steps-{steps}/run.json" for steps in GRPO_STEPS],
    log:
        "<results>/models/grpo/{run}/seed-{seed}/train.log",
    benchmark:
        "<results>/models/grpo/{run}/seed-{seed}/benchmark.jsonl"
    wildcard_constraints:
        run="(?!base/).+",
    priority: 1  # the longest jobs start first
    threads: config["threads"]["grpo"]
    resources:
        gpu=GPUS["grpo"],
    params:
        python=training("grpo"),
        threads=config["threads"]["grpo"],
        verifier=config["verifier"],
        more=[*(["--keep", *GRPO_STEPS] if GRPO_STEPS else []), *REWARD],
        chat_template=CHAT_TEMPLATE,
        lora=LORA,
        report_to=config["report_to"],
        folder=subpath(output.model, parent=True),
    shell:
        r"""
        {params.python:q} {input.script:q} \
            --start {input.start:q} \
            --problems {input.problems:q} \
            --verifier {params.verifier:q} \
            --recipe {input.recipe:q} \
            --seed {wildcards.seed:q} {params.more:q} \
            --threads {params.threads:q} \
            --chat-template {params.chat_template:q} {params.lora:q} \
            --report-to {params.report_to:q} \
            --output {params.folder:q} 2>&1 | tee {log:q}
        """


use rule train_rl as train_rl_from_base with:
    input:
        script="workflow/scripts/train_rl.py",
        shared=RL_FILES,
        verifier=VERIFIER,
        imported=VERIFIER_FILES,
        reward=REWARD_FILES,
        start="<results>/models/base/model",
        problems="<results>/problems/rl.jsonl",
        recipe=config["recipes"]["grpo"],
        named_by_recipe=NAMED_BY_RECIPE["grpo"],
    wildcard_constraints:
        run="base",


use rule train_rl as train_rl_by_coin with:
    input:
        script="workflow/scripts/train_rl.py",
        shared=RL_FILES,
        verifier=VERIFIER,
        imported=VERIFIER_FILES,
        start=start_of_run,
        problems="<results>/problems/rl.jsonl",
        recipe=config["recipes"]["grpo"],
        named_by_recipe=NAMED_BY_RECIPE["grpo"],
    output:
        model=directory("<results>/models/grpo/{run}/coin-{seed}/model"),
        record="<results>/models/grpo/{run}/coin-{seed}/run.json",
        metrics="<results>/models/grpo/{run}/coin-{seed}/metrics.jsonl",
    log:
        "<results>/models/grpo/{run}/coin-{seed}/train.log",
    benchmark:
        "<results>/models/grpo/{run}/coin-{seed}/benchmark.jsonl"
    wildcard_constraints:
        run="[a-z0-9][a-z0-9.-]*",
    params:
        python=training("grpo"),
        threads=config["threads"]["grpo"],
        verifier=config["verifier"],
        more=["--reward", "coin"],
        chat_template=CHAT_TEMPLATE,
        lora=LORA,
        report_to=config["report_to"],
        folder=subpath(output.model, parent=True),
