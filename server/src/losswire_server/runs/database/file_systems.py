"""The file system of a file, and whether SQLite's write-ahead log works there.

The log needs memory that all processes share, which file systems of networks do not give: two machines would write over
each other. SQLite does not notice (https://sqlite.org/wal.html).
"""

import re
from pathlib import Path

MOUNTS = Path("/proc/self/mountinfo")
OF_NETWORKS = frozenset(
    (
        *("9p", "afs", "beegfs", "ceph", "cifs", "coda", "fhgfs", "gfs2", "glusterfs", "gpfs", "lustre", "ncpfs"),
        *("nfs", "nfs4", "ocfs2", "orangefs", "pvfs2", "smb3", "smbfs", "wekafs"),
        *("fuse.ceph", "fuse.gcsfuse", "fuse.glusterfs", "fuse.juicefs", "fuse.rclone", "fuse.s3fs"),
        *("fuse.seaweedfs", "fuse.sshfs"),
    )
)
IN_MEMORY = frozenset(("ramfs", "tmpfs"))


def file_system_of(path: Path, mounts: Path = MOUNTS) -> str:
    """The type of the file system that a path is on; empty if that is not told."""
    try:
        lines = mounts.read_text().splitlines()
    except OSError:
        return ""
    place = path.resolve()
    found = [(Path(point), kind) for point, kind in map(_mount, lines) if place.is_relative_to(point)]
    # Of several mounts of one place the last one is seen.
    return max(enumerate(found), key=lambda one: (len(one[1][0].parts), one[0]))[1][1] if found else ""


def _mount(line: str) -> tuple[str, str]:
    """The place and type of a line: see proc_pid_mountinfo(5)."""
    before, _, after = line.partition(" - ")
    point = re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), before.split(" ")[4])
    return point, after.split(" ")[0]
