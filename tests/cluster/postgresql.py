"""A throw-away PostgreSQL on loopback, run by an unprivileged user; what is stored in it is the tests'."""

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

USER, PASSWORD, DATABASE = "dagster", "made-up", "dagster"
_FAST = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")


def _program(name: str) -> str | None:
    """From PATH, or from the newest version where Debian keeps them."""
    installed = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: int(path.parts[-3]))
    return shutil.which(name) or (str(installed[-1]) if installed else None)


def missing_part() -> str | None:
    """Why no PostgreSQL can be started here, or None."""
    for name in ("initdb", "pg_ctl", "createdb"):
        if _program(name) is None:
            return f"PostgreSQL's {name} is not on this machine (Debian: apt-get install postgresql-15)"
    if os.getuid() == 0 and (shutil.which("setpriv") is None or not _has_user()):
        return "PostgreSQL refuses to run as root, and there is no user postgres or no setpriv"
    return None


class PostgreSQL:
    """A cluster of its own folder and port, the database `dagster` in it; the port stays over a restart."""

    host = "127.0.0.1"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with socket.socket() as probe:
            probe.bind((self.host, 0))
            self.port: int = probe.getsockname()[1]

    def create(self) -> None:
        """Make the cluster's files and start it."""
        password = self._folder / "password"
        password.write_text(PASSWORD, encoding="utf-8")
        if os.getuid() == 0:
            for path in (self._folder, password):
                shutil.chown(path, "postgres")
        options = ["-A", "scram-sha-256", "-U", USER, f"--pwfile={password}", "--no-sync", "-E", "UTF8"]
        self._run("initdb", "-D", str(self._folder / "data"), *options, "--locale=C.UTF-8")
        self.start()
        self._run("createdb", "-h", self.host, "-p", str(self.port), "-U", USER, DATABASE)

    def start(self) -> None:
        """Start the server and wait until it answers."""
        settings = [f"listen_addresses={self.host}", f"unix_socket_directories={self._folder}", *_FAST]
        options = " ".join([f"-p {self.port}", *(f"-c {setting}" for setting in settings)])
        self._run(
            "pg_ctl", "-D", str(self._folder / "data"), "-l", str(self._folder / "log"), "-w", "-o", options, "start"
        )

    def stop(self) -> None:
        """End the server at once: connections are cut, what was committed stays."""
        self._run("pg_ctl", "-D", str(self._folder / "data"), "-m", "immediate", "-w", "stop")

    def _run(self, name: str, *arguments: str) -> None:
        program = _program(name)
        assert program is not None, missing_part()
        as_other = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.getuid() == 0 else []
        with (self._folder / "commands.log").open("ab") as log:
            # A file and no pipe: the server inherits it, and a pipe would never end.
            subprocess.run(
                [*as_other, program, *arguments],
                check=True,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={"PATH": os.environ["PATH"], "PGPASSWORD": PASSWORD, "LC_ALL": "C.UTF-8"},
            )


@contextlib.contextmanager
def postgresql() -> Iterator[PostgreSQL]:
    """A started server, stopped in the end whatever happened."""
    # Not in pytest's folder, which is closed to the user that the server runs as.
    with tempfile.TemporaryDirectory(prefix="postclick-postgresql-") as folder:
        server = PostgreSQL(Path(folder))
        try:
            server.create()
            yield server
        finally:
            with contextlib.suppress(subprocess.CalledProcessError):
                server.stop()


def _has_user() -> bool:
    with contextlib.suppress(KeyError):
        return pwd.getpwnam("postgres") is not None
    return False
