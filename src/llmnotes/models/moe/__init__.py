"""Mixture of experts: routers, experts, balance, Mixtral and its files."""

from llmnotes.models.moe.ahead import AheadLlama, ahead_loss
from llmnotes.models.moe.balance import (
    Balanced,
    BiasedRouter,
    balancing_loss,
    penalty,
    z_loss,
)
from llmnotes.models.moe.config import (
    LAPTOP,
    MIXTRAL_8X7B,
    MIXTRAL_8X22B,
    DeepSeekConfig,
    MixtralConfig,
    SwitchConfig,
)
from llmnotes.models.moe.deepseek import SharedMixture, finer, ways
from llmnotes.models.moe.depths import DepthBlock, DepthLlama, picks
from llmnotes.models.moe.experts import (
    Experts,
    by_definition,
    expert,
    grouped,
)
from llmnotes.models.moe.files import from_pretrained, save_pretrained
from llmnotes.models.moe.model import (
    Mixtral,
    MixtralBlock,
    Mixture,
    active_parameters,
)
from llmnotes.models.moe.routing import (
    Router,
    Routing,
    choose,
    loads,
    watched,
)
from llmnotes.models.moe.switch import (
    Switch,
    SwitchRouter,
    capacity,
    dropped,
    fitting,
)
