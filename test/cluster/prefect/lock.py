"""Holds an exclusive lock on a file until standard input ends.

usage: lock.py <file>     prints "locked" once the lock is held

The kernel gives the lock back however this process or the one that started it ends, so there are no stale locks.
"""

import fcntl
import sys

with open(sys.argv[1], "w") as file:
    fcntl.flock(file, fcntl.LOCK_EX)
    print("locked", flush=True)
    sys.stdin.read()
