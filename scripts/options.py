"""Writes the options of both frameworks into the README and docs/options.md."""

from pathlib import Path

import hfdt
import nfdt
from fdtcore import option_tables

ROOT = Path(__file__).parent.parent

if __name__ == "__main__":
    readme = ROOT / "README.md"
    text = readme.read_text()
    for options in (hfdt.Options, nfdt.Options):
        text = option_tables.replaced(text, options)
    readme.write_text(text)
    page = option_tables.page((hfdt.Options, nfdt.Options))
    (ROOT / "docs" / "options.md").write_text(page)
