"""Prefect's own Kubernetes observer as a worker starts it, alone in a process, so that it can be measured by itself."""

import signal
import threading

from prefect.logging.configuration import setup_logging

setup_logging()

from prefect_kubernetes import observer  # noqa: E402

end = threading.Event()
for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, lambda *_: end.set())
observer.start_observer()
# The last thing its start-up does before it watches.
while observer.events_client is None and not end.wait(0.05):
    pass
print("ready", flush=True)
end.wait()
observer.stop_observer()
