# Prints the distributions that a script under this Python would find, one a line: folder of its metadata, a tab, and the
# name and version as the folder is named by them. Run by `check.rs` with `-c`, in the script's environment.
#
# It imports nothing but what a start has loaded: the project's root is on sys.path, and a `json.py` of the project's would
# be run. `importlib.metadata` gives the same, and takes longer to load than all else here together.
import os
import sys


def found():
    for folder in sys.path:
        try:
            names = os.listdir(folder or ".")
        except OSError:
            continue
        for name in names:
            stem, dot, kind = name.rpartition(".")
            if dot and kind in ("dist-info", "egg-info"):
                yield os.path.join(os.path.abspath(folder), name), stem


# Where the script's own folder is not the project's root.
sys.path[:0] = sys.argv[1:]
for path, stem in found():
    sys.stdout.buffer.write(b"@dray-installed@" + os.fsencode(path) + b"\t" + os.fsencode(stem) + b"\n")
sys.stdout.flush()
# Exit handlers that sitecustomize has set are not wanted here.
os._exit(0)
