"""Workers with parameters, or a momentum, of their own."""

import numpy as np

from nfdt.glue.local_training import Delta, ElasticExchange, Lookahead


class Shared:
    """Parameters that move by ``-rate`` times what is pushed."""

    def __init__(self, params, rate, drift=0.0):
        self.true, self.rate, self.drift = np.array(params), rate, drift
        self.params = self.true.copy()

    def pull(self):
        self.true = self.true + self.drift  # what others have done meanwhile
        self.params = self.true.copy()

    def push_vector(self, vector):
        self.true = self.true - self.rate * vector
        self.params = self.true.copy()


def test_all_of_the_way_is_where_the_worker_is():
    shared, own = Shared([1.0, 2.0], rate=1.0), np.array([0.5, 3.0])
    np.testing.assert_allclose(Delta().exchange(own, shared), own)


def test_a_part_of_the_way_is_gone_by_the_server_and_taken_over():
    shared, own = Shared([1.0, 2.0], rate=0.5), np.array([0.0, 4.0])
    np.testing.assert_allclose(Delta().exchange(own, shared), [0.5, 3.0])


def test_elastic_keeps_the_sum_of_both():
    shared, own = Shared([1.0, 2.0], rate=0.3, drift=0.1), np.array([0.0, 4.0])
    before = own + shared.true + 0.1
    kept = ElasticExchange(0.3).exchange(own, shared)
    np.testing.assert_allclose(kept + shared.true, before)
    assert np.all(np.abs(kept - shared.true) < np.abs(own - np.array([1.1, 2.1])))


def test_lookahead_of_one_worker_is_momentum_seen_one_step_ahead():
    """W = w - rate * mu * v of plain momentum moves as what is sent says."""
    mu, rate = 0.9, 0.1
    gradients = np.random.default_rng(0).normal(size=(5, 3))
    w, v = np.zeros(3), np.zeros(3)
    ahead, rule = np.zeros(3), Lookahead(mu, np.zeros(3))
    for gradient in gradients:
        v = mu * v + gradient
        w = w - rate * v
        ahead = ahead - rate * rule.ahead(gradient)
        np.testing.assert_allclose(ahead, w - rate * mu * v)


def test_what_was_sent_is_not_written_any_more():
    rule = Lookahead(0.5, np.zeros(2))
    first = rule.ahead(np.ones(2))
    kept = first.copy()
    rule.ahead(np.ones(2))
    np.testing.assert_array_equal(first, kept)
