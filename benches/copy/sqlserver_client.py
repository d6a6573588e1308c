"""A client of SQL Server, by pyodbc, for the bench itself. The variable BENCH_SQLSERVER has the connection string.

python sqlserver_client.py < STATEMENTS         prints the rows of their result, tabs between the values
python sqlserver_client.py --into TABLE < CSV   inserts the rows of a CSV file
"""

import csv
import itertools
import os
import sys

import pyodbc

ROWS = 5000


def main():
    """Connect, and do one or the other."""
    connection = pyodbc.connect(os.environ["BENCH_SQLSERVER"], autocommit="--into" not in sys.argv)
    if connection.autocommit:
        cursor = connection.execute(sys.stdin.read())
        if cursor.description:
            for row in cursor:
                print(*row, sep="\t")
    else:
        insert(connection.cursor(), sys.argv[2])
        connection.commit()


def insert(cursor, table):
    """All of it goes as text, that the server makes values of."""
    lines = csv.reader(sys.stdin)
    cursor.fast_executemany = True
    while rows := [[field or None for field in fields] for fields in itertools.islice(lines, ROWS)]:
        longest = max(len(field or "") for row in rows for field in row)
        cursor.setinputsizes([(pyodbc.SQL_WVARCHAR, longest, 0)] * len(rows[0]))
        cursor.executemany(f"insert into {table} values ({','.join('?' * len(rows[0]))})", rows)


if __name__ == "__main__":
    try:
        main()
    except pyodbc.Error as error:
        print(f"ERROR: {error.args[-1]}", file=sys.stderr)
        sys.exit(1)
