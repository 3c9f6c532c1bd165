"""Runs a command for as long as somebody holds this program's standard input open: ``python _guard.py COMMAND...``.

An actor may be killed at any moment, and what it has started must not outlive it, since the next server needs its GPU.
The kernel closes the pipe of a dead process. The command is asked to end then, and killed if it does not. This file is
run by its path and imports nothing of ours, so that it starts at once.
"""

import ctypes
import os
import signal
import subprocess
import sys
import threading

PR_SET_PDEATHSIG = 1
GRACE_SECONDS = 15.0  # for calls under way


def main(command: list[str]) -> int:
    guard = os.getpid()
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, preexec_fn=lambda: end_with(guard)) as process:  # noqa: S603 - it has one thread here; our own command
        threading.Thread(target=wait_for_the_end_of_input, args=(process,), daemon=True).start()
        return process.wait()


def end_with(guard: int) -> None:
    """Has the kernel kill this process when the guard is killed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != guard:
        os.kill(os.getpid(), signal.SIGKILL)


def wait_for_the_end_of_input(process: "subprocess.Popen[bytes]") -> None:
    while os.read(0, 1024):
        pass
    process.terminate()
    try:
        process.wait(GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
