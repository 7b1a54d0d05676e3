"""Held-out loss, samples, grades and pass@k of every model, and all of it together. Only the first two need the model.

in:  <results>/models/{model}/model, <results>/problems/, <results>/mixes/{run}/own_held_out.jsonl
out: <results>/losses/{model}.json
     <results>/samples/{model}/block-{block}.parquet   while it grows: block-{block}.parquet.partial/
     <results>/grades/{model}/block-{block}.parquet
     <results>/passk/{model}.csv
     <results>/tables/{counts.parquet, records.parquet, metrics.parquet, guessing.csv}

The largek files that a command really uses are its inputs; largek/cli.py only reads the command line and is not. The verifier of the
lab is a module in workflow/scripts.
"""


rule measure_loss:
    """Held-out loss of an SFT checkpoint: on examples chosen as its own mix was, and on the common ones."""
    input:
        largek=LOSS_FILES,
        model="<results>/models/sft/{run}/model",
        examples=[
            "<results>/mixes/{run}/own_held_out.jsonl",
            "<results>/problems/common_held_out.jsonl",
        ],
    output:
        "<results>/losses/sft/{run}.json",
    log:
        "<results>/losses/sft/{run}.log",
    benchmark:
        "<results>/losses/sft/{run}.benchmark.jsonl"
    wildcard_constraints:
        run=TRAINED_RUNS,
    threads: config["threads"]["sample"]
    resources:
        gpu=GPUS["sample"],
    params:
        lease=lease("sample"),
        chat_template=CHAT_TEMPLATE,
        name="sft/{run}",
    shell:
        r"""
        {params.lease:q} python -m largek loss \
            --model {input.model:q} \
            --chat-template {params.chat_template:q} \
            --examples {input.examples:q} \
            --name {params.name:q} \
            --output {output:q} 2>&1 | tee {log:q}
        """


use rule measure_loss as measure_loss_of_import with:
    input:
        largek=LOSS_FILES,
        model="<results>/models/sft/{run}/model",
        examples="<results>/problems/common_held_out.jsonl",
    wildcard_constraints:
        run=f"{IMPORTED_RUNS}|{AVERAGED_RUNS}",


use rule measure_loss as measure_loss_of_base with:
    input:
        largek=LOSS_FILES,
        model="<results>/models/base/model",
        examples="<results>/problems/common_held_out.jsonl",
    output:
        "<results>/losses/base.json",
    log:
        "<results>/losses/base.log",
    benchmark:
        "<results>/losses/base.benchmark.jsonl"
    wildcard_constraints:
        run=NO_RUN,
    params:
        lease=lease("sample"),
        chat_template=CHAT_TEMPLATE,
        name="base",


rule sample:
    """One block of answers to the predict and the outcome problems, from the base or an SFT checkpoint."""
    input:
        largek=SAMPLE_FILES,
        model="<results>/models/{model}/model",
        problems=problems_of_block,
    output:
        "<results>/samples/{model}/block-{block}.parquet",
    log:
        "<results>/samples/{model}/block-{block}.log",
    benchmark:
        "<results>/samples/{model}/block-{block}.benchmark.jsonl"
    wildcard_constraints:
        model="base|sft/.+",
    threads: config["threads"]["sample"]
    resources:
        gpu=GPUS["sample"],
    params:
        lease=lease("sample"),
        chat_template=CHAT_TEMPLATE,
        samples=samples_of_block,
        names="{model}",
        engine=ENGINE,
        temperature=config["sampling"]["temperature"],
        top_p=config["sampling"]["top_p"],
        max_tokens=config["sampling"]["max_tokens"],
        batch_size=config["sampling"]["batch_size"],
        seed=study_seed,
    shell:
        r"""
        {params.lease:q} python -m largek sample \
            --model {input.model:q} \
            --chat-template {params.chat_template:q} \
            --tasks {input.problems:q} \
            --samples {params.samples:q} \
            --name {params.names:q} \
            {params.engine:q} \
            --temperature {params.temperature:q} \
            --top-p {params.top_p:q} \
            --max-tokens {params.max_tokens:q} \
            --batch-size {params.batch_size:q} \
            --seed {params.seed:q} \
            --output {output:q} 2>&1 | tee {log:q}
        """


use rule sample as sample_after_rl with:
    input:
        largek=SAMPLE_FILES,
        model=expand("<results>/models/grpo/{{run}}/seed-{{seed}}{part}/model", part=PARTS),
        problems="<results>/problems/outcome.jsonl",
    output:
        expand("<results>/samples/grpo/{{run}}/seed-{{seed}}{part}/block-{{block}}.parquet", part=PARTS),
    log:
        "<results>/samples/grpo/{run}/seed-{seed}/block-{block}.log",
    benchmark:
        "<results>/samples/grpo/{run}/seed-{seed}/block-{block}.benchmark.jsonl"
    wildcard_constraints:
        model="",
    params:
        lease=lease("sample"),
        chat_template=CHAT_TEMPLATE,
        samples=samples_of_block,
        names=expand("grpo/{{run}}/seed-{{seed}}{part}", part=PARTS),
        engine=ENGINE,
        temperature=SAMPLING["temperature"],
        top_p=SAMPLING["top_p"],
        max_tokens=SAMPLING["max_tokens"],
        batch_size=SAMPLING["batch_size"],
        seed=study_seed,


use rule sample as sample_after_coin with:
    input:
        largek=SAMPLE_FILES,
        model="<results>/models/{model}/model",
        problems="<results>/problems/outcome.jsonl",
    wildcard_constraints:
        model="grpo/.+/coin-[0-9]+",


