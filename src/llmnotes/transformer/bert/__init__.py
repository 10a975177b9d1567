"""BERT: the model, masked training, its files, sentence vectors."""

from llmnotes.transformer.bert.files import (
    ASSUMED,
    BUFFER,
    WHEEL,
    load_bert,
    load_masked_lm,
    load_minilm,
    load_wordpiece,
    minilm_folder,
    read_config,
    save_bert,
)
from llmnotes.transformer.bert.model import (
    BERT_BASE,
    BERT_LARGE,
    MINILM_L6,
    AddNorm,
    Bert,
    BertConfig,
    BertForMaskedLM,
    BertModel,
    Embeddings,
    Layer,
    Predictions,
    SelfAttention,
    count,
    initialise,
)
