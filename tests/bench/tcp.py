"""One TCP stream through a lane, by iperf3."""

import json
import time

from tests.bench.namespaces import end
from tests.bench.wire import CLIENT6, SERVER6, Lane

PORT = "5201"


class Stream:
    """An iperf3 server in the sink; ``gbits`` runs a client in the source against it."""

    def __init__(self, lane: Lane, client_cpu: int, server_cpu: int) -> None:
        self.lane = lane
        self.client_cpu = client_cpu
        self.server = lane.sink.start(
            ["iperf3", "--server", "--port", PORT, "--bind", lane.server], server_cpu
        )
        time.sleep(0.3)

    def gbits(self, seconds: int) -> float:
        """What the server received, in Gbit/s; the first second is left out."""
        command = ["iperf3", "--client", str(SERVER6), "--bind", str(CLIENT6), "--port", PORT]
        command += ["--omit", "1", "--time", str(seconds), "--json"]
        process = self.lane.source.start(command, self.client_cpu)
        output, _ = process.communicate(timeout=seconds + 20)
        report = json.loads(output)
        if "error" in report:
            raise RuntimeError(f"iperf3 through {self.lane.title}: {report['error']}")
        return float(report["end"]["sum_received"]["bits_per_second"]) / 1e9

    def close(self) -> None:
        end(self.server)
