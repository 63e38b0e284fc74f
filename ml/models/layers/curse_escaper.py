"""CSTWA's curse escaper (CE): weights on samples whose click prediction and conversion contradict each other."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn


class CurseEscaper(nn.Module):
    """Weights of the conversion loss, from the thresholds t_h and t_l over the last ``recent`` CTR predictions.

    The ring buffer of those predictions is part of the training state; until it is full every weight is 1.
    """

    recent: torch.Tensor
    seen: torch.Tensor
    quantiles: torch.Tensor

    def __init__(
        self,
        *,
        recent: int,
        low_quantile: float,
        high_quantile: float,
        magnitude: float,
        cap: float,
        weighting: Literal["capped", "constant"],
    ) -> None:
        super().__init__()
        self._magnitude = magnitude
        self._cap = cap
        self._weighting = weighting
        self.register_buffer("recent", torch.zeros(recent))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))
        self.register_buffer("quantiles", torch.tensor([low_quantile, high_quantile]), persistent=False)

    @torch.no_grad()
    def weights(self, p_ctr: torch.Tensor, conversion: torch.Tensor) -> torch.Tensor:
        """w, float32 [B], from p_ctr [B] and z [B]; carries no gradient (MODELS.md, CSTWA 7).

        False positive (z = 0, p > t_h): min(γ·p/t_h, cap); false negative (z = 1, p < t_l): min(γ·t_l/p, cap);
        else 1. With ``weighting="constant"`` both are γ. A z above 1 (delayed feedback) is a conversion.
        """
        low, high = torch.quantile(self.recent, self.quantiles).unbind()
        full = self.seen >= len(self.recent)
        false_positive = full & (conversion == 0) & (p_ctr > high)
        false_negative = full & (conversion > 0) & (p_ctr < low)
        if self._weighting == "constant":
            return torch.where(false_positive | false_negative, self._magnitude, 1.0)
        above = (self._magnitude * p_ctr / high).clamp(max=self._cap)
        below = (self._magnitude * low / p_ctr).clamp(max=self._cap)
        return torch.where(false_positive, above, torch.where(false_negative, below, 1.0))

    @torch.no_grad()
    def remember(self, p_ctr: torch.Tensor) -> None:
        """Puts the predictions [B] into the ring buffer, oldest out first."""
        size = len(self.recent)
        kept = p_ctr[-size:]
        first = self.seen + (len(p_ctr) - len(kept))
        places = (first + torch.arange(len(kept), device=kept.device)) % size
        self.recent[places] = kept
        self.seen += len(p_ctr)
