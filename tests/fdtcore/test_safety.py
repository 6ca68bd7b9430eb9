"""What the examination of a script looks at beside numbers."""

import pytest

from fdtcore.examination import safety


def test_a_copy_holds_the_users_files_and_links_what_is_large(tmp_path, monkeypatch):
    monkeypatch.setattr(safety, "_COPIED_BYTES", 1000)
    source = tmp_path / "source"
    (source / "package").mkdir(parents=True)
    (source / "package" / "module.py").write_text("x = 1")
    (source / "train.py").write_text("import package")
    (source / "data").mkdir()
    (source / "data" / "large.bin").write_bytes(bytes(2000))
    (source / ".venv").mkdir()
    (source / "hfdt-logs").mkdir()
    target = tmp_path / "target"
    safety.copy(source, target)
    assert sorted(p.name for p in target.iterdir()) == ["data", "package", "train.py"]
    assert (target / "data").is_symlink()
    (target / "package" / "module.py").write_text("x = 2")
    assert (source / "package" / "module.py").read_text() == "x = 1"


@pytest.mark.parametrize(
    "line",
    [
        "hfdt: output of rank 1 goes to hfdt-logs/a/rank-1.log",
        "hfdt: ArrayData of 450 samples: rank r takes part r of 2 of each batch",
        "hfdt: tf.data.Dataset: rank 0 takes part 0 of 2 of each batch in the training",
        "nfdt: ArrayData: batches are leased; fast workers take more",
        "nfdt: staleness  mean 0.8, 95 % 2, max 5; lead max 9",
        "Epoch 1/2",
    ],
)
def test_what_is_said_of_every_job_is_nothing_to_look_at(line):
    run = safety.Run(0, line, [[]], 1.0)
    assert list(safety.said(run, line[:4])) == []


def test_what_is_said_of_this_script_alone_is_shown_once():
    text = "hfdt: this loop trains in replica: every rank computes whole batches."
    run = safety.Run(0, f"{text}\nEpoch 1/2\n{text}\n", [[]], 1.0)
    assert list(safety.said(run, "hfdt")) == [text.removeprefix("hfdt: ")]
