"""What the Python tools share: how to count, and to say so at SIGTERM."""

import os
import signal
import threading


class Counter:
    """Packets by protocol. The count is printed at SIGTERM, whatever the tool is doing:
    a thread waits for the signal, as a loop in C would not."""

    def __init__(self):
        self.tcp = self.udp = self.other = 0
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        threading.Thread(target=self._wait, daemon=True).start()

    def _wait(self):
        signal.sigwait([signal.SIGTERM])
        self.finish()

    def finish(self):
        total = self.tcp + self.udp + self.other
        print(f"packets {total} tcp {self.tcp} udp {self.udp} other {self.other}", flush=True)
        self.stop()
        os._exit(0)

    def stop(self):
        """Ends what the tool has started."""
