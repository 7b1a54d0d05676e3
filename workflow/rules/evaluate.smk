"""Grades and pass@k of every model's answers, and all that was measured together. Nothing here needs the model.

in:  <results>/losses/, <results>/samples/, <results>/problems/, run.json and metrics.jsonl of every model
out: <results>/grades/{model}/block-{block}.parquet
     <results>/passk/{model}.csv
     <results>/tables/{counts.parquet, records.parquet, metrics.parquet, guessing.csv}

The largek files that a command really uses are its inputs; largek/cli.py, which only reads the command line, is none. The verifier of the
lab is a module in workflow/scripts.
"""


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
