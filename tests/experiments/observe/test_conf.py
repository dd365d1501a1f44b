"""Every file of conf/observe makes a protocol, under its own key."""

from pathlib import Path

import hydra
import pytest
from hydra.core.config_store import ConfigStore

CONF = Path(__file__).parents[3] / "conf"
NAMES = sorted(path.stem for path in (CONF / "observe").glob("*.yaml"))


@pytest.mark.parametrize("name", NAMES)
def test_a_protocol_stands_under_its_own_key(name):
    ConfigStore.instance().store("only_observe", {"defaults": ["_self_"]})
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        made = hydra.compose(
            "only_observe", [f"+observe=[{name},heldout]"] if name != "heldout" else ["+observe=[heldout]"]
        )
    assert set(made.observe) == {name, "heldout"}
    protocol = hydra.utils.instantiate(made.observe, _convert_="all")[name]
    assert callable(protocol.observe)
