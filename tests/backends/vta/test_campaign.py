"""Random layers of every kind on every configuration: a few each time, the whole campaign with `-m long`."""

from __future__ import annotations

import pytest
from heddle.hw.vta.config import config_names

from tests.backends.vta.at_rtl import check_at_rtl
from tests.backends.vta.campaign import campaign
from tests.backends.vta.test_layers import check


def test_every_configuration_is_drawn() -> None:
    seen = campaign(lambda config, layer, seed: None, 600, seed=0)
    assert {what.split()[0] for what in seen} == set(config_names())
    assert {what.split()[1] for what in seen} >= {
        "Conv",
        "Pool",
        "Copy",
        "Product",
        "Leaky",
        "Concat",
        "MatMul",
        "Turn",
    }


@pytest.mark.long
@pytest.mark.timeout(14400)
def test_five_thousand_layers() -> None:
    assert campaign(check, 5000, seed=0).total() >= 5000


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_three_hundred_layers_at_rtl() -> None:
    assert campaign(check_at_rtl, 300, seed=0).total() >= 300
