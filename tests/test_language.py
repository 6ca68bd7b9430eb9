"""Plain technical English in documents, help, errors and docstrings.

The lists below hold what was mended once and must not come back. They judge wording,
not meaning: rewrite the sentence, and extend a list when a review finds another.
"""

import ast
import functools
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("fdtcore", "hfdt", "nfdt")
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]
MODULES = [path for name in PACKAGES for path in sorted((ROOT / name).rglob("*.py"))]

# What a reader would stop at -> what to say.
PHRASES = {
    r"(?<!longer )done without\b": "continues without",
    r"\bweighed\b": "weighted",
    r"\bis no mean\b": "is not a mean",
    r"\bthat (?:is|are) not there\b": "simulated; missing",
    r"\bwithout a word\b": "without a message; silently",
    r"\bleave (?:it|them|the \w+ line) away\b": "omit",
    r"\bthe ways? (?:that|they|it)\b.{0,20}\bwent\b": "the change of parameters",
    r"\bof (?:one|its|their|your)(?:'s)? own choice\b": "custom",
    r"\bsteps of (?:one's|its|their|the workers') own\b": "local steps",
    r"\bowns to\b": "reports",
    r"\bby halves\b": "partly",
    r"\bnow and then\b": "occasionally",
    r"\bto the bit\b": "bit by bit",
    r"\bis 0 always\b": "is always 0",
    r"\breckon(?:s|ed)?\b": "computes",
    r"\ball the same\b": "still",
    r"\bvery (?:server|services|SGD|model)\b": "the server itself",
    r"\b[Bb]etter known before\b": "(omit)",
    r"\bfound out\b": "detected",
    r"\btells? of\b": "reports",
    r"\blays? in\b": "stores",
    r"\bmend(?:s|ed)?\b": "correct, repair",
    r"\bof late-coming\b": "that arrive late",
}
ANY = re.compile("|".join(PHRASES))
CLAUSES = (
    "What|How|Which|Who|Whose|Where|Whether|When|Why|From|To|In|Is|Are|Before|After"
)
# A pronoun as the whole of a sentence's subject: a pop-up does not show what it is.
PRONOUNS = r"(?:it|they|there|one|some|something|that|this|if|the same|the two)\b"


@functools.cache
def parsed(path):
    """Returns the syntax tree of a module."""
    return ast.parse(path.read_text())


def docstrings(path):
    """Yields the name of each documented object of a module, and its text."""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(parsed(path)):
        if isinstance(node, kinds) and (text := ast.get_docstring(node)):
            yield getattr(node, "name", "the module"), text


def texts(path):
    """Yields the literal texts of a module, docstrings included."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def prose(text):
    """Returns a page without its blocks of code, as one line."""
    text = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    return " ".join(text.split())


def said(text):
    """Returns what a text says of the phrases above, with what to say."""
    text = " ".join(text.split())
    if not ANY.search(text):
        return []
    found = {p: re.search(p, text) for p in PHRASES}
    return [f"{m[0]!r}: say {PHRASES[p]!r}" for p, m in found.items() if m]


def entries(text, section):
    """Returns name -> words of the entries of one section of a docstring."""
    found = re.search(rf"^{section}:\n((?:    .*\n?|\n)+)", text, re.MULTILINE)
    lines = re.findall(r"^    (\*{0,2}[\w.]+): (.*)", found[1], re.M) if found else []
    return dict(lines)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_pages_are_plain_english(page):
    assert not said(prose(page.read_text()))


@pytest.mark.parametrize("package", PACKAGES)
def test_messages_and_docstrings_are_plain_english(package):
    wrong = [
        f"{path.relative_to(ROOT)}: {one}"
        for path in MODULES
        if path.relative_to(ROOT).parts[0] == package
        for text in texts(path)
        for one in said(text)
    ]
    assert not wrong, "\n".join(wrong)


def test_headlines_of_modules_are_noun_phrases():
    """ "The table of ..", not "What is in the table", nor "Finds the table"."""
    heads = {path: ast.get_docstring(parsed(path)) for path in MODULES}
    wrong = [
        f"{path.relative_to(ROOT)}: {head.splitlines()[0]}"
        for path, head in heads.items()
        if head
        and re.match(rf"(?:{CLAUSES})\b|[A-Z]\w+[^s]s (?:a|an|the|this)\b", head)
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("package", PACKAGES)
def test_raises_name_the_condition_with_a_subject(package):
    """ "ValueError: The folder is not writable.", not "It is not" or "if it is not"."""
    wrong = [
        f"{path.relative_to(ROOT)} {name}: {error}: {words}"
        for path in MODULES
        if path.relative_to(ROOT).parts[0] == package
        for name, text in docstrings(path)
        for error, words in entries(text, "Raises").items()
        if re.match(PRONOUNS, words, re.IGNORECASE)
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("package", PACKAGES)
def test_arguments_have_a_meaning(package):
    """ "num_workers: Number of workers, M.", not "M." nor "The engine."."""
    empty = (
        r"(?:\w+|The (?:engine|model|optimizer|time)|Its \w+|Of \w+|This process)\.$"
    )
    wrong = [
        f"{path.relative_to(ROOT)} {name}: {argument}: {words}"
        for path in MODULES
        if path.relative_to(ROOT).parts[0] == package
        for name, text in docstrings(path)
        for argument, words in entries(text, "Args").items()
        if re.match(empty, words)
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("path", [p for p in MODULES if p.name == "__init__.py"])
def test_tables_of_packages_list_their_modules(path):
    text = ast.get_docstring(parsed(path)) or ""
    table = re.search(r"^(=+) +=+\n(.*?)\n=+ +=+$", text, re.MULTILINE | re.DOTALL)
    if not table:
        return
    cells = [line[: len(table[1])] for line in table[2].splitlines()]
    listed = {name.strip(" /") for cell in cells for name in cell.split(",")} - {""}
    named = listed | set(re.findall(r"``(\w+)/?``", table[2]))
    files = [p for p in path.parent.iterdir() if p.suffix == ".py" or p.is_dir()]
    there = {p.stem for p in files if not p.name.startswith("__")}
    assert there <= named, f"not in the table: {sorted(there - named)}"
    assert listed <= there, f"no such module: {sorted(listed - there)}"
