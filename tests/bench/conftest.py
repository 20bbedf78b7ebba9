"""Fixtures of the tests of the benchmark."""

import pytest

from inceptionzoo.bench import _run as run


@pytest.fixture
def idle(monkeypatch):
    """A machine without other load."""
    monkeypatch.setattr(run, "background_load", lambda: 0.0)
    monkeypatch.setattr(run, "gemm_peak", lambda device: 1e11)
