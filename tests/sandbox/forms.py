"""Forms with files, read from a body that is already there."""

from __future__ import annotations

import re

_BOUNDARY = re.compile(r'boundary=(?:"([^"]+)"|([^;\s]+))', re.IGNORECASE)
_FILE_NAME = re.compile(rb"content-disposition:[^\r\n]*;\s*filename\*?=", re.IGNORECASE)


def uploaded_file(content_type: str, body: bytes) -> bytes | None:
    """Return the bytes of the first file in a `multipart/form-data` body; None: there is none."""
    named = _BOUNDARY.search(content_type)
    if named is None:
        return None
    boundary = b"\r\n--" + (named.group(1) or named.group(2)).encode()
    # What stands before the first boundary is no part, and "--" follows the last one.
    for part in (b"\r\n" + body).split(boundary)[1:]:
        head, found, content = part.partition(b"\r\n\r\n")
        if found and not part.startswith(b"--") and _FILE_NAME.search(head):
            return content
    return None
