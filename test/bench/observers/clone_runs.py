"""Copies a flow run, its states and its parent task run in a Prefect database: thousands of runs in a second, of which
a server would make some ten. Prints the id of each new run and of its parent task run."""

import json
import sqlite3
import sys
import uuid

database, source, namespace, prefix, count = sys.argv[1:6]
connection = sqlite3.connect(database, timeout=60)
connection.row_factory = sqlite3.Row


def rows(table, column, value):
    query = f"SELECT * FROM {table} WHERE {column} = ? ORDER BY created"
    return [dict(row) for row in connection.execute(query, (value,))]


def insert(table, made):
    if not made:
        return
    columns = list(made[0])
    marks = ", ".join("?" for _ in columns)
    names = ", ".join(f'"{column}"' for column in columns)
    connection.executemany(
        f"INSERT INTO {table} ({names}) VALUES ({marks})", [[row[c] for c in columns] for row in made]
    )


def copies_of(states, owner, new_id):
    """The states under new ids, as those of another run; and which id became which."""
    ids = {state["id"]: str(uuid.uuid4()) for state in states}
    made = []
    for state in states:
        details = json.loads(state["state_details"])
        details[owner] = new_id
        made.append({**state, "id": ids[state["id"]], owner: new_id, "state_details": json.dumps(details)})
    return made, ids


run = rows("flow_run", "id", source)[0]
states = rows("flow_run_state", "flow_run_id", source)
task = rows("task_run", "id", run["parent_task_run_id"])[0]
task_states = rows("task_run_state", "task_run_id", task["id"])
tables = {"task_run_state": [], "task_run": [], "flow_run_state": [], "flow_run": []}
for number in range(int(count)):
    task_id, run_id = str(uuid.uuid4()), str(uuid.uuid4())
    made, ids = copies_of(task_states, "task_run_id", task_id)
    tables["task_run_state"] += made
    tables["task_run"].append(
        {**task, "id": task_id, "dynamic_key": task_id, "state_id": ids.get(task["state_id"])}
    )
    made, ids = copies_of(states, "flow_run_id", run_id)
    tables["flow_run_state"] += made
    name = f"{prefix}-{number}"
    tables["flow_run"].append(
        {
            **run,
            "id": run_id,
            "name": name,
            "parent_task_run_id": task_id,
            "state_id": ids[run["state_id"]],
            "infrastructure_pid": f"{namespace}:{name}",
        }
    )
# The tables refer to each other in circles.
connection.execute("PRAGMA foreign_keys = OFF")
with connection:
    for table, made in tables.items():
        insert(table, made)
for made in tables["flow_run"]:
    print(made["id"], made["parent_task_run_id"])
