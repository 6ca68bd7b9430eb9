"""One program, run as rank 0 and as rank 1: the same files, written once."""

import json
import os
import sys
from pathlib import Path

import pytest

from tests import processes

ROOT = Path(__file__).parents[2]
# {prelude} gives the process a shadow, or nothing.
PROGRAM = """
import sys
sys.path.insert(0, {root!r})
{prelude}
import csv, io, json, logging, os, pathlib, pickle, shutil, tempfile, zipfile
import numpy as np
{code}
"""
SHADOW = "from fdtcore.shadow_files import patches; shadow = patches.install()"

# Idioms of single-machine programs. Each ends by reading back what it wrote.
IDIOMS = {
    "json": """
with open("a.json", "w") as f: json.dump([1, 2], f)
assert json.load(open("a.json")) == [1, 2]
""",
    "write_then_replace": """
with open("a.txt.tmp", "w") as f: f.write("whole")
os.replace("a.txt.tmp", "a.txt")
assert open("a.txt").read() == "whole" and not os.path.exists("a.txt.tmp")
""",
    "temporary_then_replace": """
with tempfile.NamedTemporaryFile("w", dir=".", delete=False) as f: f.write("whole")
os.replace(f.name, "a.txt")
assert open("a.txt").read() == "whole"
""",
    "chdir_to_a_new_folder": """
start = os.getcwd()
os.makedirs("runs/1", exist_ok=True)
os.chdir("runs/1")
assert os.getcwd() == os.path.join(start, "runs", "1") == str(pathlib.Path.cwd())
with open("a.txt", "w") as f: f.write("whole")
assert open("a.txt").read() == "whole" and os.listdir() == ["a.txt"]
assert open("../../folder/kept.txt").read() == "old"
os.chdir("../..")
assert os.getcwd() == start and open("runs/1/a.txt").read() == "whole"
""",
    "temporary_in_a_new_folder": """
os.makedirs("new")
with tempfile.NamedTemporaryFile("w", dir="new") as f:
    f.write("x"); f.flush(); shutil.copy(f.name, "new/a.txt")
assert open("new/a.txt").read() == "x"
""",
    "mkstemp_then_move": """
number, name = tempfile.mkstemp(dir=".")
os.write(number, b"whole"); os.close(number)
shutil.move(name, "a.txt")
assert pathlib.Path("a.txt").read_text() == "whole"
""",
    "npz": """
np.savez("a.npz", x=np.arange(3)); np.save("a.npy", np.arange(4))
assert np.load("a.npz")["x"].sum() == 3 and np.load("a.npy").sum() == 6
np.arange(5.0).tofile("a.bin"); assert np.fromfile("a.bin").sum() == 10
assert np.memmap("a.bin", mode="r+").size == 40
np.savetxt("a.txt", np.ones(2)); assert np.loadtxt("a.txt").sum() == 2
""",
    "csv": """
with open("a.csv", "w", newline="") as f: csv.writer(f).writerow([1, 2])
assert list(csv.reader(open("a.csv"))) == [["1", "2"]]
""",
    "pickle": """
pathlib.Path("a.pkl").write_bytes(pickle.dumps({"a": 1}))
assert pickle.loads(pathlib.Path("a.pkl").read_bytes()) == {"a": 1}
""",
    "append": """
for i in range(2):
    with open("kept.txt", "a") as f: f.write(str(i))
assert open("kept.txt").read() == "old01"
""",
    "update": """
with open("kept.txt", "r+") as f: f.write("new")
assert open("kept.txt").read() == "new"
""",
    "exclusive": """
with open("a.txt", "x") as f: f.write("x")
try: open("a.txt", "x")
except FileExistsError: pass
else: raise AssertionError
""",
    "descriptor": """
with os.fdopen(os.open("a.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), "w") as f:
    f.write("x")
pathlib.Path("b.txt").touch()
assert open("a.txt").read() == "x" and open("b.txt").read() == ""
""",
    "folders": """
if not os.path.exists("out"): os.mkdir("out")
os.makedirs("out/deep/er", exist_ok=True)
pathlib.Path("out/path").mkdir(parents=True)
open("out/deep/er/a.txt", "w").write("x")
assert os.listdir("out/deep") == ["er"] and os.path.isdir("out/path")
assert os.path.getsize("out/deep/er/a.txt") == 1
""",
    "start_afresh": """
shutil.rmtree("folder"); assert not os.path.exists("folder/kept.txt")
os.makedirs("folder"); open("folder/a.txt", "w").write("x")
assert os.listdir("folder") == ["a.txt"]
""",
    "remove": """
os.remove("kept.txt"); assert not os.path.exists("kept.txt")
open("a.txt", "w").close(); os.unlink("a.txt"); assert not os.path.exists("a.txt")
try: open("kept.txt")
except FileNotFoundError: pass
else: raise AssertionError
""",
    "keep_the_old_one": """
os.rename("kept.txt", "kept.old"); open("kept.txt", "w").write("new")
assert open("kept.old").read() == "old" and open("kept.txt").read() == "new"
os.replace("kept.txt", "kept.new", src_dir_fd=None)
assert open("kept.new").read() == "new" and not os.path.exists("kept.txt")
""",
    "permissions": """
open("a.sh", "w").close(); os.chmod("a.sh", 0o700); os.utime("a.sh", (1, 1))
assert os.access("a.sh", os.X_OK) and pathlib.Path("a.sh").stat().st_mtime == 1
""",
    "archive": """
with zipfile.ZipFile("a.zip", "w") as z: z.write("kept.txt")
shutil.unpack_archive("a.zip", "unpacked")
assert open("unpacked/kept.txt").read() == "old"
shutil.make_archive("b", "gztar", ".", "folder"); shutil.unpack_archive("b.tar.gz", "c")
assert open("c/folder/kept.txt").read() == "old"
""",
    "log": """
logging.basicConfig(filename="a.log", format="%(message)s"); logging.error("x")
assert open("a.log").read() == "x\\n"
""",
    "link": """
if not os.path.islink("latest"): os.symlink("kept.txt", "latest")
""",
}


