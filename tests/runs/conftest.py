"""A small described system: a linear reader of eight values, trained on nothing, attacked in milliseconds."""

import textwrap

import pytest

BIND = '''
import numpy as np
import torch
import casemate as cm

torch.set_num_threads(1)

def _net(seed=0):
    rng = np.random.default_rng(seed)
    net = torch.nn.Sequential(torch.nn.Linear(8, 3)).double()
    with torch.no_grad():
        net[0].weight.copy_(torch.as_tensor(rng.normal(size=(3, 8))))
        net[0].bias.copy_(-net[0].weight.sum(1) / 2)
    return net.eval()

def target():
    return cm.wrap(_net(), name="toy")

def holdout():
    x = np.random.default_rng(1).random((60, 8))
    return cm.Holdout(x=x, y=target().respond(x).label.numpy())
'''
YAML = """
casemate: 1
system:
  name: toy
  task: multiclass
  modality: tabular
  decision: {{automated: yes, reversible: no, human_review: none}}
  target:
    - component: reader
      factory: bind:target
      data: bind:holdout
      goal: {{kind: wrong}}
      within: {{kind: ball, norm: linf, radius: {radius}, low: 0.0, high: 1.0}}
      attacks: {{rows: {{quick: 12}}, curve_rows: {{quick: 6}}, queries_per_row: {{quick: 60}}, evasion.hopskipjump: {{steps: 2}}, evasion.square: {{steps: 40}},
                 evasion.pgd: {{steps: 5}}, evasion.apgd_ce: {{steps: 5}}, asks: {{quick: 40}}, flood: {{quick: 50}}, {more}}}
zones:
  - {{id: outside, trust: public}}
  - {{id: inside, trust: prod}}
principals:
  - {{id: customer, kind: customer, zone: outside}}
assets:
  - {{id: amount, kind: decision, value: {{I: 4, A: 1}}}}
components:
  - id: reader
    kind: server
    zone: inside
    holds: [amount]
    model: {{family: nn, differentiable: yes, output: {output}}}
    endpoint: {{auth: key, admin_exposed: no, {limit}}}
flows:
  - {{from: customer, to: reader, data: [amount], channel: https}}
access:
  - {{principal: customer, on: reader, can: [{can}], budget: {{accounts: 1, days: 1}}}}
"""


@pytest.fixture
def toy(tmp_path):
    """Write the toy with a few facts of one's own; returns the path of its description."""

    def write(*, output="score", can="query, see_label, see_score", limit="rate_limit: none", radius=0.3, more="members: {quick: 10}", bind=BIND):
        (tmp_path / "bind.py").write_text(textwrap.dedent(bind))
        path = tmp_path / "system.yaml"
        path.write_text(YAML.format(output=output, can=can, limit=limit, radius=radius, more=more))
        return path

    return write
