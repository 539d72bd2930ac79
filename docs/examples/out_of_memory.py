"""A subflow run that is killed for want of memory, to see what is said of it. Needs a Kubernetes work pool with a worker:

    python out_of_memory.py MY-WORK-POOL [IMAGE]

The parent runs here, the subflow in a pod of the pool. Nothing of this file has to be in the pod's image, for the pod
runs another command than Prefect's: any image with python3 will do.
"""

import sys
from pathlib import Path

from prefect import flow
from prefect.deployments import run_deployment


@flow
def hog():
    """Never loaded: the pod's command below takes its place."""


@flow
def parent():
    run = run_deployment("hog/out-of-memory", timeout=300)
    print(f"\n{run.id} is {run.state.name}\n{run.state.message}")


if __name__ == "__main__":
    hog.from_source(source=str(Path(__file__).parent), entrypoint=f"{Path(__file__).name}:hog").deploy(
        name="out-of-memory",
        work_pool_name=sys.argv[1],
        build=False,
        push=False,
        print_next_steps=False,
        job_variables={
            "command": "python3 -c \"hoard = b'x' * 10**10\"",
            "memory_limit": "256Mi",
            **({"image": sys.argv[2]} if len(sys.argv) > 2 else {}),
        },
    )
    parent()
