"""Which rules a user's optimizer gets."""

import pytest

from nfdt.algorithms import ALGORITHMS, ELASTIC, ddc_asgd, find
from nfdt.resolution import Rule, describe, fit_to, plain_sgd
from nfdt.rules.averaging import DelayMomentum, FixedDelayMomentum
from nfdt.rules.optimizers import Elastic, Sgd
from tests.nfdt.rules import sgd

# Its workers train by themselves, and one does too.
ALONE = {name for name, one in ALGORITHMS.items() if one.sends == ELASTIC}
BOTH = ddc_asgd(terms="momentum+taylor")
ADAM = {"class_name": "Adam", "config": {"learning_rate": 0.1}}
EXTRAS = {
    "weight_decay": 0.1,
    "clipnorm": 1.0,
    "clipvalue": 1.0,
    "global_clipnorm": 1.0,
    "use_ema": True,
    "loss_scale_factor": 2.0,
    "gradient_accumulation_steps": 2,
}


def test_sgd_is_the_servers_own():
    assert plain_sgd(sgd(0.9, True)) == Sgd(0.9, True)
    assert plain_sgd(ADAM) is None


@pytest.mark.parametrize("name", EXTRAS)
def test_sgd_with_extras_is_run_by_keras(name):
    assert plain_sgd(sgd(**{name: EXTRAS[name]})) is None
    assert plain_sgd(sgd(**{name: None})) == Sgd()


@pytest.mark.parametrize("config", [sgd(), sgd(0.9), sgd(0.9, True), ADAM])
@pytest.mark.parametrize("name", [n for n in ALGORITHMS if n not in ALONE])
def test_with_one_worker_the_users_optimizer_runs_as_it_is(name, config):
    algorithm = find(name)
    rule = fit_to(algorithm, config, 1)
    assert rule == Rule(algorithm.correction, plain_sgd(config), 0.0)


@pytest.mark.parametrize(
    "name", ["asgd", "dc-asgd-c", "dc-asgd-a", "gap-aware", "ddc-asgd"]
)
def test_corrections_leave_the_optimizer_to_the_user(name):
    assert fit_to(find(name), sgd(0.9), 4).optimizer == Sgd(0.9)
    assert fit_to(find(name), ADAM, 4).optimizer is None


@pytest.mark.parametrize(
    ("algorithm", "rule"),
    [
        (BOTH, DelayMomentum(momentum=0.75, caution=4.0)),
        (find("dc-asgdk"), FixedDelayMomentum(momentum=0.75)),
    ],
)
def test_momentum_of_the_user_is_what_is_kept_without_delay(algorithm, rule):
    assert fit_to(algorithm, sgd(0.75), 4).optimizer == rule
    assert fit_to(algorithm, sgd(), 4).optimizer.momentum == 0


def test_momentum_of_one_is_refused_where_it_is_averaged():
    with pytest.raises(ValueError, match=r"in \[0, 1\).*Received: momentum=1\.0\. Use"):
        fit_to(BOTH, sgd(1.0), 4)


def test_dana_takes_momentum_to_the_workers():
    rule = fit_to(find("dana-slim"), sgd(0.9), 4)
    assert (rule.optimizer, rule.momentum) == (Sgd(), 0.9)


@pytest.mark.parametrize("config", [sgd(), ADAM])
def test_dana_without_momentum_is_refused(config):
    with pytest.raises(ValueError, match=r"dana-slim takes .* Use SGD\(learning_rate"):
        fit_to(find("dana-slim"), config, 4)


def test_of_ddc_asgd_the_taylor_term_goes_with_any_optimizer():
    rule = fit_to(BOTH, ADAM, 4)
    assert rule == Rule(BOTH.correction, None)


def test_a_momentum_alone_needs_plain_sgd():
    with pytest.raises(ValueError, match=r"dc-asgdk .* Received: optimizer='Adam\(\)'"):
        fit_to(find("dc-asgdk"), ADAM, 4)


def test_easgd_is_the_same_for_every_optimizer():
    for config in (ADAM, sgd(0.9)):
        assert fit_to(find("easgd"), config, 4).optimizer == Elastic()


def test_descriptions():
    assert describe(sgd(0.9)) == "SGD(momentum=0.9)"
    assert describe(ADAM) == "Adam()"
