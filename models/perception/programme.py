"""The convex programme behind a mixture read-out, its solver and its certificate (pure numpy, dense).

minimise    F(M) = sum_c weight_c sum_y p_c(y) log (p_c(y) / q_c(y)),    q_c(y) = sum_h sum_a phi_c,h[a] M_h[a, y],
subject to  M >= 0,   sum_y M_h[a, y] = w_h for every a,   sum_h w_h = 1.

Certificate (Lindsay's for nonparametric mixtures, extended to row-stochastic maps): with
G_h[a, y] = sum_c weight_c phi_c,h[a] p_c(y) / q_c(y), every feasible M obeys
0 <= F(M) - min F <= log max_h sum_a max_y G_h[a, y], with equality on the right to 0 exactly at the optimum.
Proof: the class is the convex hull of {head h, map f: symbol -> token}; Jensen's inequality on log E[q*/q].
Indices: c context, h head, a symbol read (0 is the start symbol, 1 + v is token v), y token predicted.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

Features = Float[np.ndarray, "context head symbol"]
Maps = Float[np.ndarray, "head symbol vocab"]


class Optimum(NamedTuple):
    """A feasible point, and how far above the minimum it can be."""

    maps: Maps
    certificate: float  # nats; over the heads of the programme


def mixed(features: Features, maps: Maps) -> Float[np.ndarray, "context vocab"]:
    """q_c(y) = sum_h sum_a phi_c,h[a] M_h[a, y]."""
    return features.reshape(len(features), -1) @ maps.reshape(-1, maps.shape[2])


def ratios(
    target: Float[np.ndarray, "context vocab"],
    weight: Float[np.ndarray, "context"],
    guess: Float[np.ndarray, "context vocab"],
) -> Float[np.ndarray, "context vocab"]:
    """weight_c p_c(y) / q_c(y), and 0 where p is 0: the derivative of -F by q."""
    return weight[:, None] * target / np.where(target > 0, guess, 1)


def scores(gradient: Maps) -> Float[np.ndarray, "head"]:
    """sum_a max_y G_h[a, y]: how much the best map of each head would gain; at most 1 at the optimum."""
    return gradient.max(2).sum(1)


def certificate(best_score: float) -> float:
    """The bound log max_h sum_a max_y G, plus 1e-12 for rounding, nats."""
    return max(0.0, float(np.log(best_score))) + 1e-12


def feasible(maps: Maps) -> Maps:
    """The point with exact sums: w_h becomes the mean row sum, rows are scaled to it, weights to one."""
    rows = maps.sum(2, keepdims=True)
    weight = rows.mean(1, keepdims=True)
    scaled = np.divide(maps, rows, out=np.full_like(maps, 1 / maps.shape[2]), where=rows > 0)
    return scaled * (weight / weight.sum())


def em_step(maps: Maps, gradient: Maps) -> Maps:
    """One step of expectation-maximisation: J = M G; w'_h = sum J_h, K'_h = the rows of J_h normalised.

    It lowers F by at least KL(w' || w) + sum_{h, a} J_h[a, .] KL(K'_h[a] || K_h[a]) (log-sum inequality).
    """
    joint = maps * gradient
    rows = joint.sum(2, keepdims=True)
    old = maps / maps.sum(2, keepdims=True)
    kernels = np.divide(joint, rows, out=old.copy(), where=rows > 0)
    return kernels * (rows.sum(1, keepdims=True) / joint.sum())


def solve(
    features: Features,
    target: Float[np.ndarray, "context vocab"],
    weight: Float[np.ndarray, "context"],
    tolerance: float = 1e-10,
    steps: int = 80,
) -> Optimum:
    """The optimum by a primal-dual interior-point method, to a certificate of `tolerance` nats where floats allow.

    Rows that no context reads are left out of the programme, and given the mean law.
    """
    contexts, heads, symbols = features.shape
    flat = features.reshape(contexts, heads * symbols)
    read = np.flatnonzero(weight @ flat > 0)
    mean = weight @ target
    phi = np.ascontiguousarray(flat[:, read])
    point = _Interior(phi, target, weight, read // symbols, heads)
    best = point.x, np.inf
    for _ in range(steps):
        gap = point.certificate()
        if gap < best[1]:
            best = point.x.copy(), gap
        if gap < tolerance or not point.step():
            break
    return _polished(features, target, weight, _filled(best[0], read, (heads, symbols), mean), tolerance)


def _filled(x: np.ndarray, read: np.ndarray, shape: tuple[int, int], mean: np.ndarray) -> Maps:
    heads, symbols = shape
    share = np.bincount(read // symbols, x.sum(1), heads) / np.bincount(read // symbols, minlength=heads)
    maps = np.repeat(share, symbols)[:, None] * mean
    maps[read] = x
    return feasible(maps.reshape(heads, symbols, len(mean)))


def _polished(features, target, weight, maps: Maps, tolerance: float, steps: int = 20) -> Optimum:
    """EM never leaves the feasible set and never goes up: it mends what the projection to exact sums spoilt."""
    best = maps, np.inf
    for _ in range(steps):
        ratio = ratios(target, weight, mixed(features, maps))
        gradient = (features.reshape(len(features), -1).T @ ratio).reshape(maps.shape)
        gap = certificate(scores(gradient).max())
        if gap < best[1]:
            best = maps, gap
        if gap < max(tolerance, 2e-12):
            break
        maps = feasible(em_step(maps, gradient))
    return Optimum(*best)


class _Interior:
    """The iterate of the primal-dual method: x [row, vocab] > 0, slack z > 0, multipliers nu [row], eta."""

    def __init__(self, phi, target, weight, head: Int[np.ndarray, "row"], heads: int):
        self.phi, self.target, self.weight = phi, target, weight
        self.owner = np.zeros((len(head), heads))
        self.owner[np.arange(len(head)), head] = 1.0
        vocab = target.shape[1]
        law = 0.5 * (weight @ target) + 0.5 / vocab
        self.x = np.tile(law / heads, (len(head), 1))
        self.w = np.full(heads, 1 / heads)
        self._evaluate()
        # strictly feasible multipliers: equal sums per head, above every G
        self.nu = self.gradient.max(1) + 0.5 / len(head)
        self.eta = float((self.nu @ self.owner).max())
        self.nu += (self.owner * ((self.eta - self.nu @ self.owner) / self.owner.sum(0))).sum(1)
        self.z = self.nu[:, None] - self.gradient

    def _evaluate(self):
        self.guess = self.phi @ self.x
        self.gradient = self.phi.T @ ratios(self.target, self.weight, self.guess)

    def certificate(self) -> float:
        """The bound at the present point."""
        return certificate((self.gradient.max(1) @ self.owner).max())

    def _residual(self, x, z, nu, eta, gradient, mu) -> float:
        dual = nu[:, None] - gradient - z
        # scaled by x: rows of no weight may stay far from stationary in plain units
        return float(
            np.sqrt(((x * dual) ** 2).sum() + ((x * z - mu) ** 2).sum() + ((eta - nu @ self.owner) ** 2).sum())
        )

    def step(self) -> bool:
        """One Newton step on the perturbed optimality conditions; False when floats allow no more."""
        mu = 0.1 * float((self.x * self.z).mean())
        try:
            dx, dw, dnu, deta = self._direction(mu)
        except np.linalg.LinAlgError:
            return False
        dz = (mu - self.z * dx) / self.x - self.z
        size = min(1.0, 0.99 * _room(self.x, dx), 0.99 * _room(self.z, dz))
        before = self._residual(self.x, self.z, self.nu, self.eta, self.gradient, mu)
        kept = self.x, self.w, self.z, self.nu, self.eta, self.guess, self.gradient
        for _ in range(12):
            x, w, z, nu, eta, *_ = kept
            self.x, self.w, self.z = x + size * dx, w + size * dw, z + size * dz
            self.nu, self.eta = nu + size * dnu, eta + size * deta
            self._evaluate()
            if self._residual(self.x, self.z, self.nu, self.eta, self.gradient, mu) < (1 - 0.01 * size) * before:
                return True
            size *= 0.5
        self.x, self.w, self.z, self.nu, self.eta, self.guess, self.gradient = kept
        return False

    def _direction(self, mu: float):
        """Newton: the Hessian is block-diagonal over y; the row sums are joined by a Schur complement."""
        x, z, rows = self.x, self.z, len(self.x)
        right = self.gradient - self.nu[:, None] + mu / x
        inverses = np.empty((x.shape[1], rows, rows))
        for y in range(x.shape[1]):
            root = self.phi * (np.sqrt(self.weight * self.target[:, y]) / self.guess[:, y])[:, None]
            block = (root.T @ root) * np.outer(x[:, y], x[:, y])  # affine scaling keeps it well conditioned
            block[np.diag_indices(rows)] += x[:, y] * z[:, y]
            inverses[y] = _inverse(block) * np.outer(x[:, y], x[:, y])
        b = np.einsum("yij,jy->i", inverses, right)
        schur = inverses.sum(0)
        scale = 1 / np.sqrt(np.diag(schur))
        inner = _inverse(schur * np.outer(scale, scale)) * np.outer(scale, scale)
        lack = x.sum(1) - self.owner @ self.w
        left = inner @ self.owner
        c = left.T @ (b + lack) - (self.eta - self.nu @ self.owner)
        small = _inverse(self.owner.T @ left)
        ones = small.sum(0)
        deta = (ones @ c - (1 - self.w.sum())) / ones.sum()
        dw = small @ (c - deta)
        dnu = inner @ (b + lack - self.owner @ dw)
        dx = np.einsum("yij,jy->iy", inverses, right - dnu[:, None])
        return dx, dw, dnu, deta


def _inverse(matrix: np.ndarray) -> np.ndarray:
    """Of a positive definite matrix; numpy's only, since scipy brings a second pool of threads that fights with it."""
    root = np.linalg.inv(np.linalg.cholesky(matrix))
    return root.T @ root


def _room(value: np.ndarray, step: np.ndarray) -> float:
    """The largest move that keeps value + move * step positive."""
    falling = step < 0
    return float((-value[falling] / step[falling]).min(initial=np.inf))
