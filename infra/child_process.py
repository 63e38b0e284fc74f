"""Running a command as a child process, its lines streamed and its process group ended with it."""

import codecs
import os
import selectors
import shlex
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

KEPT_LINES = 40
MAX_LINE_CHARACTERS = 4_000
POLL_SECONDS = 0.2

MEANINGS = {
    1: "the program failed, its last lines say why",
    2: "bad input: correct what the last lines name",
    127: "command not found",
    134: "aborted (SIGABRT), a native library gave up",
    137: "killed (SIGKILL), most likely out of memory: give it more, or a smaller batch or fewer days",
    139: "crashed in native code (SIGSEGV)",
    143: "terminated on request (SIGTERM)",
}


class ChildFailed(RuntimeError):
    """A child process ended with an exit code other than 0."""

    def __init__(self, command: Sequence[str], exit_code: int, last_lines: Sequence[str]) -> None:
        self.exit_code = exit_code
        self.last_lines = tuple(last_lines)
        meaning = MEANINGS.get(exit_code) or _signal_meaning(exit_code)
        lines = "\n".join(f"  {line}" for line in last_lines[-15:]) or "  (it printed nothing)"
        super().__init__(f"{shlex.join(command)}\nended with exit code {exit_code}: {meaning}\nlast lines:\n{lines}")


class ChildInterrupted(KeyboardInterrupt):
    """`check_interrupt` asked to stop, and the child was ended. Like Ctrl-C, `except Exception` does not swallow it."""


@dataclass(frozen=True, kw_only=True)
class ChildResult:
    """How a child ended: `exit_code` as a shell gives it (128 + signal number), and its last 40 lines."""

    command: tuple[str, ...]
    exit_code: int
    last_lines: tuple[str, ...]

    def raise_on_failure(self) -> "ChildResult":
        """Itself if the exit code is 0, else raises ChildFailed."""
        if self.exit_code != 0:
            raise ChildFailed(self.command, self.exit_code, self.last_lines)
        return self


def run_child(
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    on_line: Callable[[str], None],
    cwd: Path | None = None,
    grace_seconds: float = 20,
    check_interrupt: Callable[[], bool] | None = None,
) -> ChildResult:
    """Run a command to its end.

    Args:
        command: program and arguments.
        environment: all of the child's environment variables; nothing is inherited.
        on_line: called with each line of stdout and stderr, merged, as it comes: no line end, a carriage return ends a
            line too, bytes that are no UTF-8 become U+FFFD, empty lines are left out.
        cwd: working directory.
        grace_seconds: how long the child may take after SIGTERM before SIGKILL.
        check_interrupt: asked about five times a second; True ends the child.

    Returns:
        The result, whatever the exit code; see `ChildResult.raise_on_failure`.

    Raises:
        ChildInterrupted: check_interrupt said so.
        OSError: the command could not be started.

    The child leads a process group of its own. When it ends, or when anything is raised here (Ctrl-C, a fault of
    on_line), whatever is left of the group is ended before the exception goes on.
    """
    process = subprocess.Popen(
        list(command),
        env=dict(environment),
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    last_lines: deque[str] = deque(maxlen=KEPT_LINES)
    output = _Output(process)
    try:
        try:
            for line in output.lines(check_interrupt):
                last_lines.append(line)
                on_line(line)
        except BaseException:
            _terminate(process, output, grace_seconds)
            raise
    finally:
        _signal_group(process, signal.SIGKILL)
        code = process.wait()
        output.close()
    return ChildResult(command=tuple(command), exit_code=128 - code if code < 0 else code, last_lines=tuple(last_lines))


class _Output:
    """A process's output, read without ever waiting for longer than POLL_SECONDS."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        self._process = process
        self._pipe = process.stdout
        self._descriptor = process.stdout.fileno()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._descriptor, selectors.EVENT_READ)
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def lines(self, check_interrupt: Callable[[], bool] | None) -> Iterator[str]:
        partial, next_check = "", 0.0
        for chunk in self._chunks():
            if check_interrupt and time.monotonic() >= next_check:
                if check_interrupt():
                    raise ChildInterrupted(f"{shlex.join(map(str, self._process.args))} was interrupted")  # type: ignore[arg-type]
                next_check = time.monotonic() + POLL_SECONDS
            *whole, partial = (partial + chunk).replace("\r", "\n").split("\n")
            yield from filter(None, whole)
            while len(partial) > MAX_LINE_CHARACTERS:
                yield partial[:MAX_LINE_CHARACTERS]
                partial = partial[MAX_LINE_CHARACTERS:]
        if rest := (partial + self._decoder.decode(b"", final=True)).strip("\r\n"):
            yield rest

    def read(self, seconds: float) -> str | None:
        """What there is within so many seconds, "" for nothing, None when all ends of the pipe are closed."""
        if not self._selector.select(seconds):
            return ""
        data = os.read(self._descriptor, 65_536)
        return self._decoder.decode(data) if data else None

    def close(self) -> None:
        self._selector.close()
        self._pipe.close()

    def _chunks(self) -> Iterator[str]:
        while True:
            ended = has_ended(self._process)  # asked before reading: then the read below sees the child's last words
            chunk = self.read(0 if ended else POLL_SECONDS)
            # a grandchild may hold the pipe open for ever; the child's end is what counts
            if chunk is None or (ended and not chunk and not self._selector.select(0)):
                break
            yield chunk
        while not has_ended(self._process):  # it has closed its output, but works on
            time.sleep(POLL_SECONDS)
            yield ""


def has_ended(process: subprocess.Popen[bytes]) -> bool:
    """Whether it has ended; it is not reaped, so that its process group's number cannot become another's."""
    if process.returncode is not None:
        return True
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _terminate(process: subprocess.Popen[bytes], output: _Output, grace_seconds: float) -> None:
    """SIGTERM and patience; the output is still emptied, so that a child that says its last words does not block."""
    _signal_group(process, signal.SIGTERM)
    deadline = time.monotonic() + grace_seconds
    while not has_ended(process) and time.monotonic() < deadline:
        if output.read(POLL_SECONDS) is None:
            time.sleep(POLL_SECONDS)


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    if process.returncode is None:
        try:
            os.killpg(process.pid, number)
        except (ProcessLookupError, PermissionError):
            return


def _signal_meaning(exit_code: int) -> str:
    try:
        return f"ended by {signal.Signals(exit_code - 128).name}"
    except ValueError:
        return "no usual meaning, see the last lines"
