"""Held-out loss and samples of every model: what needs the model.

in:  <results>/models/{model}/model, <results>/problems/, <results>/mixes/{run}/own_held_out.jsonl
out: <results>/losses/{model}.json
     <results>/samples/{model}/block-{block}.parquet   while it grows: block-{block}.parquet.partial/

The largek files that a command really uses are its inputs; largek/cli.py, which only reads the command line, is none.
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
