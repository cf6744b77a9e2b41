"""DuckDB's SUMMARIZE: minimum, maximum, distinct, mean, deviation, three quartiles and missing share per column."""

from __future__ import annotations

import duckdb
from work import Clock, arguments, tell


def main():
    given, clock = arguments(), Clock()
    connection = duckdb.connect(config={"threads": given.workers})
    with clock.stage("summarize"):
        answer = connection.execute("SUMMARIZE SELECT * FROM read_parquet(?)", [given.files]).fetchall()
    tell(int(answer[0][-2]), clock, ["duckdb"], columns=len(answer))


if __name__ == "__main__":
    main()
