"""nfstream: nfstream_count.py IFACE. Flows still open at the end are dropped by it, so the
count is its own report of packets, by no protocol."""

import json
import multiprocessing
import os
import signal
import sys
import threading
import time

from nfstream import NFStreamer


def main():
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])  # for every thread: one waits for it
    reports, writer = os.pipe()
    stdout = os.dup(1)
    os.dup2(writer, 1)
    sys.stdout.reconfigure(line_buffering=True)
    packets = 0

    def read():
        nonlocal packets
        for line in os.fdopen(reports):
            try:
                report = json.loads(line)
                packets = report["packets_processed"] + report["packets_ignored"]
            except (ValueError, KeyError, TypeError):
                os.write(2, line.encode())

    threading.Thread(target=read, daemon=True).start()

    def finish():
        signal.sigwait([signal.SIGTERM])
        time.sleep(3)  # its meter tells of packets a second later, its report another later
        os.write(stdout, f"packets {packets} tcp 0 udp 0 other {packets}\n".encode())
        for child in multiprocessing.active_children():
            child.kill()
        os._exit(0)

    streamer = NFStreamer(source=sys.argv[1], n_meters=1, performance_report=1)
    threading.Thread(target=finish, daemon=True).start()
    for _ in streamer:
        pass


if __name__ == "__main__":
    main()
