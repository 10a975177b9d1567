"""A model in stages, one after the other, on ranks that all work at once."""

from llmnotes.parallel.pipeline.ends import Tie, clip
from llmnotes.parallel.pipeline.events import Event, Schedule, peak
from llmnotes.parallel.pipeline.formulas import (
    bubble,
    idle,
    live,
    traffic,
    zero_bubble_bubble,
)
from llmnotes.parallel.pipeline.later import Later
from llmnotes.parallel.pipeline.layers import cut, share_out
from llmnotes.parallel.pipeline.messages import naive, program
from llmnotes.parallel.pipeline.orders import (
    gpipe,
    interleaved,
    one_f_one_b,
    zero_bubble,
)
from llmnotes.parallel.pipeline.runner import IGNORED, Runner, summed_loss
from llmnotes.parallel.pipeline.simulator import (
    Costs,
    Posted,
    Rendezvous,
    Span,
    Timeline,
    simulate,
)
from llmnotes.parallel.pipeline.steps import Program, Step
from llmnotes.parallel.pipeline.together import step
