"""A PyTorch training loop in the manner of nanoGPT (Karpathy 2022), in a process of its own; not a dependency.

Eager as nanoGPT is on a CPU, or compiled, with the fused form of AdamW. A turn's sequences are drawn by NumPy before
its steps, all at once. With the weights given it says what `models.transformer` says (trainings.py compares them).
"""

from typing import Any

import numpy as np
import torch  # pyright: ignore[reportMissingImports]
from torch import nn  # pyright: ignore[reportMissingImports]
from torch.nn import functional as F  # pyright: ignore[reportMissingImports]

from experiments.bench.rivals import Arrays, Loop, hidden, serve


class Block(nn.Module):
    """Attention and a two-layer MLP, each after a norm, each added to the stream."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.norm0, self.norm1 = nn.LayerNorm(width, 1e-6), nn.LayerNorm(width, 1e-6)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.inward, self.outward = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        """[batch, time, width] -> the same."""
        batch, time, width = x.shape
        split = self.qkv(self.norm0(x)).split(width, dim=2)
        q, k, v = (y.view(batch, time, self.heads, -1).transpose(1, 2) for y in split)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(mixed.transpose(1, 2).reshape(batch, time, width))
        return x + self.outward(F.gelu(self.inward(self.norm1(x)), approximate="tanh"))


class Transformer(nn.Module):
    """Pre-norm, learned positions, a start symbol before the first token."""

    def __init__(self, vocab: int, length: int, layers: int, heads: int, width: int):
        super().__init__()
        self.tokens, self.positions = nn.Embedding(vocab + 1, width), nn.Embedding(length, width)
        self.blocks = nn.ModuleList([Block(width, heads) for _ in range(layers)])
        self.norm, self.readout = nn.LayerNorm(width, 1e-6), nn.Linear(width, vocab)

    def forward(self, tokens):
        """Tokens [batch, time] -> logits [batch, time, vocab], row t from the tokens before t."""
        inputs = F.pad(tokens[:, :-1], (1, 0), value=self.tokens.num_embeddings - 1)
        x = (self.tokens(inputs) + self.positions.weight) * self.positions.embedding_dim**0.5
        for block in self.blocks:
            x = block(x)
        return self.readout(self.norm(x))

    def take(self, arrays: Arrays) -> None:
        """Takes weights by name; all of them, and no others."""
        given = {f"blocks.{name}" if name[0].isdigit() else name: x for name, x in arrays.items()}
        kinds = {"kernel": "weight", "scale": "weight", "bias": "bias"}
        state = {}
        for name, x in given.items():
            stem, _, kind = name.rpartition(".")
            state[f"{stem}.{kinds[kind]}" if stem else f"{name}.weight"] = x.T if kind == "kernel" else x
        self.load_state_dict({name: torch.tensor(x) for name, x in state.items()})


def loop(setting: dict[str, Any], arrays: Arrays) -> Loop:
    """What it says with the given weights, and its training from them."""
    torch.set_num_threads(setting["threads"])
    operators, initial = arrays["operators"], arrays["initial"]
    network = Transformer(len(operators), *(setting[k] for k in ("length", "layers", "heads", "width")))
    network.take({k: x for k, x in arrays.items() if k not in ("probe", "operators", "initial")})
    compiled, betas = setting["compiled"], tuple(setting["betas"])
    run = torch.compile(network) if compiled else network
    adamw = torch.optim.AdamW(network.parameters(), setting["rate"], betas, weight_decay=0.0, fused=compiled)
    random, size = np.random.default_rng(setting["seed"]), (setting["batch"], setting["length"])

    def train(steps):
        drawn = torch.from_numpy(hidden(operators, initial, random, steps * size[0], size[1]))
        total = 0.0
        for tokens in drawn.split(size[0]):
            logits = run(tokens)
            loss = F.cross_entropy(logits.view(-1, logits.shape[-1]), tokens.reshape(-1))
            adamw.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            adamw.step()
            total += loss.detach()
        return float(total) / steps

    def say(tokens):
        with torch.no_grad():
            return network(torch.from_numpy(tokens.astype(np.int64))).log_softmax(-1).numpy()

    return say, train


if __name__ == "__main__":
    serve(loop)
