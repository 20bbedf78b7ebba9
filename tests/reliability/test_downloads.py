"""The reliability figures of downloads, with smaller counts."""

from unittest import mock

import server
from downloads import damaged_caches, host_faults, hostile_names, lying_configs

from inceptionzoo.weights import Checksum


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
    """Without the checks of the bytes a flipped bit is accepted, and a counter says so."""
    with mock.patch.object(Checksum, "check"):
        figure = host_faults(("flipped",), range(2, 3))
    assert figure.counts["right"] < figure.counts.total()
    assert figure.failures
    assert not server.HOST.faults
