"""Problems and SFT mixes.

in:  the lab section of the config or, of a language model study, its data section; the sheet of runs
out: <results>/problems/{set}.jsonl
     <results>/mixes/{run}/examples.jsonl, own_held_out.jsonl, statistics.json
"""

if LAB:

    rule make_problems:
        """Draw all sets of problems, disjoint as programs."""
        input:
            script="workflow/scripts/make_problems.py",
            largek="largek/common.py",
            lab="workflow/scripts/lab/problems.py",
        output:
            base="<results>/problems/base.jsonl",
            pool="<results>/problems/sft.jsonl",
            validation="<results>/problems/validation.jsonl",
            held_out="<results>/problems/common_held_out.jsonl",
            rl="<results>/problems/rl.jsonl",
            predict="<results>/problems/predict.jsonl",
            outcome="<results>/problems/outcome.jsonl",
        log:
            "<results>/problems/make_problems.log",
        benchmark:
            "<results>/problems/make_problems.benchmark.jsonl"
        params:
            lab=lab_of_base,
            seed=study_seed,
            folder=subpath(output.base, parent=True),
        shell:
            r"""
            python {input.script:q} \
                --lab {params.lab:q} \
                --seed {params.seed:q} \
                --output {params.folder:q} 2>&1 | tee {log:q}
            """

else:

    rule prepare_data:
        """Take all sets of problems from public data, no text in two of them."""
        input:
            script="workflow/scripts/prepare_data.py",
            largek=["largek/common.py", *MODEL_FILES, "largek/problems.py", "largek/tasks.py"],
            tasks=config["data"]["tasks_file"],
            tokenizer="<results>/models/base/model",
        output:
            pool="<results>/problems/sft.jsonl",
            validation="<results>/problems/validation.jsonl",
            held_out="<results>/problems/common_held_out.jsonl",
            rl="<results>/problems/rl.jsonl",
            predict="<results>/problems/predict.jsonl",
            outcome="<results>/problems/outcome.jsonl",
        log:
            "<results>/problems/prepare_data.log",
        benchmark:
            "<results>/problems/prepare_data.benchmark.jsonl"
        localrule: True  # of a cluster, the nodes may have no network
        params:
            data=as_json(config["data"]),
            seed=study_seed,
            folder=subpath(output.pool, parent=True),
        shell:
            r"""
            python {input.script:q} \
                --data {params.data:q} \
                --tokenizer {input.tokenizer:q} \
                --seed {params.seed:q} \
                --output {params.folder:q} 2>&1 | tee {log:q}
            """


rule select_mix:
    """Select one run's SFT examples, and held-out examples by the same rule."""
    input:
        script="workflow/scripts/select_mix.py",
        mixes=modules("mixes"),
        largek="largek/common.py",
        pool="<results>/problems/sft.jsonl",
        validation="<results>/problems/validation.jsonl",
    output:
        examples="<results>/mixes/{run}/examples.jsonl",
        held_out="<results>/mixes/{run}/own_held_out.jsonl",
        statistics="<results>/mixes/{run}/statistics.json",
    log:
        "<results>/mixes/{run}/select_mix.log",
    benchmark:
        "<results>/mixes/{run}/benchmark.jsonl"
    params:
        mix=cell("mix"),
        size=cell("size"),
        seed=cell("sft_seed"),
        family=config.get("homogeneous_family", "none"),  # where no run draws from one
        pool_share=config["pool_share"],
        held_out=config["held_out"],
        folder=subpath(output.examples, parent=True),
    shell:
        r"""
        python {input.script:q} \
            --pool {input.pool:q} \
            --validation {input.validation:q} \
            --pool-share {params.pool_share:q} \
            --mix {params.mix:q} {params.size:q} \
            --family {params.family:q} \
            --held-out {params.held_out:q} \
            --seed {params.seed:q} \
            --output {params.folder:q} 2>&1 | tee {log:q}
        """
