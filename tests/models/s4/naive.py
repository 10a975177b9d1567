"""The field's mistakes, kept as exhibits: each is proved wrong by a test."""

import torch


def divided(log_keep, add):
    """A scan by running sums: e^{Σ} · cumsum(add · e^{-Σ}).

    Right on paper; e^{-Σ} grows without end and leaves the range of floats.
    """
    total = log_keep.cumsum(1)
    return total.exp() * (add * (-total).exp()).cumsum(1)


def wrapped(x, kernel):
    """A convolution by transforms that forgets the zeros behind x."""
    both = torch.fft.rfft(x) * torch.fft.rfft(kernel)
    return torch.fft.irfft(both, x.shape[-1])
