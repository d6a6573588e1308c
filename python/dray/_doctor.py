"""The worker's part of `dray doctor`: looks at ODBC drivers, secrets and connections, each a line of JSON in a file.

A built-in entrypoint; the file is its only argument.
"""

import sys

from . import _native, _run


def main() -> None:
    """Has the engine look at everything, with the packages that a script would find."""
    _native.examine(_run.task_folder(), [path for path in sys.path if path], sys.argv[1])


if __name__ == "__main__":
    main()
