"""Where compiled threads wait for each other.

    gate     = how often threads have arrived, ever; one whole number
    meetings = how often this thread has met the others

A thread that needs what others wrote adds one to the gate and looks at it
until all have come. They meet every few microseconds, so they look rather
than sleep.
"""

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from llmnotes.compiled import jit

PATIENCE = 4000  # looks at the gate before another process may run
let_others_run = types.ExternalFunction("sched_yield", types.int32())


@intrinsic
def arrive(typing, gate):
    """Add one to the gate, whoever else does so at the same time."""

    def code(context, builder, signature, args):
        array = context.make_array(signature.args[0])
        data = array(context, builder, args[0]).data
        step = ir.Constant(ir.IntType(64), 1)
        return builder.atomic_rmw("add", data, step, "seq_cst")

    return types.int64(gate), code


@intrinsic
def arrived(typing, gate):
    """How often anybody has arrived; what they wrote before is seen."""

    def code(context, builder, signature, args):
        array = context.make_array(signature.args[0])
        data = array(context, builder, args[0]).data
        return builder.load_atomic(data, "seq_cst", 8)

    return types.int64(gate), code


@jit
def meet(gate, threads, meetings):
    """Wait until all threads have come to this meeting; count it."""
    if threads > 1:
        arrive(gate)
        looks = 0
        while arrived(gate) < threads * (meetings + 1):
            looks += 1
            if looks > PATIENCE:
                let_others_run()
    return meetings + 1
