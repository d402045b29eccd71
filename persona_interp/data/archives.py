"""One file of a tar archive, unpacked in memory where it is as small as is expected."""

import lzma
import tarfile
import zlib
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

from persona_interp.errors import ArtefactError
from persona_interp.files import MIB, shown

MOST_UNPACKED = 256 * MIB
_DAMAGED = (tarfile.TarError, OSError, EOFError, zlib.error, lzma.LZMAError, ValueError, OverflowError, RecursionError)


def member(source: Path, data: bytes, names: Sequence[str], expected: str) -> bytes:
    """The first of these files in an archive, by the end of its path.

    Args:
        expected: which archive it should have been, for the message.

    Raises:
        ArtefactError: it is no tar archive or a damaged one, has none of them, or one is over 256 MiB.
    """
    try:
        with tarfile.open(fileobj=BytesIO(data)) as archive:
            read = 0
            for found in archive:
                read += found.size
                if read > MOST_UNPACKED:
                    raise ArtefactError(f"{shown(source)} unpacks to over {MOST_UNPACKED // MIB} MiB.", expected)
                handle = archive.extractfile(found) if _is_named(found, names) else None
                if handle is not None:
                    return handle.read()
    except _DAMAGED as error:
        raise ArtefactError(f"could not read {shown(source)} as an archive: {str(error)[:200]}.", expected) from error
    raise ArtefactError(f"{shown(source)} holds no {names[0]}.", expected)


def _is_named(found: tarfile.TarInfo, names: Sequence[str]) -> bool:
    return found.isreg() and any(found.name == name or found.name.endswith(f"/{name}") for name in names)
