"""Directions that separate two sets of activations: PCA of differences, logistic regression, discriminant analysis.

All in float64 and for all layers at once where that is quicker. Lengths mean nothing here; see `fit_direction`.
"""

import torch
from jaxtyping import Float
from torch import Tensor

LOGISTIC_C = 0.1
"""Inverse strength of the probe's L2 penalty on standardised activations, fixed in advance, not tuned."""


def principal_vectors(differences: Float[Tensor, "layer pair d_model"]) -> Float[Tensor, "layer d_model"]:
    """First principal component of the paired differences about the origin; its sign means nothing.

    About the origin, because the sign of a difference is a convention: turned at random, they have no mean.
    """
    gram = differences @ differences.transpose(1, 2)
    weights = torch.linalg.eigh(gram).eigenvectors[:, :, -1]
    return torch.einsum("lp,lpd->ld", weights, differences)


def lda_vectors(
    positive: Float[Tensor, "layer positive d_model"], negative: Float[Tensor, "layer negative d_model"]
) -> Float[Tensor, "layer d_model"]:
    """Inverse of the shrunken covariance within the poles, times the mean difference.

    The covariance of n rows, each centred on its pole, is shrunk toward its mean variance by the share that Ledoit
    and Wolf give. It is never formed: where S = X'X / n, the inverse of b I + a S is
    (I - a/n X' (b I + a/n XX')^-1 X) / b.
    """
    difference = positive.mean(1) - negative.mean(1)
    rows = torch.cat([side - side.mean(1, keepdim=True) for side in (positive, negative)], dim=1)
    n, width = rows.shape[1:]
    gram = rows @ rows.transpose(1, 2)
    variance = gram.diagonal(dim1=1, dim2=2).sum(1) / (n * width)
    shrinkage = ledoit_wolf_shrinkage(gram, width)
    share = ((1 - shrinkage) / n)[:, None, None]
    ridge = (shrinkage * variance).clamp_min(1e-12 * variance).clamp_min(1e-300)[:, None, None]
    inner = ridge * torch.eye(n, dtype=rows.dtype) + share * gram
    projected = torch.linalg.solve(inner, rows @ difference[:, :, None])
    return difference - (share * rows.transpose(1, 2) @ projected)[:, :, 0]


def ledoit_wolf_shrinkage(gram: Float[Tensor, "layer n n"], width: int) -> Float[Tensor, " layer"]:
    """Share of the shrinkage target, 0 to 1, from the inner products of centred rows; 1 where nothing varies."""
    n = gram.shape[1]
    squares = gram.diagonal(dim1=1, dim2=2)
    mean_variance = squares.sum(1) / (n * width)
    total = gram.square().sum((1, 2)) / n**2  # squared Frobenius norm of the covariance
    distance = total - width * mean_variance.square()
    error = (squares.square().sum(1) / n - total) / n
    return torch.where(distance > 0, torch.minimum(error, distance) / distance.clamp_min(1e-300), 1.0)


def logistic_vectors(
    positive: Float[Tensor, "layer positive d_model"], negative: Float[Tensor, "layer negative d_model"]
) -> Float[Tensor, "layer d_model"]:
    """Weights of a logistic regression on standardised features, mapped back to the features' own scale.

    L2 penalty |w|^2 / 2 + C * log loss with C = LOGISTIC_C, the intercept unpenalised, poles weighted so that each
    counts half. Features that do not vary have weight 0.
    """
    from sklearn.linear_model import LogisticRegression

    labels = torch.cat([torch.ones(positive.shape[1]), torch.zeros(negative.shape[1])]).numpy()
    vectors = []
    for rows in torch.cat([positive, negative], dim=1):
        scale = rows.std(0)
        scaled = (rows - rows.mean(0)) / torch.where(scale > 0, scale, torch.inf)
        # The weights lie in the span of the rows. Along its axes the penalty is the same and the unknowns are fewer.
        values, axes = torch.linalg.eigh(scaled @ scaled.T)
        lengths = values.clamp_min(0).sqrt()
        kept = lengths > 1e-9 * lengths.max()
        axes, lengths = axes[:, kept], lengths[kept]
        if len(lengths) == 0:
            vectors.append(torch.zeros_like(scale))
            continue
        probe = LogisticRegression(C=LOGISTIC_C, class_weight="balanced", solver="newton-cholesky", tol=1e-8)
        weights = torch.from_numpy(probe.fit((axes * lengths).numpy(), labels).coef_[0])
        vectors.append((axes / lengths @ weights) @ scaled / torch.where(scale > 0, scale, torch.inf))
    return torch.stack(vectors)
