"""trl's trainers around a tiny random GPT-2, and the batches they read.

Only their losses are asked for: nothing is downloaded, generated or trained.
"""

import copy
import functools

import datasets.fingerprint
import torch
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast
from trl import DPOConfig, DPOTrainer, GRPOConfig, GRPOTrainer
from trl.trainer.dpo_trainer import DataCollatorForPreference

VOCAB, PROMPT, ANSWER, BATCH = 13, 5, 4, 6  # pairwise different
LENGTHS = 1, 4, 2, 3, 4, 1  # of the answers of a batch
COMMON = dict(report_to=[], use_cpu=True, bf16=False, save_strategy="no")


@functools.cache
def tokenizer():
    """Words are `a`, `b`, …; nobody reads what it makes of them."""
    words = {chr(ord("a") + i): i for i in range(VOCAB)}
    plain = Tokenizer(models.WordLevel(words, unk_token="a"))
    plain.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=plain, pad_token="a", eos_token="b", unk_token="a"
    )


@functools.cache
def without_hashes():
    """datasets 5.2 hashes what dill can no longer pickle; we keep nothing."""
    datasets.fingerprint.Hasher.hash = classmethod(lambda cls, value: "0")


def rows(*columns):
    """A data set of one row, since a trainer will not do without."""
    without_hashes()
    return Dataset.from_list([dict.fromkeys(columns, "c d")])


def model(seed=0):
    """A GPT-2 small enough, its scores not all alike."""
    torch.manual_seed(seed)
    config = GPT2Config(
        vocab_size=VOCAB, n_positions=16, n_embd=8, n_layer=1, n_head=2,
        resid_pdrop=0, embd_pdrop=0, attn_pdrop=0, bos_token_id=1,
        eos_token_id=1, initializer_range=0.7,
    )  # fmt: skip
    return GPT2LMHeadModel(config)


class Policy(nn.Module):
    """Their model, called as ours are: logits of ids."""

    def __init__(self, theirs):
        super().__init__()
        self.theirs = theirs

    def forward(self, ids):
        return self.theirs(ids).logits


def grpo(tmp_path, **options):
    """A GRPOTrainer; β is set afterwards, else it downloads a reference."""
    beta = options.pop("beta", 0.0)
    given = dict(
        output_dir=str(tmp_path), num_generations=BATCH,
        per_device_train_batch_size=BATCH, max_completion_length=ANSWER,
    )  # fmt: skip
    trainer = GRPOTrainer(
        model(),
        reward_funcs=lambda completions, **_: [0.0] * len(completions),
        args=GRPOConfig(**COMMON, **given, **options),
        train_dataset=rows("prompt"),
        processing_class=tokenizer(),
    )
    trainer.beta = beta
    trainer.current_gradient_accumulation_steps = 1
    return trainer


def answers():
    """Prompts, answers of different lengths and their mask."""
    draw = torch.Generator().manual_seed(1)
    prompts = torch.randint(VOCAB, (BATCH, PROMPT), generator=draw)
    answers = torch.randint(VOCAB, (BATCH, ANSWER), generator=draw)
    mask = torch.arange(ANSWER) < torch.tensor(LENGTHS)[:, None]
    return prompts, answers, mask


def grpo_inputs(prompts, answers, mask, old, reference, advantages):
    """What `_compute_loss` of a GRPOTrainer reads."""
    return {
        "prompt_ids": prompts, "prompt_mask": torch.ones_like(prompts),
        "completion_ids": answers, "completion_mask": mask.long(),
        "advantages": advantages, "old_per_token_logps": old,
        "ref_per_token_logps": reference,
        "num_items_in_batch": mask.sum(),
    }  # fmt: skip


def dpo(tmp_path, **options):
    """A DPOTrainer whose policy has moved away from its reference."""
    reference = model()
    moved = copy.deepcopy(reference)
    torch.manual_seed(2)
    with torch.no_grad():
        for p in moved.parameters():
            p.add_(torch.randn_like(p) / 9)
    return DPOTrainer(
        moved,
        ref_model=reference,
        args=DPOConfig(output_dir=str(tmp_path), **COMMON, **options),
        train_dataset=rows("prompt", "chosen", "rejected"),
        processing_class=tokenizer(),
    )


def dpo_inputs(prompts, chosen, rejected, masks):
    """Pairs as trl's collator lays them: all chosen, then all rejected."""
    examples = [
        {
            "prompt_ids": prompts[i].tolist(),
            "chosen_ids": chosen[i][masks[0][i]].tolist(),
            "rejected_ids": rejected[i][masks[1][i]].tolist(),
        }
        for i in range(len(prompts))
    ]
    return DataCollatorForPreference(pad_token_id=0)(examples)
