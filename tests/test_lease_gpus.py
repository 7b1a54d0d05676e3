"""Leases of pretend GPUs: never two commands on one, none lost when a command dies."""

import os
import signal
import subprocess
import time

import pytest
from conftest import BIN, LONG, ROOT, run

LEASE = [str(BIN / "python"), str(ROOT / "workflow" / "scripts" / "lease_gpus.py"), "--gpus"]


@pytest.fixture
def machine(tmp_path) -> dict:
    """The environment of a machine with two GPUs whose locks are this test's own."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("SLURM")}
    return environment | {"CUDA_VISIBLE_DEVICES": "0,GPU-b", "TMPDIR": str(tmp_path)}


def started(machine: dict, gpus: int, command: str) -> subprocess.Popen:
    return subprocess.Popen([*LEASE, str(gpus), "--", "bash", "-c", command], env=machine)


def test_no_two_commands_have_one_gpu(machine, tmp_path):
    """Eight commands on two GPUs: each takes a file of its device's name, which must not be there."""
    body = 'set -C; : > "$TMPDIR/in-$CUDA_VISIBLE_DEVICES" || exit 9; sleep 0.2; rm "$TMPDIR/in-$CUDA_VISIBLE_DEVICES"'
    jobs = [started(machine, 1, body) for _ in range(8)]
    assert [job.wait(LONG) for job in jobs] == [0] * 8


def test_two_gpus_are_leased_together_or_not_at_all(machine, tmp_path):
    short = [started(machine, 1, "sleep 0.5") for _ in range(2)]
    both = started(machine, 2, f'echo "$CUDA_VISIBLE_DEVICES" > {tmp_path}/both')
    assert [job.wait(LONG) for job in (*short, both)] == [0, 0, 0]
    assert (tmp_path / "both").read_text() == "0,GPU-b\n"


def test_a_killed_command_gives_its_gpu_back(machine, tmp_path):
    holders = [started(machine, 1, "touch $TMPDIR/up-$CUDA_VISIBLE_DEVICES; exec sleep 1800") for _ in range(2)]
    while len(list(tmp_path.glob("up-*"))) < 2:
        time.sleep(0.05)
    waiting = started(machine, 1, "true")
    time.sleep(1)
    assert waiting.poll() is None
    holders[0].send_signal(signal.SIGKILL)
    assert waiting.wait(LONG) == 0
    holders[1].kill()
    assert [job.wait(LONG) for job in holders] == [-9, -9]


def test_status_and_words_of_the_command_are_its_own(machine):
    done = subprocess.run([*LEASE, "1", "--", "bash", "-c", "echo here; exit 7"], env=machine, capture_output=True)
    assert done.returncode == 7 and done.stdout == b"here\n"


def test_too_many_gpus_are_refused(machine):
    done = run("python", *LEASE[1:], 3, "--", "true", env=machine)
    assert done.returncode == 2 and "--gpus 3: there are only 2 (0, GPU-b)" in done.stderr


@pytest.mark.parametrize(
    "visible, message",
    [
        (None, "no GPU: nvidia-smi says 'NVIDIA-SMI has failed'"),  # it is installed, and the driver is not loaded
        ("", "no GPU: CUDA_VISIBLE_DEVICES= names none"),  # a person has hidden them
        ("NoDevFiles", "no GPU: CUDA_VISIBLE_DEVICES=NoDevFiles names none"),  # Slurm has given none
    ],
)
def test_a_machine_that_has_no_gpu_to_give_is_one_line(machine, tmp_path, visible, message):
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\necho NVIDIA-SMI has failed; exit 9\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    environment = machine | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "CUDA_VISIBLE_DEVICES": visible or ""}
    if visible is None:
        del environment["CUDA_VISIBLE_DEVICES"]
    done = run("python", *LEASE[1:], 1, "--", "true", env=environment)
    assert done.returncode == 2 and message in done.stderr and done.stderr.count("\n") == 1


