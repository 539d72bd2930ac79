"""The flows that tests and the demo run.

A flow does what its parameter `acts` says, one act per attempt (the last one for all further attempts):

    return        ends well
    raise         raises an error
    exit:<code>   ends the process at once, telling nobody
    kill          kills every process of the container with SIGKILL, as an OOM kill of the container does
    kill-engine   kills the process that runs the flow, but not `prefect flow-run execute`, which then reports it
    memory:<MiB>  takes that much memory and waits for orders
    wait          waits for orders: files <flow run id>.<number>.order in ORDERS_DIR, each holding an act, lowest first

Each attempt leaves a file <flow run id>.<attempt>.started in ORDERS_DIR that holds its process id.

usage: flows.py <flow> <name of the run> <parameters as JSON>     runs a flow in this process
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.deployments import run_deployment
from prefect.runtime import flow_run

POLL_SECONDS = 0.1

memory: list[bytes] = []


def orders_folder() -> Path:
    return Path(os.environ["ORDERS_DIR"])


def begin_attempt() -> int:
    """Number of this attempt of the flow run, from 0."""
    attempt = len(list(orders_folder().glob(f"{flow_run.id}.*.started")))
    started = orders_folder() / f"{flow_run.id}.{attempt}.started"
    new = started.with_suffix(".new")
    new.write_text(str(os.getpid()))
    new.rename(started)
    return attempt


def next_order() -> str:
    while True:
        orders = orders_folder().glob(f"{flow_run.id}.*.order")
        for order in sorted(orders, key=lambda path: int(path.suffixes[-2][1:])):
            act = order.read_text().strip()
            order.unlink()
            return act
        time.sleep(POLL_SECONDS)


def kill_container() -> None:
    parent = os.getppid()
    ps = subprocess.run(["ps", "-o", "command=", "-p", str(parent)], capture_output=True, text=True)
    # Run without it (python -m prefect.engine), the parent is whoever started the container.
    if "flow-run execute" in ps.stdout:
        os.kill(parent, signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)


def perform(act: str) -> str:
    name, _, value = act.partition(":")
    if name == "return":
        return act
    if name == "raise":
        raise ValueError("told to fail")
    if name == "exit":
        os._exit(int(value))
    if name == "kill":
        kill_container()
    if name == "kill-engine":
        os.kill(os.getpid(), signal.SIGKILL)
    if name == "memory":
        # Not zeros: untouched pages take no memory.
        memory.append(b"m" * (int(value) << 20))
    elif name != "wait":
        raise ValueError(f"unknown act {act!r}")
    return perform(next_order())


def act_as_told(acts: list[str]) -> str:
    attempt = begin_attempt()
    return perform(acts[min(attempt, len(acts) - 1)])


# Results are kept, in PREFECT_HOME, so that a parent can read them.
@flow(name="child", persist_result=True)
def child(acts: list[str] = ["return"]) -> str:
    return act_as_told(acts)


@flow(name="child-with-retry", persist_result=True, retries=1, retry_delay_seconds=1)
def child_with_retry(acts: list[str] = ["return"]) -> str:
    return act_as_told(acts)


@flow(name="inner")
def inner(acts: list[str] = ["return"]) -> str:
    return act_as_told(acts)


@flow(name="child-with-inner", persist_result=True)
def child_with_inner(acts: list[str] = ["return"]) -> str:
    """Its subflow `inner` runs in the same process, without a Job of its own."""
    return inner(acts)


@flow(name="parent")
def parent(
    deployment: str,
    parameters: dict[str, Any] | None = None,
    job_variables: dict[str, Any] | None = None,
    reads_result: bool = False,
) -> str:
    """Runs a deployment as a subflow and waits for its end; fails with it only if it reads the result."""
    run = run_deployment(
        deployment,
        parameters=parameters or {},
        job_variables=job_variables or {},
        timeout=None,
        poll_interval=0.5,
        as_subflow=True,
    )
    print(f"the subflow run {run.id} is {run.state.name}: {run.state.message}", flush=True)
    if reads_result:
        run.state.result()
    return run.state.name


FLOWS = {each.name: each for each in (child, child_with_retry, inner, child_with_inner, parent)}

if __name__ == "__main__":
    _, flow_name, run_name, given = sys.argv
    FLOWS[flow_name].with_options(flow_run_name=run_name)(**json.loads(given))
