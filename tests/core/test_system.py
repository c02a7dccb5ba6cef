"""A System checks itself, answers by path, changes by fact, and derives what follows."""

from __future__ import annotations

import itertools
import pickle
from dataclasses import replace

import pytest

from casemate.core.errors import BadSystem, UnknownName
from casemate.core.surface import (
    can_contribute,
    can_submit,
    effective_output,
    influence,
    reach,
)
from casemate.core.system import (
    NO,
    UNKNOWN,
    YES,
    Access,
    AccessBudget,
    Asset,
    Binding,
    Component,
    Endpoint,
    Flow,
    Model,
    Parent,
    Principal,
    Provenance,
    RateLimit,
    System,
    Training,
    Truth,
    Worth,
)
from casemate.threats.adversaries import adversary_for


def shop(*can: str, **more: object) -> System:
    parts: dict[str, object] = {
        "principals": (Principal(id="eve", kind="customer"),),
        "components": (Component(id="api", kind="server", model=Model(output="score")),),
        "access": (Access(principal="eve", on="api", can=can),),  # type: ignore[arg-type]
    }
    return System(name="shop", **(parts | more))  # type: ignore[arg-type]


class TestTruth:
    def test_tables_are_kleenes(self) -> None:
        rank = {NO: 0, UNKNOWN: 1, YES: 2}
        for a, b in itertools.product(Truth, repeat=2):
            assert rank[a & b] == min(rank[a], rank[b])
            assert rank[a | b] == max(rank[a], rank[b])
            assert ~(a & b) is (~a | ~b)
        assert [~NO, ~UNKNOWN, ~YES] == [YES, UNKNOWN, NO]

    def test_is_not_a_bool(self) -> None:
        with pytest.raises(TypeError, match="may be unknown"):
            bool(UNKNOWN)


class TestChecks:
    def test_says_everything_at_once(self) -> None:
        with pytest.raises(BadSystem) as caught:
            System(
                principals=(Principal(id="eve", kind="custome"), Principal(id="eve")),  # type: ignore[arg-type]
                assets=(Asset(id="a", value=Worth(integrity=7)),),  # type: ignore[arg-type]
                access=(Access(principal="eva", on="api", can=("query",)),),
            )
        told = str(caught.value)
        for part in ("did you mean customer", "a.value.I", "names something in", "'eva'", "'api' is not one of"):
            assert part in told
        assert len(caught.value.problems) == 5

    @pytest.mark.parametrize("id", ["", "a.b", "a b", "1", "system"])
    def test_ids(self, id: str) -> None:
        with pytest.raises(BadSystem):
            System(components=(Component(id=id),))

    def test_wrong_shapes_do_not_crash_the_check(self) -> None:
        for wrong in ("api", ["api"], ({"id": "api"},), (None,), 3):
            for kind in ("flows", "components", "access", "target", "assumptions"):
                with pytest.raises(BadSystem):
                    System(**{kind: wrong})  # type: ignore[arg-type]

    def test_one_access_row_per_pair(self) -> None:
        row = Access(principal="eve", on="api", can=("query",))
        with pytest.raises(BadSystem, match="appears 2 times"):
            shop(access=(row, row))

    def test_a_flow_is_named_after_its_ends(self) -> None:
        system = shop(flows=(Flow(from_="eve", to="api"),))
        assert system.flows[0].id == "eve->api"
        with pytest.raises(BadSystem, match="eve->api"):
            shop(flows=(Flow(from_="eve", to="api"),) * 2)

    def test_a_url_needs_a_cap_and_a_pace(self) -> None:
        with pytest.raises(BadSystem) as caught:
            shop(target=(Binding(component="api", url="http://localhost:1"),))
        assert {p.message.split("'")[1] for p in caught.value.problems} == {"protocol", "query_cap", "pace_per_s"}
        bound = Binding(component="api", url="http://localhost:1", protocol="v2", query_cap=10, pace_per_s=1)
        assert shop(target=(bound,)).binding("api") is bound

    def test_a_function_is_module_and_name(self) -> None:
        with pytest.raises(BadSystem, match="module:function"):
            shop(target=(Binding(component="api", factory="cheques.py"),))

    @pytest.mark.parametrize("number", [-1, float("nan"), float("inf"), True, "3"])
    def test_numbers(self, number: object) -> None:
        with pytest.raises(BadSystem, match="a number"):
            shop(components=(Component(id="api", endpoint=Endpoint(cost_per_call=number)),))  # type: ignore[arg-type]


