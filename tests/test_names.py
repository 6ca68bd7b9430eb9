"""Names of classes and modules: one word for one concept, over the whole tree."""

import ast
import collections

import pytest

from tests.test_layers import FILES, ROOT

# Classes of one name, and why the name has one meaning in all of them.
SHARED_NAMES = {
    "Options": "the options of a framework, each in its own `options.py`",
}
# Modules named by a word in -ing that is a noun of the field.
NOUNS = {
    "averaging": "model averaging",
    "binding": "the binding of a framework to Keras",
    "combining": "how parts of a batch make up the whole",
    "loading": "the loading of models",
    "local_training": "local steps, as in local SGD",
    "saving": "the saving of models",
    "training": "the training loop",
}
# Words in -ing that are no form of a verb.
WORDS = ("settings", "string", "thing")


def class_names(source: str) -> list[str]:
    """Returns the names of all classes that a program defines."""
    found = ast.walk(ast.parse(source))
    return [node.name for node in found if isinstance(node, ast.ClassDef)]


def twice(sources: dict[str, str]) -> dict[str, list[str]]:
    """Returns each name of more than one class, and the files that define them."""
    found: dict[str, list[str]] = collections.defaultdict(list)
    for file, source in sources.items():
        for name in class_names(source):
            found[name].append(file)
    return {name: files for name, files in found.items() if len(files) > 1}


def is_gerund(module: str) -> bool:
    """Whether a module's last word is a form of a verb in -ing."""
    return module.removesuffix("s").endswith("ing") and module not in WORDS


def test_no_class_name_stands_for_two_concepts():
    found = twice({file: (ROOT / file).read_text() for file in FILES})
    wrong = {name: found[name] for name in found.keys() - SHARED_NAMES.keys()}
    assert not wrong, "one name, one class: rename all but one"
    assert found.keys() == SHARED_NAMES.keys(), "an allowed name is not used any more"


def test_modules_are_nouns():
    found = {file.rpartition("/")[2].removesuffix(".py") for file in FILES}
    assert {name for name in found if is_gerund(name)} == NOUNS.keys()


@pytest.mark.parametrize(
    ("sources", "found"),
    [
        ({"a.py": "class A: pass", "b.py": "class B: pass"}, {}),
        ({"a.py": "class A: pass\nclass A: pass"}, {"A": ["a.py", "a.py"]}),
        (
            {"a.py": "class A: pass", "b.py": "def f():\n    class A: pass"},
            {"A": ["a.py", "b.py"]},
        ),
    ],
)
def test_classes_of_one_name_are_found_wherever_they_stand(sources, found):
    assert twice(sources) == found


@pytest.mark.parametrize(
    ("module", "expected"),
    [("choosing", True), ("keepings", True), ("settings", False), ("barriers", False)],
)
def test_gerunds_are_known(module, expected):
    assert is_gerund(module) is expected
