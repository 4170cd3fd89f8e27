"""Compares two folders of `normscape reproduce`: every file, byte by byte, but for times and locks. Prints what differs; the exit code is 1 then.

Usage: same.py ONE OTHER
"""

import pathlib
import re
import sys


def content(path):
    """What must be equal: of a log all columns but the seconds, of a report all but its marked part."""
    data = path.read_bytes()
    if path.name == "metrics.csv":
        return re.sub(rb",[^,\n]*$", b"", data, flags=re.MULTILINE)
    if path.name == "report.html":
        return re.sub(rb"<!-- cost -->.*<!-- /cost -->", b"", data, flags=re.DOTALL)
    return data


def files(folder):
    """All files below a folder by name, less those that are about times, locks and jobs."""
    found = {}
    for path in sorted(pathlib.Path(folder).rglob("*")):
        name = path.relative_to(folder)
        if path.is_file() and path.name not in (".lock", "timings.json") and name.parts[0] != "slurm":
            found[str(name)] = path
    return found


one, other = (files(folder) for folder in sys.argv[1:])
different = sorted(one.keys() ^ other.keys())
different += [name for name in one.keys() & other.keys() if content(one[name]) != content(other[name])]
for name in different:
    print(f"differs: {name}")
if different or not one:
    sys.exit(1)
print(f"{len(one)} files are equal")
