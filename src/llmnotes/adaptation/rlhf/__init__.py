"""RLHF: a policy that learns from rewards and from preferences."""

from llmnotes.adaptation.rlhf.advantages import (
    alive,
    centred_advantages,
    gae,
    group_advantages,
    whitened,
)
from llmnotes.adaptation.rlhf.kl import divergence, k1, k2, k3
from llmnotes.adaptation.rlhf.losses import (
    dpo_loss,
    grpo_loss,
    kl_penalty,
    per_answer,
    per_limit,
    per_token,
    ppo_loss,
    reinforce_loss,
    value_loss,
)
from llmnotes.adaptation.rlhf.reward import (
    ActorCritic,
    RewardModel,
    bradley_terry_loss,
)
from llmnotes.adaptation.rlhf.rollouts import (
    answer_logits,
    distance,
    log_probs,
    sample,
)
