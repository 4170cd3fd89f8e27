"""Runs a line of code that maps shares over jobs of submitit, on this machine, and waits for them.

Usage: map.py CODE WORD…, where CODE uses `executor` and `subprocess` and has the words in the place of its `…`.
"""

import subprocess
import sys

import submitit

code, words = sys.argv[1], sys.argv[2:]
assert code.count("…") == 1, code
executor = submitit.AutoExecutor(folder="jobs", cluster="local")
executor.update_parameters(timeout_min=5)
names = {"executor": executor, "subprocess": subprocess, "words": words}
jobs = eval(code.replace("…", "*words"), names)
assert [job.result().returncode for job in jobs] == [0] * 12, jobs