def run(code, folder, prelude=""):
    text = PROGRAM.format(root=str(ROOT), prelude=prelude, code=code)
    return processes.run(sys.executable, "-c", text, folder=folder)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "kept.txt").write_text("old")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "kept.txt").write_text("old")
    return tmp_path


def files(folder):
    return {str(p): p.is_file() and p.read_bytes() for p in folder.rglob("*")}


@pytest.mark.parametrize("idiom", IDIOMS)
def test_an_idiom_works_and_changes_nothing(idiom, folder):
    before = files(folder)
    done = run(IDIOMS[idiom], folder, SHADOW)
    assert (done.returncode, done.stderr) == (0, "")
    assert files(folder) == before


@pytest.mark.parametrize("idiom", IDIOMS)
def test_an_idiom_works_when_rank_0_was_faster(idiom, folder):
    done = run(IDIOMS[idiom], folder)
    assert (done.returncode, done.stderr) == (0, "")
    if idiom in ("append", "log", "update", "keep_the_old_one", "start_afresh"):
        return  # they read what rank 0 has changed meanwhile
    if idiom in ("archive", "remove"):
        (folder / "kept.txt").write_text("old")
    after = files(folder)
    done = run(IDIOMS[idiom], folder, SHADOW)
    assert (done.returncode, done.stderr) == (0, "")
    assert files(folder) == after


def outcome(code, folder):
    """What the code prints as JSON, and where its shadow was."""
    done = run(code + "\nprint(tempfile.tempdir)", folder, SHADOW)
    assert (done.returncode, done.stderr) == (0, "")
    *printed, root = done.stdout.splitlines()
    return json.loads("\n".join(printed) or "null"), Path(root)


def test_the_shadow_is_gone_at_the_end(folder):
    code = 'open("a.txt", "w").close(); print(json.dumps(os.path.exists("a.txt")))'
    existed, root = outcome(code, folder)
    assert existed and not root.exists()


def test_temporary_files_are_real_and_removed(folder):
    code = """
made = [tempfile.mkdtemp(), tempfile.mkstemp()[1], tempfile.mkdtemp(dir=".")]
assert os.system(f"test -d {made[0]} -a -f {made[1]} -a -d {made[2]}") == 0
with tempfile.TemporaryDirectory() as d: open(d + "/a", "w").close()
assert not os.path.exists(d)
print(json.dumps([os.path.abspath(m) for m in made]))
"""
    made, root = outcome(code, folder)
    assert all(Path(m).is_relative_to(root) for m in made)
    assert not any(map(os.path.exists, made))


def test_devices_and_open_files_are_real(folder):
    os.mkfifo(folder / "pipe")
    code = """
open("/dev/null", "w").write("x")
os.write(1, b'"out"'); os.fdopen(os.dup(1), "w").write(",")
fd = os.open("pipe", os.O_RDWR); open("pipe", "w").write("piped")
assert os.read(fd, 9) == b"piped"
"""
    done = run(code, folder, SHADOW)
    assert (done.stdout, done.stderr) == ('"out",', "")


def test_folders_apart_are_real(folder):
    prelude = (
        "from fdtcore.shadow_files import patches\n"
        f"patches.install([{str(folder / 'logs')!r}])"
    )
    done = run('os.mkdir("logs"); open("logs/a", "w").write("x")', folder, prelude)
    assert (done.stderr, (folder / "logs" / "a").read_text()) == ("", "x")


def test_errors_are_pythons_own(folder):
    code = """
errors = []
for call in (
    lambda: open("missing/a.txt", "w"), lambda: open("missing.txt", "r+"),
    lambda: open("missing.txt"), lambda: os.mkdir("missing/a"),
    lambda: os.stat("missing"), lambda: open("folder", "w"),
):
    try: call()
    except OSError as error: errors.append([type(error).__name__, error.filename])
print(json.dumps(errors))
"""
    assert outcome(code, folder)[0] == [
        ["FileNotFoundError", "missing/a.txt"],
        ["FileNotFoundError", "missing.txt"],
        ["FileNotFoundError", "missing.txt"],
        ["FileNotFoundError", "missing/a"],
        ["FileNotFoundError", "missing"],
        ["IsADirectoryError", "folder"],
    ]


