"""The table of what is tested on each library, which the tests write: in the README as in the pages.

Both are made again by ``pytest tests/test_contract.py --support-table=docs/support.csv && python docs/support.py``.
"""

import csv
from pathlib import Path

DOCS = Path(__file__).parent
BEGIN, END = "<!-- support -->\n", "<!-- end of support -->"
LEFT_TO_THE_PAGES = {"dtypes kept"}


def table():
    """Return the table as Markdown."""
    with (DOCS / "support.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    names = [name for name in rows[0] if name not in LEFT_TO_THE_PAGES]
    lines = [names, ["---"] * len(names), *([row[name] for name in names] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def updated(readme):
    """Return a README with the table."""
    before, _, rest = readme.partition(BEGIN)
    return before + BEGIN + table() + END + rest.partition(END)[2]


if __name__ == "__main__":
    path = DOCS.parent / "README.md"
    path.write_text(updated(path.read_text(encoding="utf-8")), encoding="utf-8")
