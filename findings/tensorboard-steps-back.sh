#!/usr/bin/env bash
# TensorBoard's own readers disagree on a run whose steps go back: one drops points, one shows both, one needs a mark.
#
# One would guess that the page, the page with --load_fast=false and EventAccumulator, which is TensorBoard's way to
# read a log from Python, tell of the same points. A run that is resumed from an earlier step writes some steps twice,
# in a second file. The default server drops the old points at and after the step that came back, mark or no mark, in
# one file too: where a later value is logged under an earlier step, all that was logged at or after that step is gone
# from the page. With --load_fast=false both stay, and the curve runs back, even where a SessionLog START marks the
# restart. EventAccumulator keeps both without the mark and drops the old ones with it.
#
# Seen with TensorBoard 2.21.0 and tensorboard-data-server 0.7.2.
# It matters for resumed runs, and for logs that write an epoch's value under the epoch's first step.
# Instead: write SessionLog START at the step of a resume, never log under an earlier step, and keep what is summed up
# later in a run of its own.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

python3 -m venv "$tmp/env"
"$tmp/env/bin/pip" install --quiet --disable-pip-version-check tensorboard==2.21.0 \
    tensorboard-data-server==0.7.2 protobuf==7.36.2 numpy==2.3.5

cat > "$tmp/show.py" <<'EOF_PY'
import json, pathlib, socket, subprocess, sys, time, urllib.request
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

logs = pathlib.Path(sys.argv[0]).resolve().parent / "logs"


def point(step, value):
    return Event(wall_time=1000 + step, step=step, summary=Summary(value=[Summary.Value(tag="loss", simple_value=value)]))


def write(name, events):
    path = logs / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        writer = RecordWriter(file)
        for event in [Event(wall_time=1000, file_version="brain.Event:2"), *events]:
            writer.write(event.SerializeToString())
        writer.flush()


def served(load_fast, runs):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", logs, "--host", "127.0.0.1", "--port", str(port),
               "--load_fast", load_fast, "--reload_interval", "1"]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    get = lambda path: json.load(urllib.request.urlopen(f"http://127.0.0.1:{port}/data/plugin/scalars/{path}", timeout=10))
    try:
        for _ in range(120):
            time.sleep(0.5)
            try:
                if set(get("tags")) == set(runs):
                    break
            except OSError:
                pass
        time.sleep(3)  # the rest of the files
        return {run: [(step, value) for _, step, value in get(f"scalars?run={run}&tag=loss")] for run in runs}
    finally:
        server.terminate()
        server.wait()


first, second = "events.out.tfevents.1000.host.1.0", "events.out.tfevents.2000.host.2.0"
old, new = [point(i, i) for i in range(6)], [point(i, 10 + i) for i in (3, 4)]
start = Event(step=3, session_log=SessionLog(status=SessionLog.START))
runs = ("resumed", "resumed-marked", "one-file")
write(f"resumed/{first}", old)
write(f"resumed/{second}", new)
write(f"resumed-marked/{first}", old)
write(f"resumed-marked/{second}", [start, *new])
write(f"one-file/{first}", [point(5, 1), point(6, 2), point(4, 3)])
fast, slow = served("true", runs), served("false", runs)
for run in runs:
    read = EventAccumulator(str(logs / run)).Reload()
    for name, points in (("default", fast[run]), ("--load_fast=false", slow[run]),
                         ("EventAccumulator", [(e.step, e.value) for e in read.Scalars("loss")])):
        print(f"{run}, {name}: {' '.join(f'{step}:{value:g}' for step, value in points)}")
EOF_PY
cat > "$tmp/expected" <<'EOF_EXPECTED'
resumed, default: 0:0 1:1 2:2 3:13 4:14
resumed, --load_fast=false: 0:0 1:1 2:2 3:3 4:4 5:5 3:13 4:14
resumed, EventAccumulator: 0:0 1:1 2:2 3:3 4:4 5:5 3:13 4:14
resumed-marked, default: 0:0 1:1 2:2 3:13 4:14
resumed-marked, --load_fast=false: 0:0 1:1 2:2 3:3 4:4 5:5 3:13 4:14
resumed-marked, EventAccumulator: 0:0 1:1 2:2 3:13 4:14
one-file, default: 4:3
one-file, --load_fast=false: 5:1 6:2 4:3
one-file, EventAccumulator: 5:1 6:2 4:3
EOF_EXPECTED
"$tmp/env/bin/python" "$tmp/show.py" > "$tmp/seen"
diff -u "$tmp/expected" "$tmp/seen" || { echo "changed: see the lines above" >&2; exit 1; }
echo "ok: TensorBoard 2.21.0's readers disagree on steps that go back"
