"""Each algorithm as its source writes it: loops over Python's numbers, one by one.

Nothing is imported from NFDT. A worker pulls whenever it has pushed.
"""

from __future__ import annotations

import math


class Asgd:
    """``w -= lr * g``; the base of the others, which override ``step``."""

    def __init__(self, w, num_workers, lr=0.1, mu=0.0, nesterov=False):
        self.w = [float(x) for x in w]
        self.num_workers, self.lr = num_workers, lr
        self.mu, self.nesterov = mu, nesterov
        self.version = 0
        self.backup = {i: list(self.w) for i in range(num_workers)}
        self.pulled = dict.fromkeys(range(num_workers), 0)
        self.d = [0.0] * len(self.w)
        self.s = [0.0] * len(self.w)
        self.taus = []
        self.mean_tau = 0.0

    def push(self, worker, g):
        """One push and the pull after it."""
        tau = self.version - self.pulled[worker]
        self.taus.append(tau)
        # The mean of all pushes, until 1 % weighs more than one of them.
        n = len(self.taus)
        if n <= 100:
            self.mean_tau = sum(self.taus) / n
        else:
            self.mean_tau = 0.99 * self.mean_tau + 0.01 * tau
        self.step([float(x) for x in g], self.backup[worker], tau)
        self.version += 1
        self.backup[worker] = list(self.w)
        self.pulled[worker] = self.version

    def step(self, g, v, tau):
        """Plain."""
        self.descend(g)

    def descend(self, g):
        """The user's SGD, with heavy-ball momentum or Nesterov's."""
        for j, x in enumerate(g):
            if not self.mu:
                self.w[j] -= self.lr * x
                continue
            self.d[j] = self.mu * self.d[j] - self.lr * x
            if self.nesterov:
                self.w[j] += self.mu * self.d[j] - self.lr * x
            else:
                self.w[j] += self.d[j]

    def average(self, g, a):
        """With the user's momentum mu and the past's share a; mu = 0 is the papers'.

        ``d = (mu + (1 - mu) * a) * d - (1 - a) * lr * g;  w += d``
        """
        kept = self.mu + (1 - self.mu) * a
        for j, x in enumerate(g):
            self.d[j] = kept * self.d[j] - (1 - a) * self.lr * x
            if self.nesterov:
                self.w[j] += kept * self.d[j] - (1 - a) * self.lr * x
            else:
                self.w[j] += self.d[j]


class DcAsgdC(Asgd):
    def step(self, g, v, tau):
        self.descend([x + 0.04 * x * x * (self.w[j] - v[j]) for j, x in enumerate(g)])


class DcAsgdA(Asgd):
    def step(self, g, v, tau):
        late = []
        for j, x in enumerate(g):
            self.s[j] = 0.95 * self.s[j] + 0.05 * x * x
            strength = 2.0 / math.sqrt(self.s[j] + 1e-7)
            late.append(x + strength * x * x * (self.w[j] - v[j]))
        self.descend(late)


class DcAsgdk(Asgd):
    def step(self, g, v, tau):
        self.average(g, 1 - 1 / self.num_workers)


class DdcR1(Asgd):
    """The reconstruction without its Taylor term."""

    def step(self, g, v, tau):
        q = 1 + self.mean_tau
        self.average(g, tau / (tau + q))


class Ddc(Asgd):
    """Both terms: momentum at four times q, Taylor term by norms."""

    q = None
    caution = 4

    def trust(self, tau, q):
        return tau / (tau + q)

    def step(self, g, v, tau):
        q = 1 + self.mean_tau if self.q is None else self.q
        c = [x * x * (self.w[j] - v[j]) for j, x in enumerate(g)]
        length = math.sqrt(sum(x * x for x in g))
        shift = math.sqrt(sum(x * x for x in c))
        scale = self.trust(tau, q) * length / shift if shift else 0.0
        late = [x + scale * y for x, y in zip(g, c, strict=True)]
        if self.caution:
            self.average(late, tau / (tau + self.caution * q))
        else:
            self.descend(late)


class DdcQ5(Ddc):
    q = 5


class DdcTaylor(Ddc):
    caution = 0

    def trust(self, tau, q):
        return min(1.0, tau / q)


class StalenessAware(Asgd):
    def step(self, g, v, tau):
        self.descend([x / max(tau, 1) for x in g])


class GapAware(Asgd):
    def step(self, g, v, tau):
        t, late = len(self.taus), []
        for j, x in enumerate(g):
            self.s[j] = 0.999 * self.s[j] + 0.001 * x * x
            usual = self.lr * (math.sqrt(self.s[j] / (1 - 0.999**t)) + 1e-8)
            late.append(x / (1 + abs(self.w[j] - v[j]) / usual))
        self.descend(late)


class Easgd(Asgd):
    """What is pushed is w - x."""

    def step(self, g, v, tau):
        for j, x in enumerate(g):
            self.w[j] -= 0.9 / self.num_workers * x


class DanaZero:
    """Momentum of each worker on the server, which sends where they will lead."""

    def __init__(self, w, num_workers, lr=0.1, mu=0.9):
        self.w = [float(x) for x in w]
        self.lr, self.mu = lr, mu
        self.v = {i: [0.0] * len(self.w) for i in range(num_workers)}

    def push(self, worker, g):
        """One push."""
        for j, x in enumerate(g):
            self.v[worker][j] = self.mu * self.v[worker][j] + float(x)
            self.w[j] -= self.lr * self.v[worker][j]

    def ahead(self):
        """What a worker is sent."""
        return [
            w - self.lr * self.mu * sum(v[j] for v in self.v.values())
            for j, w in enumerate(self.w)
        ]


# Row of rules.ROWS -> its reference.
REFERENCES = {
    "asgd": Asgd,
    "asgd momentum": Asgd,
    "asgd nesterov": Asgd,
    "dc-asgd-c": DcAsgdC,
    "dc-asgd-a": DcAsgdA,
    "dc-asgd-a momentum": DcAsgdA,
    "dc-asgdk": DcAsgdk,
    "dc-asgdk momentum": DcAsgdk,
    "ddc-asgd": DdcTaylor,
    "ddc-asgd sgd momentum": DdcTaylor,
    "ddc-asgd momentum": DdcR1,
    "ddc-asgd both": Ddc,
    "ddc-asgd both, sgd momentum": Ddc,
    "ddc-asgd both, sgd nesterov": Ddc,
    "ddc-asgd both, q": DdcQ5,
    "staleness-aware": StalenessAware,
    "gap-aware": GapAware,
    "dana-slim": Asgd,
    "easgd": Easgd,
}
