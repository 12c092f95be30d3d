"""Read forms with files from a complete body."""

from __future__ import annotations

import re

_BOUNDARY = re.compile(r'boundary=(?:"([^"]+)"|([^;\s]+))', re.IGNORECASE)
_FILE_NAME = re.compile(rb"content-disposition:[^\r\n]*;\s*filename\*?=", re.IGNORECASE)


def uploaded_file(content_type: str, body: bytes) -> bytes | None:
    """Return the bytes of the first file in a `multipart/form-data` body, or None."""
    named = _BOUNDARY.search(content_type)
    if named is None:
        return None
    boundary = b"\r\n--" + (named.group(1) or named.group(2)).encode()
    # The text before the first boundary is not a part; "--" follows the last boundary.
    for part in (b"\r\n" + body).split(boundary)[1:]:
        head, found, content = part.partition(b"\r\n\r\n")
        if found and not part.startswith(b"--") and _FILE_NAME.search(head):
            return content
    return None
