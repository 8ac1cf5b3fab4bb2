"""How the demo's sound is forged: resynthesis through a vocoder, and a shifted splice."""

import numpy as np
from scipy import signal, sparse

from workbench.demo.sound import DEMO_RATE_HZ, Samples, istft, rms, stft

_WINDOW = 1024
_HOP = 256
_NUM_MELS = 80
_ITERATIONS = 24


def vocode(wave: Samples, rng: np.random.Generator) -> Samples:
    """Return `wave` (samples,) rebuilt from nothing but its 80-band mel spectrogram.

    Source:
        Griffin and Lim, "Signal estimation from modified short-time Fourier transform", 1984,
        with the momentum of Perraudin et al., "A fast Griffin-Lim algorithm", 2013.
    """
    bank = _mel_bank()
    magnitude = _from_mel(bank, bank @ np.abs(stft(wave, _WINDOW, _HOP)).T).T
    spectrum = magnitude * np.exp(2j * np.pi * rng.random(magnitude.shape))
    before = np.zeros_like(spectrum)
    for _ in range(_ITERATIONS):
        after = stft(istft(spectrum, len(wave), _WINDOW, _HOP), _WINDOW, _HOP)
        leap = after + 0.9 * (after - before)
        before = after
        spectrum = magnitude * np.exp(1j * np.angle(leap))
    return _matched(istft(spectrum, len(wave), _WINDOW, _HOP), wave)


def splice(wave: Samples, rng: np.random.Generator) -> Samples:
    """Return `wave` (samples,) with one stretch of it at another pitch and other formants."""
    num_samples = len(wave)
    length = int(num_samples * rng.uniform(0.4, 0.7))
    start = int(rng.uniform(0.05, 0.95) * (num_samples - length))
    semitones = rng.uniform(2.5, 5.0) * rng.choice([-1.0, 1.0])
    other = _shifted(wave[start : start + length], 2 ** (semitones / 12))
    edge = int(0.012 * DEMO_RATE_HZ)
    fade = np.ones(length)
    fade[:edge] = np.sin(0.5 * np.pi * np.arange(edge) / edge) ** 2
    fade[-edge:] = fade[:edge][::-1]
    forged = wave.copy()
    forged[start : start + length] += fade * (other - wave[start : start + length])
    return forged


def _shifted(wave: Samples, ratio: float) -> Samples:
    """Return `wave` with every frequency times `ratio`, at its old length.

    A phase vocoder stretches it and a resampler squeezes it back, as common tools do.
    """
    window, hop = 512, 128
    spectrum = stft(wave, window, hop)
    at = np.arange(0, len(spectrum) - 1, 1 / ratio)
    low = at.astype(int)
    part = (at - low)[:, None]
    magnitude = (1 - part) * np.abs(spectrum[low]) + part * np.abs(spectrum[low + 1])
    advance = 2 * np.pi * hop * np.arange(spectrum.shape[1]) / window
    step = np.angle(spectrum[low + 1]) - np.angle(spectrum[low]) - advance
    step = advance + step - 2 * np.pi * np.round(step / (2 * np.pi))
    phase = np.angle(spectrum[:1]) + np.cumsum(step, axis=0) - step
    long = istft(magnitude * np.exp(1j * phase), len(at) * hop, window, hop)
    back = signal.resample_poly(long, 1000, round(1000 * ratio))
    fitted = np.zeros_like(wave)
    fitted[: len(back)] = back[: len(wave)]
    return _matched(fitted, wave)


def _matched(forged: Samples, wave: Samples) -> Samples:
    return forged * (rms(wave) / rms(forged))


def _mel_bank() -> sparse.csr_array:
    """Return (mels, bins) triangles, evenly spaced in mel up to half the rate, each of sum 1."""
    top = 2595 * np.log10(1 + DEMO_RATE_HZ / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, top, _NUM_MELS + 2) / 2595) - 1)
    hertz = np.fft.rfftfreq(_WINDOW, 1 / DEMO_RATE_HZ)
    rise = (hertz - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    fall = (edges[2:, None] - hertz) / (edges[2:] - edges[1:-1])[:, None]
    bank = np.maximum(0, np.minimum(rise, fall))
    # Sparse, so that no thread pool of a BLAS starts in each of the making's processes.
    return sparse.csr_array(bank / np.maximum(bank.sum(axis=1, keepdims=True), 1e-9))


def _from_mel(bank: sparse.csr_array, mel: Samples) -> Samples:
    """Return a non-negative (bins, frames) magnitude whose mel spectrogram is close to `mel`.

    Source:
        The multiplicative updates of Lee and Seung, "Algorithms for non-negative matrix
        factorization", 2000, with one factor known.
    """
    magnitude = bank.T @ mel + 1e-9
    target = bank.T @ mel
    for _ in range(30):
        magnitude *= target / np.maximum(bank.T @ (bank @ magnitude), 1e-12)
    return magnitude
