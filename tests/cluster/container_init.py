"""Process 1 of a pod's container: own process tree, host name, /proc and mounts, as a container has; run as a program.

    python -S -E container_init.py HOST_NAME FOLDERS PROGRAM ARGUMENT …

FOLDERS, divided by colons, are all that the program may write to besides /dev; "-": wherever its user may.
SIGTERM is handed on to the program, as the image's `tini` does; killing this process kills all below it.
"""

import ctypes
import os
import signal
import socket
import sys

_NEW_MOUNTS, _NEW_HOST_NAME, _NEW_USER, _NEW_PROCESSES = 0x00020000, 0x04000000, 0x10000000, 0x20000000
_RECURSIVE_PRIVATE = 0x4000 | 0x40000
_BIND = 0x1000
_DIE_WITH_PARENT = 1
# mount_setattr(2), Linux 5.12: the C library has no function of that name everywhere.
_MOUNT_SETATTR, _HERE, _ALL_BELOW, _READ_ONLY = 442, -100, 0x8000, 0x1

_libc = ctypes.CDLL(None, use_errno=True)


class _MountAttributes(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("set", "clear", "propagation", "user_namespace")]


def main(host_name: str, folders: str, *command: str) -> int:
    """Run the command to its end; its exit code as a shell gives it (128 + signal number)."""
    _libc.prctl(_DIE_WITH_PARENT, signal.SIGKILL)
    _separate()
    first = os.fork()
    if first == 0:
        _libc.prctl(_DIE_WITH_PARENT, signal.SIGKILL)
        socket.sethostname(host_name)
        _call(_libc.mount(b"none", b"/", None, _RECURSIVE_PRIVATE, None))
        _call(_libc.mount(b"proc", b"/proc", b"proc", 0, None))
        if folders != "-":
            _make_read_only([folder.encode() for folder in folders.split(":") if folder])
        os._exit(_run(command))
    _hand_on_termination(first)
    return _code(os.waitpid(first, 0)[1])


def _separate() -> None:
    namespaces = _NEW_MOUNTS | _NEW_HOST_NAME | _NEW_PROCESSES
    user, group = os.getuid(), os.getgid()
    if user == 0:
        _call(_libc.unshare(namespaces))
        return
    _call(_libc.unshare(_NEW_USER | namespaces))
    for name, content in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
            file.write(content)


def _make_read_only(writable: list[bytes]) -> None:
    """All that is mounted, but for these folders and /dev, as `readOnlyRootFilesystem` does."""
    for folder in writable:
        _call(_libc.mount(folder, folder, None, _BIND, None))
    _call(_set_attributes(b"/", _MountAttributes(set=_READ_ONLY)))
    for folder in [*writable, b"/dev"]:
        _call(_set_attributes(folder, _MountAttributes(clear=_READ_ONLY)))


def _set_attributes(path: bytes, attributes: _MountAttributes) -> int:
    size = ctypes.sizeof(attributes)
    return _libc.syscall(_MOUNT_SETATTR, _HERE, path, _ALL_BELOW, ctypes.byref(attributes), size)


def _run(command: tuple[str, ...]) -> int:
    child = os.fork()
    if child == 0:
        os.execvp(command[0], command)
    _hand_on_termination(child)
    while True:
        ended, status = os.wait()
        if ended == child:
            return _code(status)


def _hand_on_termination(child: int) -> None:
    signal.signal(signal.SIGTERM, lambda *_: os.kill(child, signal.SIGTERM))


def _code(status: int) -> int:
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _call(answer: int) -> None:
    if answer != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
