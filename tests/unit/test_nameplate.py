import pytest

from shedload.nameplate import NAMEPLATES, nameplate


@pytest.mark.parametrize("spelling", ["Antminer S19j Pro", "antminer s19j pro (104T)", "S19J PRO", "Antminer S19jPro"])
def test_finds_a_model_however_the_rig_spells_it(spelling: str) -> None:
    found = nameplate(spelling)
    assert found is not None
    assert found.model == "Antminer S19j Pro"


@pytest.mark.parametrize("unlisted", [None, "", "Antminer", "Antminer S99", "(104T)"])
def test_an_unlisted_model_has_no_nameplate(unlisted: str | None) -> None:
    assert nameplate(unlisted) is None


def test_plus_models_are_models_of_their_own() -> None:
    plain, plus = nameplate("S21"), nameplate("S21+")
    assert plain is not None
    assert plus is not None
    assert plain.model != plus.model


def test_every_efficiency_is_one_a_machine_can_have() -> None:
    for entry in NAMEPLATES.values():
        if entry.hashrate > 1e12:
            assert 10 < entry.efficiency < 110, entry
