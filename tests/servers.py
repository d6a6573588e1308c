"""Private PostgreSQL and MariaDB servers for the tests, and their connection strings in environment variables.

The servers listen on free loopback ports, keep data and sockets in one temporary folder, read no file below /etc, and
die with this process however it ends. The machine's own servers are neither used nor touched. By hand:

    python3 tests/servers.py target/venv/bin/pytest tests -k mariadb

runs that command with these variables set, for PRODUCT in POSTGRESQL and MARIADB:

    DRAY_TEST_<PRODUCT>                   an ODBC connection string, the driver by its registered name
    DRAY_TEST_<PRODUCT>_HOST, _PORT, _DATABASE, _USER, _PASSWORD    the same in parts; this user may create databases
    DRAY_TEST_<PRODUCT>_ODD_USER, _ODD_PASSWORD                     a password with signs that are easily mangled
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Callable, Optional

PREFIX = "dray-servers-"
START_SECONDS = 60

# Thousands of databases are made and dropped, in a fraction of the time where no disk keeps their files.
IN_MEMORY = Path("/dev/shm")
IN_MEMORY_FREE_BYTES = 8 << 30

# Each of these means something to a connection string, to SQL or to a shell, or takes several bytes in UTF-8.
ODD_PASSWORD = "pä;ß{1}}='\"\\ %日本🔑"


class ServerFailed(Exception):
    """A server did not come up; the text holds the end of its log."""


@contextlib.contextmanager
def running(
    postgresql_settings: Optional[Mapping[str, str]] = None,
    mariadb_options: Sequence[str] = (),
    *,
    parent: Optional[Path] = None,
) -> Iterator[dict[str, str]]:
    """Start both servers and give the environment variables that lead to them; stop them at the end.

    Settings and options given here are added to the tests' own; the last of a name counts. `parent` is the folder that
    their data go into; by default one in memory where that has room.
    """
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(own_folder(parent or data_parent()))
        variables = stack.enter_context(postgresql(folder / "postgresql", postgresql_settings or {}))
        variables.update(stack.enter_context(mariadb(folder / "mariadb", mariadb_options)))
        yield variables


@contextlib.contextmanager
def postgresql_alone(settings: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """Start a PostgreSQL server more, for a test that sets it up otherwise or brings it down."""
    with own_folder(data_parent()) as folder, postgresql(folder / "postgresql", settings) as variables:
        yield variables


@contextlib.contextmanager
def own_folder(parent: Path) -> Iterator[Path]:
    """A folder for servers' data, removed at the end; those of runs that were killed are removed now."""
    remove_leftovers(parent)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
    folder.chmod(0o755)  # the servers run as users of their own, and have to pass through
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        lock = stack.enter_context((folder / "lock").open("w"))
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder


def data_parent() -> Path:
    """The folder for servers' data: in memory where there is room for all that the tests put there, else, and always if
    TMPDIR names it, that for temporary files.
    """
    is_allowed = "TMPDIR" not in os.environ and os.access(IN_MEMORY, os.W_OK | os.X_OK)
    if is_allowed and shutil.disk_usage(IN_MEMORY).free >= IN_MEMORY_FREE_BYTES:
        return IN_MEMORY
    return Path(tempfile.gettempdir())


def remove_leftovers(parent: Path) -> None:
    """Remove the folders of runs that were killed: those whose lock nobody holds any more."""
    for folder in parent.glob(PREFIX + "*"):
        try:
            with (folder / "lock").open("r+") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:
            continue  # in use, or another user's


