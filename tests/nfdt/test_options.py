"""Options: which go together, and the variables a launcher sets."""

import pytest

from nfdt.options import Options


@pytest.mark.parametrize("consistency", ["bsp", "ssp:3"])
def test_who_waits_is_for_one_server_to_decide(consistency):
    with pytest.raises(ValueError, match=r"waits\. Received: .*, servers=2\. Use"):
        Options(algorithm="asgd", consistency=consistency, servers=2)
    assert Options(algorithm="asgd", servers=2).servers == 2


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"algorithm": "sgd"}, r"one of asgd, .*Received: 'sgd'\. See nfdt algorithms"),
        ({"consistency": "ssp"}, r"asp, bsp, ssp:3, .*Received: 'ssp'\. Write ssp:3"),
        ({"wire": "int8"}, r"wire must be one of own, .*Received: wire='int8'"),
        (
            {"on_worker_loss": "cry"},
            r"continue, abort\. Received: on_worker_loss='cry'",
        ),
        ({"servers": 0}, r"servers must be an integer >= 1\. Received: servers=0"),
        ({"checkpoint_every": 0.0}, r"seconds > 0\. Received: checkpoint_every=0\.0"),
    ],
)
def test_what_is_out_of_range_is_refused(choice, message):
    with pytest.raises(ValueError, match=message):
        Options(**choice)


def test_auto_goes_on_from_the_folder_of_checkpoints():
    with pytest.raises(ValueError, match=r"Name it as well: --checkpoint DIR\."):
        Options(resume="auto")
    assert Options(resume="auto", checkpoint="ck").earlier == "ck"
    assert Options(resume="other", checkpoint="ck").earlier == "other"
    assert Options(checkpoint="ck").earlier == ""
    written = Options(resume="auto", checkpoint="/ck").to_environ({})
    assert written == {"NFDT_CHECKPOINT": "/ck", "NFDT_RESUME": "auto"}


def test_variables_set_options_and_arguments_win():
    environ = {"NFDT_ALGORITHM": "asgd", "NFDT_SERVERS": "3", "NFDT_OVERLAP": "1"}
    found = Options.from_environ(environ, servers=2)
    assert (found.algorithm, found.servers, found.overlap) == ("asgd", 2, True)


def test_a_variable_of_another_type_is_named():
    with pytest.raises(ValueError, match=r"NFDT_SERVERS must be an integer >= 1\. Rec"):
        Options.from_environ({"NFDT_SERVERS": "many"})
