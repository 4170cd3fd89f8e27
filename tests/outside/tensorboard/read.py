"""Reads folders of event files as TensorBoard does, by each of the ways that it has, and prints what it found as JSON.

    read.py FOLDER...

For each folder, by its name: {"events": records read, "bytes": what they take, "said": what TensorBoard complained of,
"accumulator" | "plugins" | "server": {tag: [[step, value], ...]}}. A value that is no number, which JSON has not, is text.
"""

import json
import logging
import math
import pathlib
import sys

try:
    from tensorboard.backend.event_processing import event_accumulator, event_file_loader, plugin_event_multiplexer
    from tensorboard.compat.proto import event_pb2
    from tensorboard.data import provider, server_ingester
    from tensorboard.util import grpc_util, tb_logging, tensor_util
    from tensorboard import context
except ImportError as problem:
    print(f"{sys.executable}: {problem}; pip install tensorboard", file=sys.stderr)
    sys.exit(77)

# A record: its length, that one's checksum, the message, and its checksum.
FRAME = 8 + 4 + 4
# Nothing is sampled: every step is shown.
ALL = 0


class Complaints(logging.Handler):
    """What TensorBoard logs as a warning or worse."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.said = []

    def emit(self, record):
        self.said.append(record.getMessage())


def records(folder):
    """How many events there are, and the bytes that they take with their frames."""
    count, size = 0, 0
    for path in sorted(folder.glob("*tfevents*")):
        for message in event_file_loader.RawEventFileLoader(str(path)).Load():
            event_pb2.Event.FromString(message)
            count, size = count + 1, size + len(message) + FRAME
    return count, size


def told(value):
    """A value as JSON has it."""
    return value if math.isfinite(value) else str(value)


def accumulated(folder):
    """As scripts read it: EventAccumulator."""
    found = event_accumulator.EventAccumulator(str(folder), size_guidance={event_accumulator.SCALARS: ALL}).Reload()
    return {tag: [[event.step, told(event.value)] for event in found.Scalars(tag)] for tag in found.Tags()["scalars"]}


def by_plugins(folder):
    """As TensorBoard's own pages read it, where Python does."""
    found = plugin_event_multiplexer.EventMultiplexer(tensor_size_guidance={"scalars": ALL})
    found.AddRunsFromDirectory(str(folder)).Reload()
    run = found.GetAccumulator(".")
    assert run.ActivePlugins() == {"scalars"}, run.ActivePlugins()
    value = lambda event: float(tensor_util.make_ndarray(event.tensor_proto))
    return {tag: [[event.step, told(value(event))] for event in run.Tensors(tag)] for tag in run.Tags()["tensors"]}


def by_server(folder):
    """As they do by default: the data server, a program of its own."""
    ingester = server_ingester.SubprocessServerDataIngester(
        server_binary=server_ingester.get_server_binary(),
        logdir=str(folder),
        reload_interval=ALL,
        channel_creds_type=grpc_util.ChannelCredsType.LOCAL,
        samples_per_plugin={"scalars": ALL},
    )
    ingester.start()
    data, asked = ingester.data_provider, dict(experiment_id="", plugin_name="scalars")
    runs = data.read_scalars(
        context.RequestContext(), downsample=1 << 20, run_tag_filter=provider.RunTagFilter(), **asked
    )
    return {tag: [[point.step, told(point.value)] for point in points] for tag, points in runs["."].items()}


def main():
    complaints = Complaints()
    for logger in (tb_logging.get_logger(), logging.getLogger()):
        logger.addHandler(complaints)
    results = {}
    for folder in map(pathlib.Path, sys.argv[1:]):
        complaints.said.clear()
        count, size = records(folder)
        found = {"events": count, "bytes": size, "accumulator": accumulated(folder), "plugins": by_plugins(folder)}
        try:
            found["server"] = by_server(folder)
        except server_ingester.NoDataServerError as problem:
            print(f"no data server: {problem}", file=sys.stderr)
        results[folder.name] = {**found, "said": list(complaints.said)}
    json.dump(results, sys.stdout)


if __name__ == "__main__":
    main()