def test_a_command_that_wants_several_is_not_passed_by_those_that_want_one(machine, tmp_path):
    """Without its turn it would starve: whenever one GPU is free, somebody who wants one takes it."""
    order = tmp_path / "order"
    hold = "touch {0}/up-{1}; while test ! -e {0}/go-{1}; do sleep 0.1; done"
    holders = [started(machine, 1, hold.format(tmp_path, i)) for i in (1, 2)]
    while len(list(tmp_path.glob("up-*"))) < 2:
        time.sleep(0.05)
    with subprocess.Popen(
        [*LEASE, "2", "--", "bash", "-c", f"echo both >> {order}"], env=machine, stdout=subprocess.PIPE, text=True
    ) as both:
        assert both.stdout.readline() == "waiting for 2 of the GPUs 0, GPU-b\n"
        single = [started(machine, 1, f"echo one >> {order}") for _ in range(3)]
        for i in (1, 2):
            time.sleep(2)  # time enough for one of them to pass by
            (tmp_path / f"go-{i}").touch()
        assert [job.wait(LONG) for job in (*holders, both, *single)] == [0] * 6
    assert order.read_text().split() == ["both", "one", "one", "one"]


def test_a_part_of_a_gpu_has_slashes_in_its_name(machine):
    mig = machine | {"CUDA_VISIBLE_DEVICES": "MIG-GPU-a/7/0"}
    done = run("python", *LEASE[1:], 1, "--", "printenv", "CUDA_VISIBLE_DEVICES", env=mig)
    assert done.returncode == 0 and done.stdout == "MIG-GPU-a/7/0\n"


def test_within_an_allocation_of_slurm_commands_share_its_gpus(machine, tmp_path):
    """As after `salloc --gpus 2`: the jobs of a Snakemake there are no jobs of Slurm."""
    body = 'cd "$TMPDIR"; touch "in-$CUDA_VISIBLE_DEVICES"; until test $(ls | grep -c ^in-) = 2; do sleep 0.1; done'
    jobs = [started(machine | {"SLURM_JOB_ID": "1"}, 1, body) for _ in range(2)]
    assert [job.wait(LONG) for job in jobs] == [0, 0]
    assert {path.name for path in tmp_path.glob("in-*")} == {"in-0", "in-GPU-b"}


def test_two_jobs_of_slurm_on_one_machine_number_their_gpus_alike(machine, tmp_path):
    holders = [started(machine | {"SLURM_JOB_ID": "1"}, 1, f"touch {tmp_path}/up-{i}; exec sleep 1800") for i in (1, 2)]
    while len(list(tmp_path.glob("up-*"))) < 2:
        time.sleep(0.05)
    other = started(machine | {"SLURM_JOB_ID": "2"}, 1, "true")
    assert other.wait(LONG) == 0
    for job in holders:
        job.kill()
        job.wait(LONG)


def test_in_a_slurm_job_of_its_own_a_command_has_all_that_was_given(machine):
    slurm = machine | {"SLURM_JOB_ID": "1"}
    done = run("python", *LEASE[1:], 2, "--", "printenv", "CUDA_VISIBLE_DEVICES", env=slurm)
    assert done.returncode == 0 and done.stdout == "0,GPU-b\n"
    done = run("python", *LEASE[1:], 3, "--", "true", env=slurm)
    assert done.returncode == 2 and "--gpus 3: there are only 2 (0, GPU-b)" in done.stderr


def test_who_wants_all_gpus_of_an_allocation_waits_for_those_in_use(machine, tmp_path):
    slurm = machine | {"SLURM_JOB_ID": "1"}
    one = started(slurm, 1, f"touch {tmp_path}/up; sleep 1.5; rm {tmp_path}/up")
    while not (tmp_path / "up").exists():
        time.sleep(0.05)
    both = started(slurm, 2, f"test ! -e {tmp_path}/up")
    assert [one.wait(LONG), both.wait(LONG)] == [0, 0]
