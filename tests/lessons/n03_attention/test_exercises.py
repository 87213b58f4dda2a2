"""The exercises of notebook 03 accept other ways to write the solutions."""

import torch

from mindlib.lessons.n03_attention import exercises


def test_loops_pass():
    def margins(V, label, rival):
        rows = []
        for v, i, j in zip(V, label, rival, strict=True):
            best = max(v, key=lambda x: float(x @ i))
            rows.append([float(best @ i - best @ j), float(best @ i) - max((v @ j).tolist())])
        return torch.tensor(rows)

    def candidate_scores(V, active, e, p):
        s = torch.einsum("bkd,cd->bkc", V, e)
        w = torch.exp(p * s) * active[:, :, None]
        return (w * s).sum(1) / w.sum(1)

    assert exercises.MARGINS.check(margins)
    assert exercises.CANDIDATE_SCORES.check(candidate_scores)
