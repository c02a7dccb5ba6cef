"""An attack from outside: one corner of the ball after another."""

import numpy as np

import casemate as cm


@cm.attack("evasion.corners", needs=cm.Need.LABEL, scope="dialogue", spends="at most `tries` queries per row")
class Corners:
    """Ask at random corners of the ball until one is decided wrongly.

    Args:
        tries: Corners asked about.
    """

    tries: int = 32

    def __call__(self, oracle, case, *, rng):
        ball, origin = case.within, np.asarray(case.x)
        if not isinstance(ball, cm.Ball):
            raise cm.BadInput(f"evasion.corners needs a Ball; got {type(ball).__name__}")
        reach = min(ball.radius, ball.high - ball.low)
        for _ in range(self.tries):
            signs = np.where(rng.random(origin.shape) < 0.5, -1.0, 1.0)
            x = ball.project((origin + reach * signs).astype(origin.dtype), origin)
            answer = yield cm.Ask(x)
            if answer.met[0]:
                yield cm.Claim(x, True)