class TestFacts:
    def test_what_nobody_stated_is_unknown(self) -> None:
        system = shop()
        assert system.fact("api.endpoint.auth").value is UNKNOWN
        assert system.fact("system.task").value is UNKNOWN
        assert system.fact("api.model.output").value == "score"

    def test_below_none_everything_is_no(self) -> None:
        system = shop(components=(Component(id="api", provenance=Provenance(parent="none")),))
        assert system.fact("api.provenance.parent.public").value is NO
        assert system.fact("api.provenance.parent.ref").value == "none"

    @pytest.mark.parametrize("path", ["apo.model", "api.modle", "api.model.output.deeper", "api.endpoint.rate_limit.x"])
    def test_an_unknown_path_raises(self, path: str) -> None:
        with pytest.raises(UnknownName):
            shop().fact(path)

    def test_replacing_leaves_the_old_system_alone(self) -> None:
        old = shop()
        new = old.replace_fact("api.model.output", "label", "measured")
        assert (old.fact("api.model.output").value, new.fact("api.model.output").value) == ("score", "label")
        assert new.fact("api.model.output").source == "measured"
        assert new != old
        assert new.replace_fact("api.model.output", "score") == old

    def test_replacing_makes_missing_records(self) -> None:
        system = shop().replace_fact("api.endpoint.rate_limit.n", 5).replace_fact("api.artifact.signed", "yes")
        assert system.component("api").endpoint == Endpoint(rate_limit=RateLimit(n=5))
        assert system.fact("api.artifact.signed").value is YES
        assert system.replace_fact("system.decision.reversible", False).fact("system.decision.reversible").value is NO

    def test_a_replaced_fact_is_checked(self) -> None:
        with pytest.raises(BadSystem):
            shop().replace_fact("api.model.output", "lable")
        with pytest.raises(UnknownName):
            shop().replace_fact("api", 1)

    def test_survives_pickle(self) -> None:
        system = shop("query").replace_fact("api.model.output", "label", "measured")
        assert pickle.loads(pickle.dumps(system)) == system


class TestSurface:
    def test_the_poorest_output_on_the_way_counts(self) -> None:
        system = shop(
            components=(
                Component(id="api", kind="server", model=Model(output="logits")),
                Component(id="round", kind="postprocess", model=Model(output="label")),
                Component(id="raw", kind="postprocess"),
                Component(id="page", kind="decision"),
            ),
            flows=(
                Flow(from_="api", to="round"),
                Flow(from_="api", to="raw"),
                Flow(from_="round", to="page"),
                Flow(from_="raw", to="page"),
            ),
            access=(Access(principal="eve", on="round", can=("see_score",)),),
        )
        seen = effective_output(system, "eve", "api")
        assert (seen.level, seen.capped) == ("label", "round")
        on_page = replace(system, access=(Access(principal="eve", on="page", can=("see_score",)),))
        assert effective_output(on_page, "eve", "api").level == "score"

    def test_hiding_the_scores_hides_them(self) -> None:
        system = shop("query", "see_score")
        assert effective_output(system, "eve", "api").level == "score"
        hidden = effective_output(system.replace_fact("api.model.output", "label"), "eve", "api")
        assert (hidden.level, hidden.capped) == ("label", "api")

    def test_unsure_is_unknown(self) -> None:
        system = shop(access=(Access(principal="eve", on="api", can=("see_label",), unsure=("query", "see_logits")),))
        assert can_submit(system, "eve", "api").truth is UNKNOWN
        seen = effective_output(system, "eve", "api")
        assert [seen.at_least(level) for level in ("label", "score", "logits")] == [YES, UNKNOWN, NO]

    def test_records_and_inputs_are_told_apart(self) -> None:
        system = shop(
            components=(
                Component(id="form", kind="data_source"),
                Component(id="fit", kind="trainer", training=Training(sources=("form",))),
                Component(id="cam", kind="sensor"),
                Component(id="api", kind="server"),
            ),
            flows=(Flow(from_="fit", to="api"), Flow(from_="cam", to="api")),
            access=(Access(principal="eve", on="form", can=("inject_data",)),),
        )
        assert can_contribute(system, "eve", "api").truth is YES
        assert can_submit(system, "eve", "api").truth is NO

    def test_a_flow_without_an_access_row_is_a_question(self) -> None:
        system = shop(access=(), flows=(Flow(from_="eve", to="api"),))
        grant = can_submit(system, "eve", "api")
        assert grant.truth is UNKNOWN
        assert grant.because == ("access(eve, api): query",)

    def test_cycles_end(self) -> None:
        system = shop(
            components=(Component(id="api", kind="server", training=Training()), Component(id="log", kind="log_store")),
            flows=(Flow(from_="api", to="log"), Flow(from_="log", to="api"), Flow(from_="eve", to="log")),
        )
        assert reach(system, "eve", "api") == ("eve", "api")
        assert effective_output(system, "eve", "api").level == "none"
        assert can_contribute(system, "eve", "api").truth is UNKNOWN

    def test_knowledge_and_influence(self) -> None:
        system = shop(
            assets=(Asset(id="past", kind="training_data", population=900),),
            components=(
                Component(
                    id="api",
                    kind="edge_runtime",
                    holds=("past",),
                    provenance=Provenance(parent=Parent(ref="backbone", public=YES)),
                    training=Training(documented=YES),
                ),
            ),
            access=(
                Access(principal="eve", on="api", can=("read_binary", "inject_data"), budget=AccessBudget(samples=100)),
            ),
        )
        assert adversary_for(system, "eve", "api").knowledge == ("weights", "parent", "recipe")
        assert influence(system, "eve", "api") == pytest.approx(0.1)
