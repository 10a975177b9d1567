"""Mistral: a window, a cache that forgets, and several texts in one row."""

from llmnotes.models.mistral.chat import (
    V1_SPECIAL,
    V3_SPECIAL,
    instruct_v1,
    instruct_v3,
)
from llmnotes.models.mistral.config import (
    LAPTOP,
    MISTRAL_7B_V0_1,
    MISTRAL_7B_V0_2,
    MISTRAL_7B_V0_3,
    MISTRAL_NEMO_12B,
    MistralConfig,
)
from llmnotes.models.mistral.files import from_pretrained, save_pretrained
from llmnotes.models.mistral.model import Mistral, packed
from llmnotes.models.mistral.rolling import RollingCache
from llmnotes.models.mistral.sinks import SinkCache, Streaming
from llmnotes.models.mistral.vision import (
    PIXTRAL_VISION,
    Pixtral,
    Vision,
    image_ids,
)
