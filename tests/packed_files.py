"""Writes files and zips for tests of what reads them."""

import io
import re
import zipfile


def write_tree(root, contents):
    for name, data in contents.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def zip_of(members, compression=zipfile.ZIP_DEFLATED):
    """A name that ends with a slash is a folder."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return packed.getvalue()


def mark_encrypted(packed):
    """Sets general purpose bit 0 in the local and the central headers of all members."""
    data = bytearray(packed)
    for signature, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        for found in re.finditer(re.escape(signature), packed):
            data[found.start() + place] |= 1
    return bytes(data)
