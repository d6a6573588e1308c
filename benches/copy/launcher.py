"""Runs the parts of a pipe and prints what they took, as JSON. Run by `measure.py`, in an interpreter of its own:

    python -I -S launcher.py < {"commands": [[...], ...], "log": "...", "limit_s": 600}

Linux counts what a process held in memory when it was forked to what it became, so whoever starts the parts must be
small; hence no import here but what is needed, and no `subprocess`.
"""

import json
import os
import signal
import sys
import time


def main():
    """Start every part in a process group of its own, wait for all, stop them at the limit."""
    job = json.load(sys.stdin)
    log = os.open(job["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    groups = []

    def stop(number, frame):
        for group in groups:
            try:  # noqa: SIM105  contextlib would be one more import
                os.killpg(group, signal.SIGKILL)
            except ProcessLookupError:
                pass
        stopped.append(number)

    stopped = []
    signal.signal(signal.SIGALRM, stop)
    signal.signal(signal.SIGTERM, stop)
    signal.setitimer(signal.ITIMER_REAL, job["limit_s"])
    started = time.monotonic()
    reading = os.open(os.devnull, os.O_RDONLY)
    last = len(job["commands"]) - 1
    for place, command in enumerate(job["commands"]):
        next_reading, writing = os.pipe() if place < last else (None, os.dup(log))
        streams = [(os.POSIX_SPAWN_DUP2, reading, 0), (os.POSIX_SPAWN_DUP2, writing, 1), (os.POSIX_SPAWN_DUP2, log, 2)]
        groups.append(os.posix_spawnp(command[0], command, os.environ, file_actions=streams, setpgroup=0))
        os.close(reading)
        os.close(writing)
        reading = next_reading
    parts = []
    for process in groups:
        _, status, usage = os.wait4(process, 0)
        parts.append(
            {
                "exit_code": os.waitstatus_to_exitcode(status),
                "user_s": usage.ru_utime,
                "system_s": usage.ru_stime,
                "peak_rss_bytes": usage.ru_maxrss * 1024,
            }
        )
    wall_s = time.monotonic() - started
    print(json.dumps({"wall_s": wall_s, "stopped": bool(stopped), "parts": parts}))


if __name__ == "__main__":
    main()