def test_what_was_removed_is_rank_0s_again_when_ranks_have_met(folder):
    code = """
os.remove("kept.txt"); before = os.path.exists("kept.txt")
patches.settle(0)
print(json.dumps([before, open("kept.txt").read()]))
"""
    assert outcome(code, folder)[0] == [False, "old"]


def test_a_forked_child_leaves_the_shadow(folder):
    code = """
import multiprocessing
open("a.txt", "w").write("x")
child = multiprocessing.get_context("fork").Process(target=sys.exit)
child.start(); child.join()
print(json.dumps(open("a.txt").read()))
"""
    assert outcome(code, folder)[0] == "x"


def test_a_program_that_asks_for_its_rank_writes_for_itself(folder):
    code = """
os.mkdir("new"); open("before.txt", "w").write("shadow")
patches.release()
open("new/rank-1.txt", "w").write("x"); os.remove("kept.txt"); os.mkdir("more")
print(json.dumps(open("before.txt").read()))
"""
    assert outcome(code, folder)[0] == "shadow"
    assert (folder / "new" / "rank-1.txt").read_text() == "x"
    left = {p.name for p in folder.iterdir()}
    assert left == {"new", "more", "folder"}


# What two ranks do that make their data unless it is there. The first stops half way.
PREPARE = """
if not os.path.exists("data"):
    os.makedirs("data/deep")
    for i in range(3):
        if i == 1 and halts: print(journal.position()); sys.exit()
        open("draft", "w").write(str(i)); os.rename("draft", f"data/{i}")
"""
JOURNAL = """
from fdtcore.shadow_files import patches
from fdtcore.shadow_files.journal import Journal
journal = Journal({path!r})
{view}
"""
AS_FIRST = "open(journal.path, 'w').close(); patches.watch(journal.path); halts = 1"
AS_SECOND = "patches.install(journal_path=journal.path); halts = 0"


@pytest.fixture
def ranks(folder, tmp_path_factory):
    """Runs code as rank 0 or as rank 1 of a job; returns what it prints, as JSON."""
    path = str(tmp_path_factory.mktemp("journal") / "journal")

    def rank(number, code):
        view = (AS_FIRST, AS_SECOND)[number]
        done = run(code, folder, JOURNAL.format(path=path, view=view))
        assert (done.returncode, done.stderr) == (0, "")
        return json.loads(done.stdout)

    return rank


def test_what_rank_0_has_made_since_they_met_is_not_there(ranks, folder):
    position = ranks(0, PREPARE)
    assert {p.name for p in (folder / "data").iterdir()} == {"deep", "0"}
    code = f"""
import glob
before = [os.path.exists("data"), "data" in os.listdir(), open("kept.txt").read()]
{PREPARE}
listed = [sorted(os.listdir("data")), sorted(e.name for e in os.scandir("data"))]
globbed = sorted(glob.glob("data/*"))
open("data/0", "w").write("own"); os.remove("data/1")
patches.settle({position})
after = [sorted(os.listdir(b"data")) == [b"0", b"2", b"deep"], open("data/0").read()]
print(json.dumps([before, listed, globbed, after]))
"""
    before, listed, globbed, after = ranks(1, code)
    assert before == [False, False, "old"]
    assert listed == [["0", "1", "2", "deep"]] * 2
    assert globbed == ["data/0", "data/1", "data/2", "data/deep"]
    assert after == [True, "own"]


def test_what_rank_0_has_made_is_there_when_ranks_have_met(ranks):
    position = ranks(0, PREPARE)
    code = f"""
hidden = os.path.exists("data/0")
patches.settle({position})
print(json.dumps([hidden, open("data/0").read(), sorted(os.listdir("data"))]))
"""
    assert ranks(1, code) == [False, "0", ["0", "deep"]]


def test_what_rank_0_has_made_stays_hidden_when_it_has_ended(ranks):
    ranks(0, PREPARE)
    code = """
patches.REAL.remove(journal.path)  # as rank 0 does at its end
open("own.txt", "w").write("own")
print(json.dumps([os.path.exists("data"), open("own.txt").read()]))
"""
    assert ranks(1, code) == [False, "own"]


def test_a_journal_that_goes_away_while_it_is_read_ends_nothing(ranks):
    ranks(0, PREPARE)
    code = """
position = journal.position()
patches.REAL.remove(journal.path)
journal.position = lambda: position  # asked for just before
print(json.dumps(journal.made()))
"""
    assert ranks(1, code) == {}


def test_what_rank_0_makes_without_the_others_is_there_at_once(ranks):
    code = """
with patches.apart(): open("alone.txt", "w").write("x")
open("both.txt", "w").write("x"); print(journal.position())
"""
    ranks(0, code)
    code = "print(json.dumps([os.path.exists(f'{n}.txt') for n in ('alone', 'both')]))"
    assert ranks(1, code) == [True, False]
