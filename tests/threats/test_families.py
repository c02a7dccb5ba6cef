"""The sets that `exists` ranges over, and where `can` looks, on one small system."""

from __future__ import annotations

import pytest

from casemate.core.control import controls
from casemate.core.surface import can_contribute, can_submit, training_inputs
from casemate.core.system import NO, UNKNOWN, YES, System, Truth
from casemate.threats.derive import derive
from casemate.threats.load import loads
from casemate.threats.rules import catalogue
from casemate.threats.scene import Scene

QUERY = "access: [{principal: eve, on: api, can: [query]}]\n"
PLANT = """\
casemate: 1
system: {name: plant}
principals: [{id: eve, kind: customer}]
components:
  - {id: camera, kind: sensor}
  - {id: gate, kind: preprocess}
  - {id: file, kind: model_artifact}
  - {id: lake, kind: data_source}
  - {id: inbox, kind: feedback}
  - {id: fit, kind: trainer, training: {sources: [lake]}}
  - {id: api, kind: server, model: {family: nn}}
  - {id: lock, kind: actuator}
flows:
  - {from: eve, to: gate, transforms: []}
  - {from: camera, to: gate}
  - {from: gate, to: api, transforms: [resize]}
  - {from: inbox, to: fit}
  - {from: fit, to: file}
  - {from: file, to: api}
  - {from: api, to: lock}
  - {from: api, to: inbox}
controls:
  - {id: near, type: acme.a, on: api, state: active}
  - {id: before, type: acme.b, on: camera, state: planned}
  - {id: between, type: acme.c, on: "gate->api", state: active}
  - {id: gone, type: acme.d, on: api, state: retired}
  - {id: after, type: acme.e, on: lock, state: active}
  - {id: beside, type: acme.f, on: file, state: active}
"""


@pytest.mark.parametrize(
    ("family", "of", "members"),
    [
        ("inputs", "api", {"api", "gate", "camera"}),
        ("way_in", "api", {"eve->gate", "camera->gate", "gate->api"}),
        ("guards", "api", {"near", "before", "between"}),
        ("controls", "api", {"near"}),
        ("training_inputs", "api", {"fit", "lake", "inbox", "api", "gate", "camera", "file"}),
        ("later_trainers", "inbox", {"fit"}),
        ("later_trainers", "fit", set()),
        ("later_trainers", "lock", set()),
    ],
)
def test_families(family: str, of: str, members: set[str]) -> None:
    found = Scene(loads(PLANT), {}).among(family, of)
    assert set(found) == members
    assert len(found) == len(members)


def test_the_answers_to_a_model_that_feed_its_training_make_its_inputs_records() -> None:
    assert {"gate", "eve"} <= set(training_inputs(loads(PLANT), "api"))
    without = loads(PLANT.replace("  - {from: api, to: inbox}\n", ""))
    assert set(training_inputs(without, "api")) == {"fit", "lake", "inbox"}


@pytest.mark.parametrize(
    ("place", "row", "held"),
    [
        ("training", "on: lake, can: [write_labels]", YES),
        ("training", "on: inbox, unsure: [write_labels]", UNKNOWN),
        ("training", "on: lock, can: [write_labels]", NO),
        ("training", "on: lake, can: [read_data]", NO),
        ("here", "on: lake, can: [write_labels]", NO),
        ("artifact", "on: file, can: [write_labels]", YES),
    ],
)
def test_where_a_capability_is_looked_for(place: str, row: str, held: Truth) -> None:
    system = loads(PLANT + f"access: [{{principal: eve, {row}}}]\n")
    assert Scene(system, {}).grant(place, "eve", "api", ("write_labels",)).truth is held


SERVED = """\
casemate: 1
system: {name: served}
principals: [{id: eve, kind: customer}]
components:
  - {id: gate, kind: %s}
  - {id: api, kind: %s, model: {online_learning: %s}, training: {review: none, sources: [%s]}}
flows: [{from: gate, to: api}]
access: [{principal: eve, on: %s, can: [inject_data]}]
"""


@pytest.mark.parametrize(
    ("gate", "kind", "online", "sources", "on", "contributes"),
    [
        ("preprocess", "server", "no", "", "gate", NO),  # an input, which nobody keeps
        ("preprocess", "server", "unknown", "", "gate", NO),
        ("preprocess", "edge_runtime", "no", "", "gate", NO),
        ("preprocess", "server", "yes", "", "gate", YES),  # it learns from whatever it is asked
        ("feedback", "server", "no", "", "gate", YES),
        ("log_store", "server", "no", "", "gate", YES),
        ("preprocess", "server", "no", "gate", "gate", YES),  # as stated
        ("preprocess", "trainer", "no", "", "gate", YES),  # what flows into a trainer is a record
        ("preprocess", "server", "no", "", "api", YES),
    ],
)
def test_an_input_of_a_server_with_a_training_record_is_no_record(
    gate: str, kind: str, online: str, sources: str, on: str, contributes: Truth
) -> None:
    system = loads(SERVED % (gate, kind, online, sources, on))
    assert can_contribute(system, "eve", "api").truth is contributes
    assert can_submit(system, "eve", "api").truth is (NO if on == "api" else YES)


def flow(system: System, id: str) -> object:
    return system.fact(f"{id}.transforms").value


def test_what_happens_on_a_flow_may_be_unknown_or_nothing() -> None:
    system = loads(PLANT)
    assert flow(system, "camera->gate") is UNKNOWN
    assert flow(system, "eve->gate") == ()
    assert flow(system, "gate->api") == ("resize",)
    sourced = loads(PLANT.replace("transforms: [resize]", "transforms: {value: [unpack], source: imported}"))
    assert flow(sourced, "gate->api") == ("unpack",)
    assert sourced.fact("gate->api.transforms").source == "imported"


@pytest.mark.parametrize("control", sorted(controls))
def test_nothing_is_asked_about_the_shipped_controls_as_guards(control: str) -> None:
    rule = next(rule for rule in catalogue() if rule.id == "EV-10")
    system = loads(PLANT + f"  - {{id: ours, type: {control}, on: api, state: active}}\n" + QUERY)
    silenced = system.replace_fact("near.learned", "no").replace_fact("near.masks_gradients", "no")
    silenced = silenced.replace_fact("between.learned", "no").replace_fact("between.masks_gradients", "no")
    derived = derive(silenced, [rule])
    assert derived.questions == (), f"say in EV-10 whether {control} is learned or hides the gradient"
    assert bool(derived.threats) is (control == "inference.transport_quantise")
