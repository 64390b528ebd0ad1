"""The frame around every request and answer between station and centre.

Only a 2xx answer with the protocol header, a right Content-Digest and the echoed request id is ours; a captive
portal's page, another station's answer or a cut body is a failure of the network and moves nothing.
Content-Digest (RFC 9530) covers the body as it travels, compressed or not.
"""

from __future__ import annotations

import base64
import hashlib
import threading
from collections.abc import Mapping

from backports import zstd

from shared import PROTOCOL_VERSION
from shared.errors import BadInput, ConnectionFailed, TooLarge

PROTOCOL_HEADER = "Counterflow-Protocol"
REQUEST_ID_HEADER = "X-Request-Id"
DIGEST_HEADER = "Content-Digest"
NDJSON = "application/x-ndjson"
ZSTD_FROM_BYTES = 512
"""Smaller bodies travel as they are."""
_ZSTD_LEVEL = 1


def content_digest(body: bytes) -> str:
    return f"sha-256=:{base64.b64encode(hashlib.sha256(body).digest()).decode()}:"


def check_digest(body: bytes, headers: Mapping[str, str]) -> None:
    """Raise `BadInput` unless the body is what Content-Digest says."""
    if headers.get(DIGEST_HEADER) != content_digest(body):
        raise BadInput(
            "the body does not fit its Content-Digest: it was cut or changed on the way",
            hint="send it again",
            code="wrong-digest",
        )


def pack(body: bytes, compress: bool = True) -> tuple[bytes, dict[str, str]]:
    """The body as it travels, and the headers that describe it."""
    headers = {PROTOCOL_HEADER: str(PROTOCOL_VERSION)}
    if compress and len(body) >= ZSTD_FROM_BYTES:
        body = _compress(body)
        headers["Content-Encoding"] = "zstd"
    headers[DIGEST_HEADER] = content_digest(body)
    return body, headers


_of_thread = threading.local()


def _compress(body: bytes) -> bytes:
    # Making a compressor costs more than compressing a sale, so each thread keeps one.
    compressor: zstd.ZstdCompressor | None = getattr(_of_thread, "compressor", None)
    if compressor is None:
        compressor = _of_thread.compressor = zstd.ZstdCompressor(_ZSTD_LEVEL)
    return compressor.compress(body, zstd.ZstdCompressor.FLUSH_FRAME)


def unpack(body: bytes, encoding: str | None, raw_max_bytes: int) -> bytes:
    """Undo the content coding within a bound.

    Raises:
        TooLarge: it would unpack to more than *raw_max_bytes*; nothing beyond the bound is produced.
        BadInput: an unknown coding, or bytes that are not of it.
    """
    if not encoding or encoding == "identity":
        if len(body) > raw_max_bytes:
            raise TooLarge(f"the body has {len(body)} bytes; at most {raw_max_bytes} are taken")
        return body
    if encoding != "zstd":
        raise BadInput(
            f'Content-Encoding "{encoding}" is not known here',
            hint="use zstd or none",
            code="unknown-encoding",
        )
    decompressor = zstd.ZstdDecompressor()
    try:
        raw = decompressor.decompress(body, max_length=raw_max_bytes + 1)
    except zstd.ZstdError as error:
        raise BadInput(f"the body is not valid zstd: {error}", code="malformed-body") from None
    if len(raw) > raw_max_bytes:
        raise TooLarge(f"the body unpacks to more than {raw_max_bytes} bytes", hint="send smaller batches")
    if not decompressor.eof or decompressor.unused_data:
        raise BadInput("the compressed body is cut or has a tail", code="malformed-body")
    return raw


def check_answer(status: int, headers: Mapping[str, str], body: bytes, request_id: str) -> None:
    """Raise `ConnectionFailed` unless this answer was made by a centre for this very request."""
    if headers.get(PROTOCOL_HEADER) is None:
        raise ConnectionFailed(
            f"something other than the centre answered (status {status}, {headers.get('Content-Type', 'no type')})",
            hint="a captive portal or proxy may stand between; `counterflow-agent doctor` tells which",
            code="not-our-server",
        )
    if headers.get(REQUEST_ID_HEADER) != request_id:
        raise ConnectionFailed("the answer belongs to another request", code="wrong-answer")
    if body and headers.get(DIGEST_HEADER) != content_digest(body):
        raise ConnectionFailed("the answer was cut or changed on the way", code="wrong-answer")
