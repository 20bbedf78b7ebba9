"""The everyday subset of the figures of downloads."""

from unittest import mock

import server
from downloads import damaged_caches, host_faults, hostile_names, lying_configs


def test_faults_of_a_host():
    figure = host_faults(("500", "truncated", "flipped", "wrong etag", "no headers", "HTML"), range(0, 5, 2))
    assert figure.failures == []


def test_damaged_caches():
    assert damaged_caches().failures == []


def test_hostile_names():
    assert hostile_names(400).failures == []


def test_lying_configs():
    assert lying_configs(1500).failures == []


def test_a_broken_guard_is_counted():
    """Without the check of what came, a flipped bit is accepted, and a counter says so."""
    with mock.patch("inceptionzoo.weights.download._hub.digest_checker", return_value=mock.Mock()):
        figure = host_faults(("flipped",), range(2, 3))
    assert figure.counts["right"] < figure.counts.total()
    assert figure.failures
    assert not server.HOST.faults
