#!/usr/bin/env bash
# TensorBoard's page has no first point of a long curve, and its two servers show other points of it.
#
# One would guess that a curve of more than a thousand points is thinned evenly and keeps its ends. The server keeps a
# random sample of a thousand and the last point; the first, the loss before training, is mostly not among them (of
# 5000 points it is kept one time in five). The default server and --load_fast=false draw other samples, so that the
# lowest or highest value on the page changes with the option. Spikes of one step are lost alike. And
# --samples_per_plugin=scalars=0 leaves no point at all, though 0 keeps all of them in EventAccumulator's
# size_guidance.
#
# Seen with TensorBoard 2.21.0 and tensorboard-data-server 0.7.2.
# It matters where a figure is read off the page, or the page is compared with a plot of all points.
# Instead: give a number larger than any curve (--samples_per_plugin=scalars=1000000), or read the file itself.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

python3 -m venv "$tmp/env"
"$tmp/env/bin/pip" install --quiet --disable-pip-version-check tensorboard==2.21.0 \
    tensorboard-data-server==0.7.2 protobuf==7.36.2 numpy==2.3.5

cat > "$tmp/show.py" <<'EOF_PY'
import json, pathlib, socket, subprocess, sys, time, urllib.request
from tensorboard.compat.proto.event_pb2 import Event
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


def served(load_fast, runs, *options):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", logs, "--host", "127.0.0.1", "--port", str(port),
               "--load_fast", load_fast, "--reload_interval", "1", *options]
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


write("run/events.out.tfevents.1000.host.1.0", [point(i, i) for i in range(5000)])
kept = {}
for load_fast in ("true", "false"):
    none, everything = (len(served(load_fast, ["run"], f"--samples_per_plugin=scalars={n}")["run"]) for n in (0, 10**6))
    kept[load_fast] = [step for step, _ in served(load_fast, ["run"])["run"]]
    steps = kept[load_fast]
    print(f"--load_fast={load_fast}: {len(steps)} of 5000 points, step 0 {'kept' if 0 in steps else 'lost'},",
          f"step 4999 {'kept' if 4999 in steps else 'lost'};",
          f"with scalars=0 {none} points, with scalars=1000000 {everything}")
print("the two samples are", "the same" if kept["true"] == kept["false"] else "different")
EOF_PY
cat > "$tmp/expected" <<'EOF_EXPECTED'
--load_fast=true: 1000 of 5000 points, step 0 lost, step 4999 kept; with scalars=0 0 points, with scalars=1000000 5000
--load_fast=false: 1000 of 5000 points, step 0 lost, step 4999 kept; with scalars=0 0 points, with scalars=1000000 5000
the two samples are different
EOF_EXPECTED
"$tmp/env/bin/python" "$tmp/show.py" > "$tmp/seen"
diff -u "$tmp/expected" "$tmp/seen" || { echo "changed: see the lines above" >&2; exit 1; }
echo "ok: TensorBoard 2.21.0 loses the first point of a long curve, and all of them for scalars=0"