@contextlib.contextmanager
def postgresql(folder: Path, more_settings: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """A PostgreSQL server with its data in `folder`."""
    user = server_user(folder, "postgres")
    binaries = postgresql_binaries()
    password, data, log = secrets.token_hex(16), folder / "data", folder / "log"
    password_file = private_file(folder / "password", password, user)
    call(
        [
            *(str(binaries / "initdb"), "--pgdata", str(data), "--username=dray", f"--pwfile={password_file}"),
            *("--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"),
        ],
        user,
        log,
    )
    password_file.unlink()
    port = free_port()
    settings = {
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": str(folder),
        "fsync": "off",
        "synchronous_commit": "off",
        "full_page_writes": "off",
        "max_connections": "50",
        "timezone": "UTC",
        **more_settings,
    }
    command = [str(binaries / "postgres"), "-D", str(data), "-p", str(port)]
    for name, value in settings.items():
        command += ["-c", f"{name}={value}"]
    client = ["psql", "--no-psqlrc", "--host=127.0.0.1", f"--port={port}", "--username=dray", "--dbname=postgres"]
    environment = {**os.environ, "PGPASSWORD": password, "PGCLIENTENCODING": "UTF8"}

    def answers() -> bool:
        return query([*client, "--command=SELECT 1"], environment)

    # SIGQUIT is PostgreSQL's immediate shutdown: the data are thrown away, but its shared memory has to be given back.
    with server(command, user, log, answers, signal.SIGQUIT):
        odd = ODD_PASSWORD.replace("'", "''")
        for statement in (
            "CREATE DATABASE dray",
            f"CREATE ROLE dray_odd LOGIN PASSWORD '{odd}'",  # standard_conforming_strings: a backslash is itself
        ):
            if not query([*client, f"--command={statement}"], environment):
                raise ServerFailed(f"PostgreSQL refused `{statement.split(' PASSWORD')[0]}`")
        yield variables("POSTGRESQL", "PostgreSQL Unicode", port, password)


@contextlib.contextmanager
def mariadb(folder: Path, more_options: Sequence[str]) -> Iterator[dict[str, str]]:
    """A MariaDB server with its data in `folder`."""
    user = server_user(folder, "mysql")
    password, data, log = secrets.token_hex(16), folder / "data", folder / "log"
    account = [f"--user={user.pw_name}"] if os.geteuid() == 0 else []
    call(
        [
            *("mariadb-install-db", "--no-defaults", f"--datadir={data}", "--skip-test-db", "--skip-name-resolve"),
            *("--auth-root-authentication-method=normal", "--innodb-flush-method=nosync", *account),
        ],
        None,  # starts as root and changes to the account itself
        log,
    )
    odd = ODD_PASSWORD.replace("\\", "\\\\").replace("'", "\\'")
    statements = [
        "SET NAMES utf8mb4;",
        "DROP USER IF EXISTS root@localhost;",
        "CREATE DATABASE dray;",
        f"CREATE USER dray@'%' IDENTIFIED BY '{password}';",
        "GRANT ALL ON *.* TO dray@'%' WITH GRANT OPTION;",
        f"CREATE USER dray_odd@'%' IDENTIFIED BY '{odd}';",
        "GRANT ALL ON dray.* TO dray_odd@'%';",
    ]
    initial = private_file(folder / "initial.sql", "\n".join(statements) + "\n", user)
    port = free_port()
    command = [
        *(mariadb_server(), "--no-defaults", f"--datadir={data}", f"--port={port}", "--bind-address=127.0.0.1"),
        *(f"--socket={folder}/socket", f"--pid-file={folder}/pid", f"--init-file={initial}", "--skip-name-resolve"),
        *("--character-set-server=utf8mb4", "--innodb-flush-method=nosync", "--innodb-flush-log-at-trx-commit=0"),
        *("--innodb-use-native-aio=OFF", "--innodb-buffer-pool-size=128M", "--max-allowed-packet=64M"),
        *more_options,
    ]
    client = ["mariadb", "--no-defaults", "--protocol=tcp", "--host=127.0.0.1", f"--port={port}", "--user=dray"]
    environment = {**os.environ, "MYSQL_PWD": password}

    def answers() -> bool:
        return query([*client, "--execute=SELECT 1", "dray"], environment)

    with server(command, user, log, answers, signal.SIGKILL):
        initial.unlink()
        yield variables("MARIADB", "MariaDB Unicode", port, password)


def variables(product: str, driver: str, port: int, password: str) -> dict[str, str]:
    """The environment variables of one server."""
    where = f"Server=127.0.0.1;Port={port};Database=dray"
    return {
        f"DRAY_TEST_{product}": f"Driver={{{driver}}};{where};UID=dray;PWD={password}",
        f"DRAY_TEST_{product}_HOST": "127.0.0.1",
        f"DRAY_TEST_{product}_PORT": str(port),
        f"DRAY_TEST_{product}_DATABASE": "dray",
        f"DRAY_TEST_{product}_USER": "dray",
        f"DRAY_TEST_{product}_PASSWORD": password,
        f"DRAY_TEST_{product}_ODD_USER": "dray_odd",
        f"DRAY_TEST_{product}_ODD_PASSWORD": ODD_PASSWORD,
    }


@contextlib.contextmanager
def server(
    command: list[str], user: pwd.struct_passwd, log: Path, answers: Callable[[], bool], stop: signal.Signals
) -> Iterator[None]:
    """Run a server until the block ends; it is entered once the server answers."""
    with log.open("ab") as stream:
        process = subprocess.Popen(
            command,
            cwd=log.parent,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            env=bare_environment(log),
            start_new_session=True,
            preexec_fn=become(user, stop),
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while not answers():
            if process.poll() is not None or time.monotonic() > deadline:
                raise ServerFailed(
                    f"`{command[0]}` did not come up within {START_SECONDS} s; its log ends:\n{end(log)}"
                )
            time.sleep(0.1)
        yield
    finally:
        process.send_signal(stop)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def become(user: pwd.struct_passwd, death_signal: int = signal.SIGKILL) -> Callable[[], None]:
    """What a child does before it becomes the server: leave root, and ask to be killed with its parent."""
    libc = ctypes.CDLL(None)
    set_parent_death_signal = 1  # PR_SET_PDEATHSIG, prctl(2); a change of user clears it, so it comes last

    def prepare() -> None:
        if os.geteuid() == 0:
            os.initgroups(user.pw_name, user.pw_gid)
            os.setgid(user.pw_gid)
            os.setuid(user.pw_uid)
        libc.prctl(set_parent_death_signal, int(death_signal))

    return prepare


def call(command: list[str], user: pwd.struct_passwd | None, log: Path) -> None:
    """Run a command that prepares a server, its streams in the server's log."""
    with log.open("ab") as stream:
        done = subprocess.run(
            command,
            cwd=log.parent,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            env=bare_environment(log),
            preexec_fn=become(user) if user is not None else None,
            check=False,
        )
    if done.returncode != 0:
        raise ServerFailed(f"`{command[0]}` ended with exit code {done.returncode}; its log ends:\n{end(log)}")


def bare_environment(log: Path) -> dict[str, str]:
    """The environment of a server. A MariaDB server that starts removes what it takes for its leftovers from the folder
    for temporary files, other servers' tables among them: so each has its own.
    """
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8", "TMPDIR": str(log.parent)}


def query(command: list[str], environment: dict[str, str]) -> bool:
    """Whether a command of a client succeeds."""
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.run(command, env=environment, check=False, **quiet).returncode == 0


def server_user(folder: Path, name: str) -> pwd.struct_passwd:
    """Make `folder` for the user that the server runs as: PostgreSQL refuses to run as root."""
    user = pwd.getpwnam(name) if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
    folder.mkdir()
    (folder / "log").touch()
    if os.geteuid() == 0:
        os.chown(folder, user.pw_uid, user.pw_gid)
    return user


def private_file(path: Path, text: str, user: pwd.struct_passwd) -> Path:
    """A file that `user` alone can read."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
    if os.geteuid() == 0:
        os.chown(path, user.pw_uid, user.pw_gid)
    return path


def postgresql_binaries() -> Path:
    """The folder of the newest PostgreSQL server; Debian keeps it off PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    on_path = shutil.which("initdb")
    if not found and on_path is None:
        raise ServerFailed("no PostgreSQL server below /usr/lib/postgresql nor on PATH (package `postgresql`)")
    return found[-1].parent if found else Path(str(on_path)).parent


def mariadb_server() -> str:
    """The MariaDB server's path; /usr/sbin is not on every user's PATH."""
    found = shutil.which("mariadbd", path=os.environ.get("PATH", os.defpath) + ":/usr/sbin:/usr/local/sbin")
    if found is None:
        raise ServerFailed("no `mariadbd` on PATH nor in /usr/sbin (package `mariadb-server`)")
    return found


def free_port() -> int:
    """A TCP port on the loopback interface that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def end(log: Path, lines: int = 15) -> str:
    """The last lines of a log, indented."""
    text = log.read_text("utf-8", "replace").splitlines()[-lines:]
    return "\n".join("    " + line for line in text)


def main() -> int:
    """Run the command given as arguments beside the servers; its exit code is this program's."""
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    signal.signal(signal.SIGHUP, lambda number, _frame: sys.exit(128 + number))
    with running() as extra:
        return subprocess.run(sys.argv[1:], env={**os.environ, **extra}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
