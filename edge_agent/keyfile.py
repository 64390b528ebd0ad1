"""Keep a private key on the disk so that only this service reads it, and write small files that survive a power cut.

A PEM file of mode 0600 where the system has modes; on Windows its content is sealed with DPAPI for the machine, since
a service has no user whose vault could be open.
"""

from __future__ import annotations

import base64
import contextlib
import os
import sys
from pathlib import Path

from edge_agent.signing import SEED_BYTES
from shared.errors import CannotStore, ConfigError

# PKCS #8 of an Ed25519 key is this prefix and its 32 bytes (RFC 8410); `openssl pkey` reads the file.
_PKCS8 = bytes.fromhex("302e020100300506032b657004220420")
_BEGIN, _END = "-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----"
_SEALED_BEGIN, _SEALED_END = "-----BEGIN COUNTERFLOW DPAPI KEY-----", "-----END COUNTERFLOW DPAPI KEY-----"


def store(path: Path, seed: bytes) -> None:
    """Write the 32 bytes of an Ed25519 key durably, for this machine and user only."""
    der = _PKCS8 + seed
    if sys.platform == "win32":
        lines = [_SEALED_BEGIN, base64.b64encode(_protect(der)).decode(), _SEALED_END]
    else:
        lines = [_BEGIN, base64.b64encode(der).decode(), _END]
    write_durably(path, ("\n".join(lines) + "\n").encode())


def load(path: Path) -> bytes:
    """The 32 bytes of a key that `store` wrote.

    Raises:
        ConfigError: it is missing or is no such key; the hint says how to go on.
    """
    hint = "restore the identity folder from a backup, or enrol again with a replace code from HQ; the journal stays"
    try:
        lines = path.read_text(encoding="ascii").split()
        body = base64.b64decode("".join(line for line in lines if len(line) > 40), validate=True)
        der = _unprotect(body) if _SEALED_BEGIN.split()[1] in lines else body
        if not der.startswith(_PKCS8) or len(der) != len(_PKCS8) + SEED_BYTES:
            raise ValueError("it is no Ed25519 key in PKCS #8")
    except (OSError, ValueError) as error:
        raise ConfigError(f"the station's key {path} cannot be used: {error}", hint=hint) from error
    return der[len(_PKCS8) :]


def write_durably(path: Path, content: bytes) -> None:
    """Replace a small file so that after a power cut it is the old one or the new one, whole.

    Raises:
        CannotStore: the disk refused.
    """
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.unlink(missing_ok=True)
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
        sync_folder(path.parent)
    except OSError as error:
        raise CannotStore(
            f"{path} cannot be written: {error.strerror}", hint="look at the disk and the folder's rights"
        ) from error


def sync_folder(folder: Path) -> None:
    """Make renames in a folder durable, where the system has such a thing."""
    with contextlib.suppress(PermissionError):  # Windows opens no folders, and orders its renames itself
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _protect(secret: bytes) -> bytes:
    return _dpapi("CryptProtectData", secret)


def _unprotect(sealed: bytes) -> bytes:
    return _dpapi("CryptUnprotectData", sealed)


if sys.platform == "win32":
    import ctypes
    from ctypes import wintypes

    class _Blob(ctypes.Structure):
        _fields_ = (("size", wintypes.DWORD), ("data", ctypes.POINTER(ctypes.c_char)))

    def _dpapi(function: str, data: bytes) -> bytes:
        """Call DPAPI for the machine (CRYPTPROTECT_LOCAL_MACHINE), without a window."""
        local_machine_no_window = 0x4 | 0x1
        buffer = ctypes.create_string_buffer(data, len(data))
        source = _Blob(len(data), ctypes.cast(buffer, ctypes.POINTER(ctypes.c_char)))
        result = _Blob()
        call = getattr(ctypes.windll.crypt32, function)
        if not call(
            ctypes.byref(source), None, None, None, None, local_machine_no_window, ctypes.byref(result)
        ):
            raise ValueError(f"Windows refused {function}: {ctypes.WinError()}")
        try:
            return ctypes.string_at(result.data, result.size)
        finally:
            ctypes.windll.kernel32.LocalFree(result.data)

else:

    def _dpapi(function: str, data: bytes) -> bytes:
        raise ValueError("it was sealed by Windows on another machine")