use rule sample as sample_greedy with:
    input:
        largek=SAMPLE_FILES,
        model="<results>/models/{model}/model",
        problems=["<results>/problems/predict.jsonl", "<results>/problems/outcome.jsonl"],
    output:
        "<results>/samples/{model}/greedy.parquet",
    log:
        "<results>/samples/{model}/greedy.log",
    benchmark:
        "<results>/samples/{model}/greedy.benchmark.jsonl"
    params:
        lease=lease("sample"),
        chat_template=CHAT_TEMPLATE,
        samples="0:1",
        names="{model}",
        engine=ENGINE,
        temperature=0,
        top_p=1,
        max_tokens=SAMPLING["max_tokens"],
        batch_size=SAMPLING["batch_size"],
        seed=study_seed,


rule grade:
    """A verdict on every answer of a block."""
    input:
        largek=GRADE_FILES,
        verifier=VERIFIER,
        imported=VERIFIER_FILES,
        samples="<results>/samples/{model}/{block}.parquet",
        problems=["<results>/problems/predict.jsonl", "<results>/problems/outcome.jsonl"],
    output:
        "<results>/grades/{model}/{block}.parquet",
    log:
        "<results>/grades/{model}/{block}.log",
    benchmark:
        "<results>/grades/{model}/{block}.benchmark.jsonl"
    wildcard_constraints:
        model="base|sft/.+|grpo/.+/coin-[0-9]+",
        block="block-[0-9]+|greedy",
    threads: 1 if LAB else 4  # the lab's verifier runs in the process itself
    params:
        verifier=config["verifier"],
        how=["--in-process"] if LAB else [],  # the lab's verifier cannot hang
    shell:
        r"""
        PYTHONPATH="$PYTHONPATH:workflow/scripts" python -m largek grade {input.samples:q} \
            --tasks {input.problems:q} \
            --verifier {params.verifier:q} {params.how:q} \
            --workers {threads} \
            --output {output:q} 2>&1 | tee {log:q}
        """


use rule grade as grade_after_rl with:
    input:
        largek=GRADE_FILES,
        verifier=VERIFIER,
        imported=VERIFIER_FILES,
        samples=expand("<results>/samples/grpo/{{run}}/seed-{{seed}}{part}/block-{{block}}.parquet", part=PARTS),
        problems="<results>/problems/outcome.jsonl",
    output:
        expand("<results>/grades/grpo/{{run}}/seed-{{seed}}{part}/block-{{block}}.parquet", part=PARTS),
    log:
        "<results>/grades/grpo/{run}/seed-{seed}/block-{block}.log",
    benchmark:
        "<results>/grades/grpo/{run}/seed-{seed}/block-{block}.benchmark.jsonl"
    wildcard_constraints:
        model="",
        block="[0-9]+",


rule estimate_passk:
    """pass@k and maj@k for k a power of two and k = n, from all blocks of a model."""
    input:
        largek=PASSK_FILES,
        grades=expand("<results>/grades/{{model}}/block-{block}.parquet", block=BLOCKS),
    output:
        "<results>/passk/{model}.csv",
    log:
        "<results>/passk/{model}.log",
    benchmark:
        "<results>/passk/{model}.benchmark.jsonl"
    wildcard_constraints:
        model="base|sft/.+",
    params:
        k=powers_of_two(OUTCOME_SAMPLES or SAMPLING["block_size"] * len(BLOCKS)),
    shell:
        r"""
        python -m largek passk {input.grades:q} --k {params.k:q} --output {output:q} 2>&1 | tee {log:q}
        """


use rule estimate_passk as estimate_passk_after_rl with:
    input:
        largek=PASSK_FILES,
        grades=expand("<results>/grades/{{model}}/block-{block}.parquet", block=BLOCKS_AFTER_RL),
    wildcard_constraints:
        model="grpo/.+",
    params:
        k=powers_of_two((OUTCOME_SAMPLES or SAMPLING["block_size"]) * len(BLOCKS_AFTER_RL)),


rule collect:
    """Put together what was measured; all tables and figures follow from it."""
    input:
        script="workflow/scripts/collect.py",
        largek=["largek/common.py", "largek/grades.py"],
        records=expand("<results>/models/{model}/run.json", model=MODELS),
        metrics=expand("<results>/models/{model}/metrics.jsonl", model=[*GRPO, *COIN]),
        losses=expand("<results>/losses/{model}.json", model=["base", *SFT]),
        grades=ALL_GRADES,
    output:
        counts="<results>/tables/counts.parquet",
        records="<results>/tables/records.parquet",
        metrics="<results>/tables/metrics.parquet",
    log:
        "<results>/tables/collect.log",
    benchmark:
        "<results>/tables/collect.benchmark.jsonl"
    params:
        results=subpath(output.counts, ancestor=2),
        models=MODELS,
        gain_block=max(BLOCKS),
    shell:
        r"""
        python {input.script:q} \
            --results {params.results:q} \
            --models {params.models:q} \
            --grades {input.grades:q} \
            --gain-block {params.gain_block:q} 2>&1 | tee {log:q}
        """


rule check_guessing:
    """Grade every answer against the answers of the other problems of its task."""
    input:
        script="workflow/scripts/check_guessing.py",
        largek=["largek/common.py", "largek/grades.py"],
        grades=GUESSED,
        problems=["<results>/problems/predict.jsonl", "<results>/problems/outcome.jsonl"],
    output:
        report(
            "<results>/tables/guessing.csv",
            caption="../report/guessing.rst",
            category="Tables",
            labels={"table": "can answers be guessed?"},
        ),
    log:
        "<results>/tables/check_guessing.log",
    shell:
        r"""
        python {input.script:q} \
            --grades {input.grades:q} \
            --problems {input.problems:q} \
            --output {output:q} 2>&1 | tee {log:q}
        """
