"""What a peer's script is to do, out of the file that its first argument names."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace


def read() -> SimpleNamespace:
    """`route`, `tables`, `columns` (name, type), `source` and `destination` (product, host, port, user, password, name,
    url, odbc, schema), `creates` (whether the script makes the tables),
    `ddl` (a statement a table).
    """
    return json.loads(Path(sys.argv[1]).read_text("utf-8"), object_hook=lambda fields: SimpleNamespace(**fields))
